"""The exported C++ header: events a second against the Python path and against trees unrolled into if and else.

    python benchmarks/header.py [--events N] [--json FILE]

A simulated SHMS sample, a BDT of 300 trees of depth 6 and an MLP of 64 and 64 SiLU units on 8 features. One core, g++
-O2 (or CXX); the header scores from arrays of features, as `Model.scores_of` does, so that neither pays for reading
or for the selection. The unrolled version is what m2cgen and TMVA's MakeClass write: a function a tree, an `if` a node.
The times are CPU seconds of the best of five passes. The largest differences of the scores are of the same run.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows import Row, at_least, shown, write

from pidlab.config.load import check_config
from pidlab.export import parity_events
from pidlab.export.cpp.check import find_compiler
from pidlab.export.cpp.header import Header
from pidlab.export.cpp.text import number
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.runs.bundle import Bundle, load_bundle, save_bundle
from pidlab.simulate import simulate

FEATURES = [
    "P.cal.etottracknorm",
    "P.cal.eprtracknorm",
    "P.hgcer.npeSum",
    "P.gtr.beta",
    "P.gtr.p",
    "P.gtr.dp",
    "P.gtr.th",
    "P.gtr.ph",
]
CONTENT: dict[str, Any] = {
    "data": {"files": "shms.root"},
    "classes": {"electron": "species == 0", "pion": "species == 1"},
    "features": FEATURES,
    "models": {
        "bdt": {
            "type": "bdt",
            "n_estimators": 300,
            "max_depth": 6,
            "learning_rate": 0.1,
            "early_stopping_rounds": None,
        },
        "mlp": {"type": "mlp", "hidden": [64, 64], "epochs": 2},
    },
    "evaluate": {"robustness": None, "importance": False},
}
PASSES = 5


def trained(folder: Path) -> Bundle:
    simulate("shms", folder / "shms.root", 60_000, 1)
    done = analyse(check_config(CONTENT, {}, folder / "analysis.yaml"), Resources("cpu", 1), Watcher())
    (folder / "run").mkdir()
    save_bundle(folder / "run", done.recipe, done.models, done.results.models)
    return load_bundle(folder / "run")


def unrolled(bundle: Bundle) -> str:
    """The trees of the BDT as functions of `if` and `else`, and their sum."""
    forest = bundle.models["bdt"].fitted[0].estimator.forest()
    functions = "".join(
        f"static float tree{i}(const float* x) {{ {branch(t, 0)} }}\n" for i, t in enumerate(forest.trees)
    )
    total = " + ".join([number(forest.base[0]), *(f"tree{i}(x)" for i in range(len(forest.trees)))])
    return f"{functions}float unrolled(const float* x) {{ return 1 / (1 + std::exp(-({total}))); }}\n"


def branch(tree: Any, node: int) -> str:
    if tree.left[node] < 0:
        return f"return {number(np.float32(tree.value[node]))};"
    x, threshold = f"x[{tree.feature[node]}]", number(np.float32(tree.threshold[node]))
    test = f"!({x} >= {threshold})" if tree.missing_left[node] else f"{x} < {threshold}"
    return f"if ({test}) {{ {branch(tree, tree.left[node])} }} else {{ {branch(tree, tree.right[node])} }}"


PROGRAM = """
#include "unrolled.h"
#include <cstdio>
#include <ctime>
#include <fstream>
template <class Score>
void timed(const char* name, const std::vector<float>& x, std::size_t n, std::ofstream& out, Score score)
{
   std::vector<float> scores(n);
   double best = 1e9;
   for (int pass = 0; pass < PASSES; ++pass) {
      const std::clock_t start = std::clock();
      for (std::size_t i = 0; i < n; ++i) scores[i] = score(&x[i * N_FEATURES]);
      best = std::min(best, double(std::clock() - start) / CLOCKS_PER_SEC);
   }
   std::printf("%s %.9g\\n", name, n / best);
   out.write(reinterpret_cast<const char*>(scores.data()), n * sizeof(float));
}
int main(int, char** words)
{
   const std::size_t n = std::stoull(words[1]);
   std::vector<float> x(n * N_FEATURES);
   std::ifstream(words[2], std::ios::binary).read(reinterpret_cast<char*>(x.data()), x.size() * sizeof(float));
   std::ofstream out(words[3], std::ios::binary);
   const pid_bench::Event event;
   timed("bdt", x, n, out, [&](const float* row) { return pid_bench::detail::scores_bdt(event, row)[SIGNAL]; });
   timed("mlp", x, n, out, [&](const float* row) { return pid_bench::detail::scores_mlp(event, row)[SIGNAL]; });
   timed("unrolled", x, n, out, [](const float* row) { return SIGNAL ? unrolled(row) : 1 - unrolled(row); });
}
"""


def in_cpp(bundle: Bundle, x: NDArray[np.float32], folder: Path) -> tuple[dict[str, float], NDArray[np.float32]]:
    """Events a second by name, and the scores (3, n) of header's BDT, header's MLP and the unrolled BDT."""
    header = Header(bundle, ["bdt", "mlp"], parity_events(bundle, 100), "pid_bench")
    (folder / "pid_bench.h").write_text(header.text())
    (folder / "unrolled.h").write_text(f'#include "pid_bench.h"\n{unrolled(bundle)}')
    (folder / "main.cpp").write_text(PROGRAM)
    x.tofile(folder / "x.bin")
    defines = [f"-DN_FEATURES={x.shape[1]}", f"-DSIGNAL={bundle.recipe.signal}", f"-DPASSES={PASSES}"]
    program = folder / "program"
    subprocess.run([*find_compiler(), "-std=c++17", "-O2", *defines, "-o", program, folder / "main.cpp"], check=True)
    words = [program, str(len(x)), folder / "x.bin", folder / "scores.bin"]
    output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rates = {name: float(value) for name, value in (line.split() for line in output.splitlines())}
    return rates, np.fromfile(folder / "scores.bin", np.float32).reshape(3, -1)


def measure(n: int, folder: Path) -> Iterator[Row]:
    """Yields the rates of n events, and how far the largest difference stays below its limit."""
    bundle = trained(folder)
    events = parity_events(bundle, 20_000)
    x = np.ascontiguousarray(events.x[np.random.default_rng(1).integers(0, 20_000, n)])
    rates, scores = in_cpp(bundle, x, folder)
    for i, name in enumerate(("bdt", "mlp")):
        python, own = python_path(bundle, name, x)
        largest = float(np.nanmax(np.abs(scores[i] - own)))
        yield shown(f"{name}: header, events/s", rates[name])
        yield shown(f"{name}: Python, events/s", python)
        yield shown(f"{name}: header over Python", rates[name] / python)
        yield at_least(f"{name}: limit over the largest difference", (1e-6, 1e-5)[i] / max(largest, 1e-12), 1)
    yield shown("bdt: unrolled, events/s", rates["unrolled"])
    yield at_least("bdt: header over unrolled", rates["bdt"] / rates["unrolled"], 1)


def python_path(bundle: Bundle, name: str, x: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """Events a second of `scores_of` on one thread, and the signal's scores (n,)."""
    model = bundle.models[name]
    if name == "bdt":
        model.fitted[0].estimator.n_jobs = 1
    own = model.scores_of(x, {})[:, bundle.recipe.signal]  # compiles, too
    best = np.inf
    for _ in range(PASSES):
        start = time.process_time()
        model.scores_of(x, {})
        best = min(best, time.process_time() - start)
    return len(x) / best, own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--events", type=int, default=100_000, help="events to score")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for row in measure(options.events, Path(name)):
            print(row, flush=True)
            rows.append(row)
    if options.json:
        write(options.json, rows)


if __name__ == "__main__":
    main()
