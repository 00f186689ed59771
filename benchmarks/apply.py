"""`pidlab apply` against the disk, the plain way and RDataFrame: what scoring everything costs.

    python benchmarks/apply.py [--events N] [--long] [--json FILE]

Makes a file of 12 float32 branches and N events (2,000,000) in several compressions, in baskets of 10,000 entries as
ROOT writes them, and trains an MLP and a BDT of 300 trees of depth 6 on three variables, behind a selection that keeps
34 %. Then, in turns and by the clock on the wall, the best of three rounds each:

* reading the 12 branches with uproot and nothing else;
* the plain way: uproot into pandas, a network of torch with gradients on, xgboost's DMatrix, every event, zlib;
* `apply` in one thread, in threads, and in two processes (whose start and loading of the models is timed separately);
* `apply` with a network on all 12 variables;
* ROOT's RDataFrame in two threads with the exported header and Snapshot; "not measured" without ROOT.

Peak memory is that of a process of its own beyond what it has after imports, models and a first small file; with
--long at ten times the events too. What an event costs in longer files and in more of them is in seconds of the
processor, which a busy machine changes least, with the clock beside it; with --long at 50 times the events and in 100
files.

FILE gets a list of {name, value, bar, holds}; null where nothing was measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from rows import Row, at_least, at_most, shown, write

NAMES = ["p", "dedx", "invb", *(f"v{i}" for i in range(9))]
SELECTION = {"momentum": "p > -1 && p < 1.15", "angle": "abs(v0) < 1", "vertex": "sqrt(v1*v1 + v2*v2) < 1.74"}
COMPRESSIONS = {"zstd": uproot.ZSTD(1), "lz4": uproot.LZ4(1), "zlib": uproot.ZLIB(1)}
BASKET = 10_000
ROUNDS = 3


def make(path: Path, n: int, compression: Any, with_label: bool = False) -> Path:
    """The network is given something to learn by three variables that depend on the label."""
    rng = np.random.default_rng(9 if with_label else 1)
    types = dict.fromkeys(NAMES, np.dtype("f4")) | ({"label": np.dtype("i4")} if with_label else {})
    with uproot.recreate(path, compression=compression) as file:
        tree = file.mktree("t", types)
        for start in range(0, n, BASKET):
            size = min(BASKET, n - start)
            label = rng.integers(0, 2, size)
            x = rng.normal(size=(12, size)).astype("f4")
            x[:3] += 0.8 * label * np.array([[1.0], [-0.7], [0.5]], "f4")
            x[1] += 0.3 * x[0] ** 2 * label
            arrays = dict(zip(NAMES, x, strict=True)) | {"label": label.astype("i4")}
            tree.extend({name: arrays[name] for name in types})
    return path


def train(folder: Path, name: str, features: list[str], models: dict[str, Any]) -> Path:
    from pidlab.config.load import check_config
    from pidlab.models.registry import Resources
    from pidlab.pipeline import run
    from pidlab.progress import Watcher

    content = {
        "data": {"files": "train.root"},
        "classes": {"s": "label == 1", "b": "label == 0"},
        "selection": SELECTION,
        "features": features,
        "models": models,
        "evaluate": {"robustness": None},
    }
    run(check_config(content, {}, folder / f"{name}.yaml"), folder / name, Resources("cpu", 2), Watcher())
    return folder / name


MLP = {"type": "mlp", "hidden": [20, 20], "activation": "tanh", "epochs": 3}
TREES = {"type": "bdt", "n_estimators": 300, "max_depth": 6, "early_stopping_rounds": None}


def read(path: Path) -> int:
    n = 0
    with uproot.open({path: "t"}, object_cache=None, array_cache=None) as tree:
        for arrays in tree.iterate(NAMES, step_size=200_000, library="np"):
            n += len(arrays["p"])
    return n


class PlainWay:
    """As tutorials write it: everything is scored, with gradients on, and kept to the end."""

    def __init__(self, run: Path) -> None:
        import torch
        import xgboost

        layers = [torch.nn.Linear(3, 20), torch.nn.Tanh(), torch.nn.Linear(20, 20), torch.nn.Tanh()]
        self.network = torch.nn.Sequential(*layers, torch.nn.Linear(20, 1), torch.nn.Sigmoid())
        self.booster = xgboost.Booster()
        self.booster.load_model(run / "models" / "bdt" / "fold0" / "model.ubj")

    def __call__(self, path: Path, output: Path) -> None:
        import torch
        import xgboost

        parts = []
        for frame in uproot.open(path)["t"].iterate(NAMES, library="pd"):
            x = frame[NAMES[:3]].to_numpy()
            radius = (frame.v1**2 + frame.v2**2) ** 0.5
            keep = (frame.p > -1) & (frame.p < 1.15) & (frame.v0.abs() < 1) & (radius < 1.74)
            mlp = self.network(torch.tensor(x)).detach().numpy()[:, 0]
            parts.append((keep.to_numpy(), mlp, self.booster.predict(xgboost.DMatrix(x))))
        columns = dict(zip(("selected", "mlp", "bdt"), map(np.concatenate, zip(*parts, strict=True)), strict=True))
        with uproot.recreate(output, compression=uproot.ZLIB(1)) as file:
            file.mktree("friend", {name: values.dtype for name, values in columns.items()}).extend(columns)


class Apply:
    """pidlab's way, with the models of a run loaded."""

    def __init__(self, run: Path, output: Path) -> None:
        from pidlab.runs.bundle import load_bundle

        self.bundle, self.output = load_bundle(run), output

    def __call__(self, *paths: Path, **options: Any) -> Any:
        from pidlab.apply import apply
        from pidlab.progress import Watcher
        from pidlab.read import Source

        sources = [Source(str(path), "t") for path in paths]
        return apply(self.bundle, sources, self.output, Watcher(), force=True, **options)


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turns(ways: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """The best of the rounds of each; each round takes all of them in turn, after one that does not count."""
    times = [{name: seconds(function) for name, function in ways.items()} for _ in range(rounds + 1)]
    return {name: min(each[name] for each in times[1:]) for name in ways}


class TwoProcesses:
    """Two workers that have loaded the models: the time to start them is measured separately."""

    def __init__(self, apply: Apply, small: Path) -> None:
        from pidlab.apply.workers import _processes

        self.executor, self.apply = _processes(2), apply
        self.start = seconds(lambda: [self(small) for _ in range(3)])

    def __call__(self, *paths: Path) -> None:
        self.apply(*paths, executor=self.executor)


ROOT_CODE = """
import os, sys, time
import ROOT
header, source, output, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
ROOT.gROOT.SetBatch(True)
space = os.path.basename(header).removesuffix(".h")
assert ROOT.gInterpreter.Declare('#include "%s"' % header)
ROOT.gInterpreter.Declare("ROOT::RDF::RNode scored(ROOT::RDF::RNode frame) { return %s::define(frame); }" % space)
ROOT.EnableImplicitMT(2)
for _ in range(rounds + 1):
    start = time.perf_counter()
    frame = ROOT.scored(ROOT.RDF.AsRNode(ROOT.RDataFrame("t", source)))
    snapshot = frame.Snapshot("friend", output, "pid_.*")
    print("SECONDS", snapshot.Count().GetValue(), time.perf_counter() - start, flush=True)
os._exit(0)
"""


def rdataframe(run: Path, folder: Path, source: Path, n: int) -> float | None:
    """Seconds of the best round of real ROOT with the exported header, which writes what it adds and nothing else.

    The first round, which compiles, does not count.
    """
    if importlib.util.find_spec("ROOT") is None:
        return None
    export = [sys.executable, "-m", "pidlab.cli", "export", run, "--format", "header", "-o", folder / "header"]
    if subprocess.run(list(map(str, export)), capture_output=True, check=False).returncode:
        return None
    header = next((folder / "header").glob("*.h"))
    words = [sys.executable, "-c", ROOT_CODE, header, source, folder / "snapshot.root", ROUNDS]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    rounds = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("SECONDS")]
    if len(rounds) < 2 or any(int(count) != n for count, _ in rounds):
        print(done.stdout + done.stderr, file=sys.stderr)
        return None
    return min(float(each) for _, each in rounds[1:])


