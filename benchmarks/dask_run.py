"""A run on two workers of a dask cluster against the same run in one process with two threads.

    python benchmarks/dask_run.py [--events 2000000] [--rounds 2] [--figures quick]

Simulated shms events, `data/shms.yaml`, alternately in one process (`--jobs 2`) and on a LocalCluster of two processes
of one thread with 4 GB each. Workers start anew in each round, before the clock does; they import their libraries while
it runs. Printed are wall time, processor time and peak memory (of the command and of each worker), whether cut flow and
all given models are the same to the digit, and where the AUC of the BDT lies in the interval of the single process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from dask.distributed import LocalCluster

from pidlab.simulate import simulate

CONFIG = Path(__file__).parents[1] / "data" / "shms.yaml"
GIVEN = ("hand", "energy")


OWN = dict(os.environ)
"""The environment before a cluster of dask has told its workers, and this process, to use one thread."""


def measured(words: list[str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak memory in MB of a command."""
    start = time.perf_counter()
    process = psutil.Popen([sys.executable, "-m", "pidlab.cli", *words], stdout=subprocess.DEVNULL, env=OWN)
    cpu = peak = 0.0
    while process.poll() is None:
        try:
            times = process.cpu_times()
            cpu = times.user + times.system
            peak = max(peak, process.memory_info().rss / 1e6)
        except psutil.Error:
            break
        time.sleep(0.1)
    if process.wait():
        raise SystemExit(f"pidlab {' '.join(words)} failed")
    return time.perf_counter() - start, cpu, peak


def of_workers(cluster: LocalCluster) -> tuple[float, list[float]]:
    """Processor seconds of all workers, and the peak memory of each in MB."""
    cpu, peaks = 0.0, []
    for nanny in cluster.workers.values():
        process = psutil.Process(nanny.pid)
        times = process.cpu_times()
        cpu += times.user + times.system
        status = Path(f"/proc/{nanny.pid}/status").read_text()
        peaks.append(float(status.split("VmHWM:")[1].split()[0]) / 1e3)
    return cpu, peaks


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())["results"]
    for name in GIVEN:
        found["models"][name].pop("scoring")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--figures", default="quick")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        simulate("shms", folder / "shms.root", asked.events, 1)
        words = ["run", str(CONFIG), "--set", f"data.files={folder / 'shms.root'}", "--figures", asked.figures, "-q"]
        print(f"{asked.events:,} events, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}")
        walls: dict[str, list[float]] = {"one process": [], "two workers": []}
        for turn in range(asked.rounds):
            wall, cpu, peak = measured([*words, "--jobs", "2", "--force", "-o", str(folder / "alone")])
            walls["one process"].append(wall)
            print(f"round {turn + 1}, one process: {wall:.1f} s, {cpu:.1f} CPU s, {peak:.0f} MB")
            options: dict[str, Any] = {"memory_limit": "4GB", "dashboard_address": ":0", "silence_logs": 40}
            with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
                before, _ = of_workers(cluster)
                address = cluster.scheduler_address
                wall, cpu, peak = measured([*words, "--dask", address, "--force", "-o", str(folder / "shared")])
                after, peaks = of_workers(cluster)
            walls["two workers"].append(wall)
            told = f"{cpu:.1f} + {after - before:.1f} CPU s, {peak:.0f} MB + {' + '.join(f'{p:.0f}' for p in peaks)} MB"
            print(f"round {turn + 1}, two workers: {wall:.1f} s, {told}")
        alone, shared = results(folder / "alone"), results(folder / "shared")
        same = all(alone["models"][name] == shared["models"][name] for name in GIVEN)
        print(f"cut flow the same: {alone['cutflow'] == shared['cutflow']}; given models the same: {same}")
        value, low, high, _ = alone["models"]["bdt"]["samples"]["test"]["auc"]
        other = shared["models"]["bdt"]["samples"]["test"]["auc"][0]
        print(f"AUC of the BDT: {value:.5f} [{low:.5f}, {high:.5f}] in one process, {other:.5f} on two workers")
        ratio = min(walls["two workers"]) / min(walls["one process"])
        print(f"wall time, two workers / one process with two threads: {ratio:.2f} (best of {asked.rounds} each)")


if __name__ == "__main__":
    main()
