"""What a newcomer waits for: `pidlab --help`, and `pidlab run` on the sample of 20,000 events in `data/`.

    python benchmarks/first_minutes.py [--only NAME] [--json FILE]

Both are wall time on a machine with two free cores, warm: everything was run once before, so that compiled code and
the files are where they will be. The CPU seconds of the run, of all its processes, tell what to expect of a busy one.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rows import Row, at_most, measure, shown

CONFIG = Path(__file__).parents[1] / "data" / "shms.yaml"
PIDLAB = [sys.executable, "-m", "pidlab.cli"]
N_HELPS = 10


def wall_and_cpu(*words: str) -> tuple[float, float]:
    """Seconds that `pidlab WORDS` takes, by the clock and of processors."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([*PIDLAB, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def help_() -> Iterator[Row]:
    wall_and_cpu("--help")
    taken = [wall_and_cpu("--help") for _ in range(N_HELPS)]
    detail = f"median of {N_HELPS}; CPU {statistics.median(cpu for _, cpu in taken):.3f} s"
    yield at_most("pidlab --help, wall seconds", statistics.median(wall for wall, _ in taken), 0.15, detail)


def run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as place:
        words = ("run", str(CONFIG), "-o", str(Path(place) / "run"), "-q")
        wall_and_cpu(*words)
        wall, cpu = wall_and_cpu(*words)
    busy = os.getloadavg()[0]
    yield at_most("pidlab run data/shms.yaml, wall seconds, warm", wall, 15.0, f"load of the machine {busy:.1f}")
    yield shown("pidlab run data/shms.yaml, CPU seconds of all processes", cpu)


PARTS = {"help": help_, "run": run}

if __name__ == "__main__":
    measure(__doc__, PARTS)
