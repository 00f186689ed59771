"""A million events evaluated: time and memory of everything that a run measures once its models have scored.

    python benchmarks/million.py [--events N] [--json FILE]

Four models' scores are given, of two and then of four classes, in one process. As with folds every event is a test
event; 85 % of them count as training, the rest decides thresholds. Measured are metrics, ROC curves, working points,
those of flat efficiency, maps of one and two spectators, overtraining, all pairs of models, robustness with a scorer
that costs next to nothing, inputs and correlations. Weights are exponential for two classes, a tenth of them negative,
and one for four. Every stage is done twice: once for its time, and once while Python counts what arrays take, for the
bytes a test event by which the memory rises above what was there before. The sample itself takes 85 bytes an event, and
the scores of a model 4 for each class and sample. The bars are those of a laptop: 60 s on two cores, 2 GB; and of a
sample of any size: 60 bytes an event.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import Evaluate, Flat, Map, Robustness
from pidlab.evaluate.compare import compare_models
from pidlab.evaluate.histograms import correlations, input_histograms
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.results import ModelResult
from pidlab.evaluate.robustness import measure_robustness
from pidlab.sample import Sample
from pidlab.split import event_hash, is_validation

Scores = NDArray[np.float32]
CLASSES = ("electron", "pion", "kaon", "proton")
FEATURES = 5
MODELS = {"fisher": 0.6, "bdt": 0.9, "mlp": 1.0, "forest": 0.8}
SECONDS, GIGABYTES, BYTES = 60.0, 2.0, 60.0


class Figure(NamedTuple):
    """One line of the table: a value, the most it may be, and whether it is."""

    name: str
    value: float
    bar: float | None

    @property
    def holds(self) -> bool:
        return self.bar is None or self.value <= self.bar


def events(n: int, k: int) -> Sample:
    """n candidates of k classes, each event one: normal features that lose their power with momentum."""
    rng = np.random.default_rng(k)
    y = rng.integers(0, k, n)
    momentum, angle = rng.uniform(2, 10, n), rng.normal(0, 0.03, n)
    centres = np.zeros((k, FEATURES))
    centres[0] = 1.0
    centres[1:, : k - 1] += np.eye(k - 1) * -0.5
    x = rng.standard_normal((n, FEATURES), np.float32)
    x += (centres[y] * (1.2 - 0.07 * momentum)[:, None]).astype(np.float32)
    weight = np.ones(n)
    if k == 2:
        weight = np.where(rng.random(n) < 0.1, -1.0, 1.0) * rng.exponential(size=n)
    row = np.arange(n)
    return Sample(
        x=x, y=y.astype(np.int8), weight=weight, event=event_hash([row]),
        features=tuple(f"x{i}" for i in range(FEATURES)),
        classes=CLASSES[:k], signal=0, spectators={"p": momentum, "th": angle}, columns={},
        file=np.zeros(n, np.int32), row=row,
    )  # fmt: skip


def scorer(strength: float, k: int) -> Callable[[Sample], Scores]:
    """Probabilities from a linear model: about as cheap as a score can be."""
    centres = np.zeros((FEATURES, k), np.float32)
    centres[:, 0] = strength
    centres[: k - 1, 1:] -= 0.5 * np.eye(k - 1, dtype=np.float32)

    def score(sample: Sample) -> Scores:
        margins = np.nan_to_num(sample.x) @ centres
        margins -= margins.max(axis=1, keepdims=True)
        np.exp(margins, out=margins)
        return np.asarray(margins / margins.sum(axis=1, keepdims=True), np.float32)

    return score


def evaluated(n: int, k: int) -> Iterator[Figure]:
    """Seconds and bytes an event of each stage, and of all."""
    sample = events(n, k)
    watched = is_validation(sample.event, 0.15, 1)
    samples = {"train": sample.take(~watched), "validation": sample.take(watched), "test": sample}
    models = {name: scorer(strength, k) for name, strength in MODELS.items()}
    scores = {name: {part: model(s) for part, s in samples.items()} for name, model in models.items()}
    options = Evaluate(
        maps=[Map(x="p", bins=20), Map(x="p", bins=8, y="th", y_bins=6)],
        flat=[Flat(x="p", bins=20), Flat(x="p", bins=8, y="th", y_bins=6)],
        abundance={name: 1.0 + 10 * i for i, name in enumerate(sample.classes)},
    )
    results: dict[str, ModelResult] = {}

    def measure() -> None:
        results.update({name: evaluate_model(name, "mlp", scores[name], samples, options) for name in models})

    stages: dict[str, Callable[[], object]] = {
        "models": measure,
        "pairs of models": lambda: _compared(scores, samples, results),
        "robustness": lambda: _changed(models, sample, results),
        "inputs and correlations": lambda: (input_histograms(sample), correlations(sample)),
    }
    cpu = time.process_time()
    seconds = {stage: _timed(work) for stage, work in stages.items()}
    cpu = time.process_time() - cpu
    for stage, found in seconds.items():
        yield Figure(f"{k} classes: {stage}, s", found, None)
    yield Figure(f"{k} classes: everything, CPU s", cpu, None)
    yield Figure(f"{k} classes: everything, s", sum(seconds.values()), SECONDS)
    for stage, work in stages.items():
        yield Figure(f"{k} classes: {stage}, bytes an event", _bytes(work) / n, BYTES)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _bytes(work: Callable[[], object]) -> float:
    """The most memory that arrays and other objects take while the work is done, above that before."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return float(peak)


def _compared(
    scores: Mapping[str, Mapping[str, Scores]], samples: Mapping[str, Sample], results: Mapping[str, ModelResult]
) -> object:
    on_test, on_validation = ({m: s[part] for m, s in scores.items()} for part in ("test", "validation"))
    return compare_models(on_test, samples["test"], on_validation, samples["validation"], results)


def _changed(
    models: Mapping[str, Callable[[Sample], Scores]], sample: Sample, results: Mapping[str, ModelResult]
) -> object:
    spread = np.ones(FEATURES)
    return [measure_robustness(m, sample, results[n], spread, Robustness(), seed=1) for n, m in models.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    figures: list[Figure] = []
    for k in (2, 4):
        for figure in evaluated(options.events, k):
            figures.append(figure)
            print(_line(figure), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    figures.append(Figure("peak memory of the process, GB", peak, GIGABYTES))
    print(_line(figures[-1]))
    if options.json:
        options.json.write_text(json.dumps([f._asdict() | {"holds": f.holds} for f in figures], indent=1) + "\n")


def _line(figure: Figure) -> str:
    asked = "" if figure.bar is None else f"  at most {figure.bar:g}: {'yes' if figure.holds else 'NO'}"
    return f"{figure.name:50} {figure.value:10.3g}{asked}"


if __name__ == "__main__":
    main()
