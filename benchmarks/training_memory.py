"""The memory that training and scoring take beyond the events themselves, in bytes an event, for each type of model.

    python benchmarks/training_memory.py [--events N] [--model NAME ...]

Each model is trained in a process of its own on events that are already in memory as a run keeps them (12 features,
training and validation samples as views of one table), and then scores all of them. The peak is that of the resident
memory (`VmHWM`) after everything has been imported by a training on a few events, so that imports do not count.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

D = 12
MODELS = {
    "cuts": {"type": "cuts", "features": ["f0", "f1", "f2", "f3"]},
    "fisher": {"type": "fisher"},
    "logistic": {"type": "logistic"},
    "naive_bayes": {"type": "naive_bayes"},
    "bdt": {"type": "bdt", "n_estimators": 20, "max_depth": 4, "learning_rate": 0.1},
    "mlp": {"type": "mlp", "hidden": [32, 32], "epochs": 2, "batch_size": 4096},
}


def measure(name: str, n: int) -> None:
    """Trains one model on 0.64 n events, validates on 0.11 n, scores all n, and prints what it took."""
    from pidlab.config.load import check_config
    from pidlab.models.categories import CategoryModel
    from pidlab.models.fold import FoldModel
    from pidlab.models.registry import Resources
    from pidlab.models.training import fit_parts
    from pidlab.preprocess.recipe import compile_recipe
    from pidlab.sample import Sample

    names = [f"f{j}" for j in range(D)]
    content = {
        "data": {"files": "a.root"}, "classes": {"s": "y == 1", "b": "y == 0"}, "signal": "s", "features": names,
        "models": {name: MODELS[name]}, "scaling": "quantile", "seed": 1,
    }  # fmt: skip
    recipe = compile_recipe(check_config(content, {}, Path("a.yaml")))
    config = recipe.loaded.config

    def sample(n: int) -> Sample:
        rng = np.random.default_rng(n)
        y = (rng.random(n, np.float32) < 0.3).astype(np.int8)
        x = np.empty((n, D), np.float32)
        for j in range(D):
            x[:, j] = rng.standard_normal(n, np.float32) + y * np.float32(0.2 * j / D + 0.5 * (j == 0))
        weight = rng.random(n) + 0.5
        return Sample(
            x=x, y=1 - y, weight=weight, event=np.empty(0, np.uint64), features=tuple(names), classes=("s", "b"),
            signal=0, spectators={}, columns={}, file=np.empty(0, np.int32), row=np.empty(0, np.int64),
        )  # fmt: skip

    def part(whole: Sample, first: int, last: int) -> Sample:
        from dataclasses import replace

        rows = slice(first, last)
        return replace(whole, x=whole.x[rows], y=whole.y[rows], weight=whole.weight[rows])

    def fitted(whole: Sample, n: int) -> FoldModel | CategoryModel:
        pair = part(whole, 0, int(0.64 * n)), part(whole, int(0.64 * n), int(0.75 * n))
        return fit_parts(name, config.models[name], [pair], recipe, Resources("cpu", 1), None)[0]

    small = sample(5000)
    fitted(small, 5000).scores(small.x)
    whole = sample(n)
    base = status("VmRSS")
    begin()
    seconds = user_seconds()
    model = fitted(whole, n)
    training, seconds = status("VmHWM") - base, user_seconds() - seconds
    begin()
    base, again = status("VmRSS"), user_seconds()
    scores = model.scores(whole.x)
    scoring = status("VmHWM") - base - scores.nbytes
    order = np.argsort(scores[:, 0], kind="stable")
    hits = whole.y[order] == 0
    auc = float(np.sum(np.cumsum(~hits) * hits) / (hits.sum() * (~hits).sum()))
    print(
        f"{name:12} {n:>11,} training {training / n:7.1f} B/event {1e6 * seconds / n:7.2f} s/million  "
        f"scoring {scoring / n:6.1f} B/event {1e6 * (user_seconds() - again) / n:6.2f} s/million   AUC {auc:.6f}",
        flush=True,
    )


def begin() -> None:
    """Sets the peak of the resident memory back to what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    time.sleep(0.01)


def status(key: str) -> int:
    """Returns a size of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


def user_seconds() -> float:
    """Returns the processor time that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def main() -> None:
    """Measures each model in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--model", action="append", choices=list(MODELS))
    parser.add_argument("--alone", action="store_true", help="measure in this process")
    options = parser.parse_args()
    for name in options.model or MODELS:
        if options.alone:
            measure(name, options.events)
        else:
            command = [sys.executable, __file__, "--alone", "--events", str(options.events), "--model", name]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
