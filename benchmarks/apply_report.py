"""`pidlab apply --report` against `pidlab apply`: memory and seconds of the processor, and how they grow with the rows.

    python benchmarks/apply_report.py [--events N ...] [--folder DIR]

Trains cuts and Fisher's discriminant beside cuts by hand on 60,000 simulated SHMS events, repeats 40,000 others into
files of N rows without labels (2,000,000 and 20,000,000), and applies the run to each, in one thread, with and without
`--report`. Prints the largest memory of the process and its seconds of the processor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import uproot

CONFIG = """
data: {files: train.root, tree: T, event_id: [run, event], weight: w}
classes: {electron: species == 0, pion: species == 1}
selection: {acceptance: abs(P.gtr.dp) < 15, calorimeter: P.cal.etottracknorm > 0.05}
features:
  - P.cal.etottracknorm
  - P.cal.eprtracknorm
  - {name: beta, expression: P.gtr.beta, missing: [-999]}
  - {name: npe, expression: P.hgcer.npeSum, missing: [-999]}
spectators: [P.gtr.p, P.gtr.th]
models:
  hand: {type: expression, cut: "P.cal.etottracknorm > 0.75 && P.hgcer.npeSum > 2"}
  cuts: {type: cuts}
  fisher: {type: fisher}
evaluate: {working_points: [0.9, 0.95], robustness: null}
"""
REPEATS = 5  # of 40,000 rows in one basket


def pidlab(folder: Path, *words: str) -> tuple[float, float]:
    """Runs a command; returns its largest memory in MB and its seconds of the processor."""
    child = subprocess.Popen([sys.executable, "-m", "pidlab.cli", *words], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"pidlab {' '.join(words)} failed")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def repeated(folder: Path, n: int) -> str:
    """Writes about n rows without labels, each event with a number of its own; returns the name of the file."""
    with uproot.open(folder / "data.root") as file:
        own = file["T"].arrays(library="np")
    del own["species"]
    size = REPEATS * len(own["event"])
    name = f"rows_{n}.root"
    with uproot.recreate(folder / name, compression=uproot.LZ4(1)) as file:
        tree = file.mktree("T", {branch: values.dtype for branch, values in own.items()})
        for i in range(n // size):
            event = (np.arange(size) + i * size).astype(own["event"].dtype)
            tree.extend({branch: np.tile(values, REPEATS) for branch, values in own.items()} | {"event": event})
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[2_000_000, 20_000_000])
    parser.add_argument("--folder", type=Path, help="where to work; left out: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(CONFIG)
        pidlab(folder, "simulate", "shms", "-o", "train.root", "--events", "60000", "--seed", "3")
        pidlab(folder, "simulate", "shms", "-o", "data.root", "--events", "40000", "--seed", "9")
        pidlab(folder, "run", "config.yaml", "-o", "run", "--figures", "none", "-q")
        print(f"{'rows':>12} {'report':>7} {'largest memory':>15} {'CPU':>9}")
        for n in options.events:
            file = repeated(folder, n)
            for with_report in ([], ["--report"]):
                words = ("apply", "run", file, "-o", "out", "--jobs", "1", "--force", "-q", *with_report)
                memory, seconds = pidlab(folder, *words)
                print(f"{n:>12,} {'yes' if with_report else 'no':>7} {memory:>12,.0f} MB {seconds:>7.1f} s", flush=True)


if __name__ == "__main__":
    main()
