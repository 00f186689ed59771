"""`pidlab apply`, killed at random moments and called again: is anything lost, or there twice?

    python benchmarks/kills.py [--kills N] [--jobs N] [--seed S] [--json FILE]

Scores 12 files in a process that is killed (SIGKILL) at a random moment, again and again until N calls were killed
while they worked; a call that ends by itself is followed by one that makes everything again. After each kill every
friend file that is there must be whole and equal, branch by branch, to that of an undisturbed call; in the end all of
them must be there, and nothing else. FILE gets a list of {name, value, bar, holds}.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import uproot
from rows import Row, at_least, at_most, write

N_FILES = 12
CALL = """
import sys
from pathlib import Path
import pidlab.apply.inputs
from pidlab.apply import apply
from pidlab.runs.bundle import load_bundle
from pidlab.progress import Watcher
from pidlab.read import Source

if __name__ == "__main__":
    pidlab.apply.inputs.STEP = 5_000
    run, output, jobs, force, *paths = sys.argv[1:]
    bundle = load_bundle(Path(run))
    print("ready", flush=True)
    sources = [Source(path, "t") for path in paths]
    apply(bundle, sources, Path(output), Watcher(), jobs=int(jobs), force=force == "force")
"""


def prepare(folder: Path) -> list[Path]:
    """A run of a Fisher discriminant, and the inputs."""
    from pidlab.config.load import check_config
    from pidlab.models.registry import Resources
    from pidlab.pipeline import run
    from pidlab.progress import Watcher

    rng = np.random.default_rng(0)
    paths = [folder / f"in{i}.root" for i in range(N_FILES)]
    for path in paths:
        label = rng.integers(0, 2, 60_000)
        content = {"a": rng.normal(label), "b": rng.normal(size=60_000), "label": label}
        with uproot.recreate(path) as file:
            file.mktree("t", {name: values.dtype for name, values in content.items()}).extend(content)
    config = {
        "data": {"files": "in0.root"},
        "classes": {"s": "label == 1", "b": "label == 0"},
        "features": ["a", "b"],
        "models": {"fisher": {"type": "fisher"}},
        "evaluate": {"robustness": None},
    }
    run(check_config(config, {}, folder / "c.yaml"), folder / "run", Resources("cpu", 1), Watcher())
    (folder / "call.py").write_text(CALL)
    return paths


def start(folder: Path, paths: list[Path], output: Path, jobs: int, force: bool = False) -> subprocess.Popen[str]:
    words = [sys.executable, folder / "call.py", folder / "run", output, jobs, "force" if force else "", *paths]
    process = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # everything is imported and loaded
    return process


def content(output: Path) -> dict[str, str]:
    """Friend file to a hash of its branches, those of the marker's entries included."""
    hashes = {}
    for path in sorted(output.glob("*_pid.root")):
        with uproot.open(path) as file:
            marker = json.loads(str(file["pidlab_complete"]))
            arrays = file["t_pid"].arrays(library="np")
        digest = hashlib.blake2b(json.dumps(marker["trees"]).encode())
        for name in sorted(arrays):
            digest.update(name.encode() + arrays[name].tobytes())
        hashes[path.name] = digest.hexdigest()
    return hashes


def measure(n_kills: int, jobs: int, seed: int) -> list[Row]:
    rng, n_killed, n_whole, n_wrong = np.random.default_rng(seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths, output = prepare(folder), folder / "out"
        process = start(folder, paths, folder / "undisturbed", jobs)
        begin = time.monotonic()
        process.communicate()
        whole, expected = time.monotonic() - begin, content(folder / "undisturbed")
        while n_killed < n_kills:
            process = start(folder, paths, output, jobs, force=n_whole == N_FILES)
            time.sleep(rng.uniform(0, 0.4 * whole))
            n_killed += process.poll() is None
            process.kill()
            process.communicate()
            there = content(output)
            n_whole = len(there)
            n_wrong += sum(expected[file] != value for file, value in there.items())
        start(folder, paths, output, jobs).communicate()
        there = content(output)
        n_lost = sum(there.get(file) != value for file, value in expected.items())
        n_left = len(list(output.glob(".*.part")))
    figures = {"wrong after a kill": n_wrong, "wrong or lost in the end": n_lost, "leftovers in the end": n_left}
    rows = [at_least("kills", n_killed, n_kills)]
    return rows + [at_most(f"{N_FILES} friend files, {what}", n, 0) for what, n in figures.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments.kills, arguments.jobs, arguments.seed)
    for row in rows:
        print(row)
    if arguments.json:
        write(arguments.json, rows)


if __name__ == "__main__":
    main()
