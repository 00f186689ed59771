"""Reading and selecting a flat tree: pidlab's chunks and cut string against uproot's `iterate` and numpy by hand.

    python benchmarks/reading.py [--events N] [--rounds N] [--json FILE]

Makes its own file: 12 float32 branches, zstd, baskets of 250,000 entries. Both sides read the three branches of the
cut and nine more, select, and sum what is left, in chunks of the same size, in turns, each in the same process. The
ratio of the best rounds counts. Peak memory is that of a process of its own which reads the file once as a whole
chunk after chunk, and once a file four times as long: it must not grow.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from rows import Row, at_most, shown, write

from pidlab.expressions import parse, selects
from pidlab.read import STEP, Source, Table

CUT = "x0 > -0.5 && abs(x1) < 1.5 && x2 + x3 < 2"
NAMES = [f"x{i}" for i in range(12)]


def make(path: Path, n: int) -> None:
    rng = np.random.default_rng(1)
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        tree = file.mktree("T", dict.fromkeys(NAMES, np.dtype("f4")))
        for start in range(0, n, 250_000):
            size = min(250_000, n - start)
            tree.extend({name: rng.normal(size=size).astype("f4") for name in NAMES})


def by_pidlab(path: Path) -> tuple[int, float]:
    cut, n, total = parse(CUT), 0, 0.0
    with Table(Source(str(path), "T")) as table:
        for chunk in table.chunks(NAMES):
            rows = np.flatnonzero(selects(cut, chunk.arrays, chunk.n_rows))
            kept = chunk.take(rows)
            n += len(rows)
            total += sum(float(kept.arrays[name].sum(dtype=np.float64)) for name in NAMES)
    return n, total


def by_hand(path: Path) -> tuple[int, float]:
    n, total = 0, 0.0
    with uproot.open({path: "T"}, object_cache=None, array_cache=None, handler=uproot.MemmapSource) as tree:
        for a in tree.iterate(NAMES, step_size=STEP, library="np"):
            mask = (a["x0"] > -0.5) & (np.abs(a["x1"]) < 1.5) & (a["x2"] + a["x3"] < 2)
            rows = np.flatnonzero(mask)
            kept = {name: a[name][rows] for name in NAMES}
            n += len(rows)
            total += sum(float(kept[name].sum(dtype=np.float64)) for name in NAMES)
    return n, total


def seconds(function: Callable[[Path], Any], path: Path) -> float:
    start = time.perf_counter()
    function(path)
    return time.perf_counter() - start


def peak_megabytes(path: Path) -> float:
    command = [sys.executable, __file__, "--peak", path]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def tell_peak(path: Path) -> None:
    by_pidlab(path)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(events: int, rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path, short = Path(folder) / "long.root", Path(folder) / "short.root"
        make(path, events)
        make(short, events // 4)
        same = by_pidlab(path)[0] / by_hand(path)[0]
        times = [(seconds(by_pidlab, path), seconds(by_hand, path)) for _ in range(rounds)]
        ours, hand = (min(column) for column in zip(*times, strict=True))
        long_peak, short_peak = peak_megabytes(path), peak_megabytes(short)
    return [
        at_most("selected rows, pidlab / by hand, distance from 1", abs(same - 1), 1e-5),
        at_most("seconds, pidlab / by hand", ours / hand, 1.10),
        shown("million events a second", events / ours / 1e6),
        shown("peak memory, MB", long_peak),
        at_most("peak memory, four times the events", long_peak / short_peak, 1.15),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", type=Path, help="only read this file and tell the peak memory, in MB")
    arguments = parser.parse_args()
    if arguments.peak:
        tell_peak(arguments.peak)
        return
    rows = measure(arguments.events, arguments.rounds)
    for row in rows:
        print(row)
    if arguments.json:
        write(arguments.json, rows)


if __name__ == "__main__":
    main()
