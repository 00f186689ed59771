"""Data against simulation: two samples of the same features, and a score that was to tell them apart."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.histograms import histogram, input_histograms
from pidlab.evaluate.overtraining import class_p, ks_distance, share_events
from pidlab.evaluate.ranking import Score, auc, auc_influence, difference, event_groups, signal_score
from pidlab.evaluate.results.domain import FeatureShift, Shift
from pidlab.measured import UNDEFINED, Measured
from pidlab.sample import IntArray, Sample

_NAMED = 3
_CERTAIN = 2.0


def measure_shift(score: Callable[[Sample], NDArray[np.floating[Any]]], sample: Sample, *, seed: int) -> Shift:
    """How well `score` tells the second class of `sample` (the signal) from the first, and by which features.

    A feature's loss is the AUC less that after its values are shuffled among all candidates (Breiman, Machine Learning
    45 (2001) 5), with the interval of the paired difference.

    Args:
        score: gives (n, 2) scores of the sample, or of one with other features, by models that did not see the event.
        sample: candidates of "run" and "files", weights of any sign.
        seed: of shuffles and permutations.
    """
    own, groups = signal_score(score(sample), sample), event_groups(sample)
    area = auc(own, sample.is_signal, sample.weight, groups)
    shifts = []
    for j, name in enumerate(sample.features):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        x = sample.x.copy()
        x[:, j] = rng.permutation(x[:, j])
        shuffled = signal_score(score(sample.with_x(x)), sample)
        shifts.append(_feature_shift(j, sample, _loss(own, shuffled, sample, groups), groups, seed))
    shifts.sort(key=lambda shift: -shift.loss.value)
    counts = np.bincount(sample.y, minlength=2)
    n = {name: int(counts[i]) for i, name in enumerate(sample.classes)}
    edges = np.linspace(0.0, 1.0, 51)
    rows = [sample.y == i for i in range(2)]
    response = {c: histogram(own[r], sample.weight[r], edges) for c, r in zip(sample.classes, rows, strict=True)}
    return Shift(n, area, tuple(shifts), response, input_histograms(sample), sentence(area, n, tuple(shifts)))


def _loss(own: Score, shuffled: Score, sample: Sample, groups: IntArray | None) -> Measured:
    before, after = (auc_influence(s, sample.is_signal, sample.weight) for s in (own, shuffled))
    return UNDEFINED if before is None or after is None else difference(after, before, groups)


def _feature_shift(j: int, sample: Sample, loss: Measured, groups: IntArray | None, seed: int) -> FeatureShift:
    x, w = sample.x[:, j].astype(np.float32), sample.weight
    alone = auc(x, sample.is_signal, w, groups)
    parts = [sample.take(sample.y == i) for i in range(2)]
    parts = [replace(part, y=np.zeros_like(part.y)) for part in parts]
    first, second = ((part.x[:, j], part, event_groups(part)) for part in parts)
    p = class_p(first, second, 0, seed, paired=share_events(first[1], second[1]))
    distance = ks_distance(first[0], second[0], first[1].weight, second[1].weight)
    missing = [float(part.weight[np.isnan(part.x[:, j])].sum() / part.weight.sum()) for part in parts]
    return FeatureShift(sample.features[j], loss, alone, distance, p, (missing[0], missing[1]))


def sentence(area: Measured, n: dict[str, int], shifts: tuple[FeatureShift, ...]) -> str:
    """What the AUC means for somebody who wants to use the models on these files."""
    error = max(area.value - area.low, area.high - area.value)
    what = f"the {n['files']:,} rows of the files from the {n['run']:,} of the run"
    number = f"AUC {area.value:.4f} ± {error:.4f} (0.5: cannot tell)"
    if not area.value - 0.5 > _CERTAIN * error:
        return (
            f"A BDT cannot tell {what}: {number}. Nothing here speaks against using the efficiencies of the run for "
            "these files."
        )
    guilty = [s for s in shifts if s.loss.value > _CERTAIN * (s.loss.value - s.loss.low)][:_NAMED]
    by = ", ".join(f"{s.name} (shuffling it costs {s.loss.value:.3f})" for s in guilty) or "no single feature"
    return (
        f"A BDT tells {what}: {number}, by {by}. Efficiencies of the run need not hold for these files; the "
        "composition counts too: compare like with like, or state evaluate.abundance."
    )