def speed(folder: Path, n: int, both: Path, network: Path) -> list[Row]:
    files = {name: make(folder / f"{name}.root", n, level) for name, level in COMPRESSIONS.items()}
    small = make(folder / "small.root", 50_000, COMPRESSIONS["zstd"])
    ours, ours_12, plain = Apply(both, folder / "out"), Apply(network, folder / "out"), PlainWay(both)
    processes, zstd = TwoProcesses(ours, small), files["zstd"]
    share = ours(zstd)[0].n_selected / n
    best = in_turns(
        {
            "plain": lambda: plain(zstd, folder / "plain.root"),
            "one": lambda: ours(zstd, jobs=1),
            "threads": lambda: ours(zstd),
            "processes": lambda: processes(zstd),
            "read": lambda: read(zstd),
            "network": lambda: ours_12(zstd),
            "network, one": lambda: ours_12(zstd, jobs=1),
        }
    )
    others = in_turns({name: lambda path=path: ours(path) for name, path in files.items()})
    reading = in_turns({name: lambda path=path: read(path) for name, path in files.items()})
    processes.executor.shutdown()
    two = min(best["threads"], best["processes"])
    root = rdataframe(both, folder, zstd, n)
    against_root = "against RDataFrame, two threads"
    return [
        shown("share of events selected", share),
        *(shown(f"reading 12 branches, {name}, M events/s", n / t / 1e6) for name, t in reading.items()),
        *(shown(f"apply in threads, {name}, M events/s", n / t / 1e6) for name, t in others.items()),
        shown("the plain way, M events/s", n / best["plain"] / 1e6),
        shown("apply in one thread, M events/s", n / best["one"] / 1e6),
        shown("apply in two processes, M events/s", n / best["processes"] / 1e6),
        shown("starting two processes, s", processes.start),
        at_least("against the plain way, one core", best["plain"] / best["one"], 5),
        at_least("against the plain way, two cores", best["plain"] / two, 10, f"{n / two / 1e6:.2f} M events/s"),
        Row(against_root, None, 2, None, "not measured")
        if root is None
        else at_least(against_root, root / two, 2, f"it does {n / root / 1e6:.2f} M events/s"),
        at_least("network alone against reading alone", best["read"] / best["network"], 0.4),
        shown("the same in one thread", best["read"] / best["network, one"]),
    ]


