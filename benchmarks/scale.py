"""Memory and time of a whole run against the number of events, from 200 thousand to 20 million.

    python benchmarks/scale.py FOLDER [--events N ...] [--memory 4GB] [--json FILE]

Each sample has 12 features and 4 spectators in float32, weights and event numbers: two classes, correlated features
that lose their power with momentum. `pidlab run` trains cuts, 200 trees of depth 4 and a network, with two maps, all
comparisons and robustness, and draws no figure. Each run is a process of its own, whose resident memory is read 20
times a second; beyond the imports is what is more than for 2,000 events. With two sizes or more, the AUCs of the
largest are compared with those of a tenth, and the smallest sample is run once more with its columns in files: its
numbers must be the same to the last digit. FOLDER keeps the samples (1.4 GB for 20 million events), so that they are
made once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uproot
import yaml
from rows import Row, at_most, shown

N_FEATURES, CHUNK = 12, 500_000
FEATURES = [f"x{i}" for i in range(N_FEATURES)]
SPECTATORS = ["p", "theta", "phi", "n_tracks"]
IMPORTS = 2_000
MODELS = {
    "cuts": {"type": "cuts", "features": FEATURES[:4]},
    "bdt": {"type": "bdt", "n_estimators": 200, "max_depth": 4, "early_stopping_rounds": None},
    "mlp": {"type": "mlp", "hidden": [32, 32], "batch_size": 4096, "epochs": 5},
}


class Measured(NamedTuple):
    """What a run took, and what it found."""

    seconds: float
    cpu: float
    peak: float
    metrics: dict[str, Any]


def sample(path: Path, n: int) -> Path:
    """Makes the sample, if it is not there yet; the first events are the same for every n."""
    if path.exists():
        return path
    unfinished = path.with_suffix(".part")
    types = dict.fromkeys(FEATURES + SPECTATORS + ["w"], "f4") | {"species": "i1", "event": "i8"}
    mixing = np.linalg.qr(np.random.default_rng(0).normal(size=(N_FEATURES, N_FEATURES)))[0].astype("f4")
    with uproot.recreate(unfinished, compression=None) as file:
        tree = file.mktree("T", types)
        for number, start in enumerate(range(0, n, CHUNK)):
            rng, m = np.random.default_rng([1, number]), min(CHUNK, n - start)
            species, p = rng.integers(0, 2, m), rng.uniform(1, 6, m).astype("f4")
            x = rng.standard_normal((m, N_FEATURES), np.float32) * (1 + 0.2 * np.sin(p))[:, None]
            x[:, :6] += (species * (1.6 - 0.2 * p) / 2)[:, None].astype("f4")
            x[:, 6:] += np.float32(0.3) * x[:, :6] ** 2 * species[:, None].astype("f4")
            columns = dict(zip(FEATURES, (x @ mixing).T, strict=True)) | {
                "p": p, "theta": rng.normal(0, 0.03, m).astype("f4"), "phi": rng.uniform(-3, 3, m).astype("f4"),
                "n_tracks": rng.poisson(4, m).astype("f4"), "w": rng.exponential(size=m).astype("f4"),
                "species": species.astype("i1"), "event": np.arange(start, start + m),
            }  # fmt: skip
            tree.extend(columns)
    unfinished.rename(path)
    return path


def configuration(folder: Path, file: Path) -> Path:
    """Writes the configuration for a sample."""
    content = {
        "data": {"files": str(file), "tree": "T", "weight": "w", "event_id": ["event"]},
        "classes": {"electron": "species == 1", "pion": "species == 0"},
        "selection": {"momentum": "p > 1.1"},
        "features": FEATURES,
        "spectators": SPECTATORS,
        "models": MODELS,
        "evaluate": {
            "working_points": [0.9, 0.95],
            "maps": [{"x": "p", "bins": 10}, {"x": "p", "bins": 5, "y": "theta", "y_bins": 4}],
            "robustness": {"smear": [0.05, 0.1], "scale": [0.98, 1.02], "shift": [-0.05, 0.05], "drop": True},
        },
    }
    path = folder / f"{file.stem}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def resident(pid: int) -> float:
    """Returns the resident megabytes of a process and of those that it started."""
    total = 0.0
    try:
        total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += resident(int(child))
    except (OSError, IndexError, ValueError):  # it has just ended
        pass
    return total


def measured(config: Path, output: Path, *options: str) -> Measured:
    """Runs the configuration in a process of its own."""
    before, start, peak = os.times(), time.perf_counter(), 0.0
    command = [sys.executable, "-m", "pidlab.cli", "run", str(config), "-o", str(output), "--figures", "none", "-q"]
    process = subprocess.Popen([*command, "--force", *options], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"the run of {config} failed")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(time.perf_counter() - start, cpu, peak, json.loads((output / "metrics.json").read_text()))


def numbers(content: Any, place: str = "") -> dict[str, Any]:
    """Returns the numbers of metrics.json by their place, without those of time."""
    if isinstance(content, dict):
        return {k: v for name, inner in content.items() for k, v in numbers(inner, f"{place}/{name}").items()}
    if isinstance(content, list):
        return {k: v for i, inner in enumerate(content) for k, v in numbers(inner, f"{place}/{i}").items()}
    return {} if place.endswith("seconds") else {place: content}


def rows(folder: Path, events: list[int], memory: str) -> Iterator[Row]:
    """Yields the table."""
    folder.mkdir(parents=True, exist_ok=True)
    done: dict[int, Measured] = {}
    for n in [IMPORTS, *sorted(events)]:
        config = configuration(folder, sample(folder / f"events{n}.root", n))
        done[n] = measured(config, folder / f"run{n}", "--memory", memory)
        if n == IMPORTS:
            yield shown("imports: MB of a run of 2,000 events", done[n].peak)
            continue
        beyond = done[n].peak - done[IMPORTS].peak
        yield shown(f"{n:,} events: peak MB", done[n].peak)
        yield shown(f"{n:,} events: bytes an event beyond the imports", beyond * 1e6 / n)
        yield shown(f"{n:,} events: seconds a million events", done[n].seconds * 1e6 / n, f"CPU {done[n].cpu:.0f} s")
        for model in MODELS:
            area = done[n].metrics["models"][model]["test"]["auc"]
            yield shown(f"{n:,} events: AUC of {model}", area["value"], f"[{area['low']:.5f}, {area['high']:.5f}]")
    smallest, largest = min(events), max(events)
    filed = measured(folder / f"events{smallest}.yaml", folder / "filed", "--memory", "1MB")
    before, after = numbers(done[smallest].metrics), numbers(filed.metrics)
    moved = sum(before.get(key) != after.get(key) for key in before.keys() | after.keys())
    yield at_most(f"{smallest:,} events: numbers of {len(before):,} that differ with columns in files", moved, 0)
    if largest // 10 in done:
        for model in MODELS:
            one, tenth = (done[n].metrics["models"][model]["test"]["auc"] for n in (largest, largest // 10))
            away = (one["value"] - tenth["value"]) / (tenth["high"] - tenth["low"]) * 2
            yield shown(f"AUC of {model}: {largest:,} against a tenth, in standard errors of the tenth", away)


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, nargs="+", default=[200_000, 2_000_000, 20_000_000])
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    for row in rows(options.folder.resolve(), options.events, options.memory):
        print(row, flush=True)
        found.append(row)
    if options.json:
        written = [{"name": r.name, "value": r.value, "bar": r.bar, "holds": r.holds} for r in found]
        options.json.write_text(json.dumps(written, indent=1))


if __name__ == "__main__":
    main()