def memory(what: str) -> float:
    """MB of this process: VmRSS now, or VmHWM at its peak (Linux)."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(what))
    return float(line.split()[1]) / 1024


def tell_peak(run: Path, source: Path, small: Path, output: Path) -> None:
    """Peak memory in MB of scoring `source`, beyond what is held after everything was imported and used once."""
    way = Apply(run, output)
    way(small)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    way(source)
    print(memory("VmHWM") - before)


def peaks(folder: Path, both: Path, lengths: list[int]) -> list[Row]:
    tiny = make(folder / "tiny.root", 1_000, COMPRESSIONS["zstd"])
    beyond = {}
    for n in lengths:
        path = folder / f"{n}.root"
        if not path.exists():
            make(path, n, COMPRESSIONS["zstd"])
        words = [sys.executable, __file__, "--peak", both, path, tiny, folder / "out"]
        said = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True).stdout
        beyond[n] = float(said)
    rows = [at_most(f"peak memory beyond imports at {n / 1e6:g} M events, MB", v, 250) for n, v in beyond.items()]
    more = beyond[lengths[-1]] - beyond[lengths[0]]
    rows.append(at_most("peak memory, more in the longer file, MB", more, 0.15 * 250))
    return rows


def cost(way: Apply, *paths: Path) -> tuple[float, float]:
    """Seconds of the processor, of all threads together, and by the clock: the better of two calls."""
    both = []
    for _ in range(2):
        cpu, wall = time.process_time(), time.perf_counter()
        way(*paths)
        both.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(cpu for cpu, _ in both), min(wall for _, wall in both)


def growth(folder: Path, n: int, both: Path, factors: list[int], counts: list[int]) -> Iterator[Row]:
    """What an event costs in longer files and in more files, against one file of n events."""
    way, first = Apply(both, folder / "out"), folder / f"{n}.root"
    (folder / "many").mkdir()
    links = [folder / "many" / f"{i}.root" for i in range(max(counts))]
    for link in links:
        os.link(first, link)
    way(first)
    cpu, wall = cost(way, first)
    for factor in factors:
        path = folder / f"{n * factor}.root"
        if not path.exists():
            make(path, n * factor, COMPRESSIONS["zstd"])
        own = cost(way, path)
        name = f"cost an event at {n * factor / 1e6:g} M events / at {n / 1e6:g} M"
        yield at_most(name, own[0] / factor / cpu, 1.15, f"by the clock {own[1] / factor / wall:.2f}")
    for count in counts:
        own = cost(way, *links[:count])
        name = f"cost an event in {count} files / in one"
        yield at_most(name, own[0] / count / cpu, 1.15, f"by the clock {own[1] / count / wall:.2f}")


def measure(events: int, long: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "train.root", 200_000, COMPRESSIONS["zstd"], with_label=True)
        both = train(folder, "both", NAMES[:3], {"mlp": MLP, "bdt": TREES})
        network = train(folder, "network", NAMES, {"mlp": MLP})
        yield from speed(folder, events, both, network)
        yield from peaks(folder, both, [events, 10 * events] if long else [events, 2 * events])
        yield from growth(folder, events, both, [10, 50] if long else [2], [10, 100] if long else [10])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--long", action="store_true", help="also 10 and 50 times the events, and 100 files")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--peak", type=Path, nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.peak:
        tell_peak(*arguments.peak)
        return
    rows = []
    for row in measure(arguments.events, arguments.long):
        print(row, flush=True)
        rows.append(row)
    if arguments.json:
        write(arguments.json, rows)


if __name__ == "__main__":
    main()
