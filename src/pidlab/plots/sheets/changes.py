"""Figures of differences: between models on the same events, and of a model on a changed sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import Comparison, Results, RobustnessPoint
from pidlab.measured import UNDEFINED, Measured
from pidlab.plots.comparison import delta_auc, delta_misid
from pidlab.plots.robustness import dropped, robustness
from pidlab.plots.sheets import tables
from pidlab.plots.sheets.sheet import Sheet, grid, label_left
from pidlab.plots.style import legend, model_looks, new_figure, samples_of, shown

WORST_FEATURES = 5
MOST_ROWS = 25


def comparisons(results: Results) -> Iterator[Sheet]:
    """The differences of all pairs: AUC and, for each other class, misidentification at each working point."""
    others = dict.fromkeys(p.particle for pair in results.comparisons for p in pair.working_points)
    for i, particle in enumerate(others or ([""] if results.comparisons else [])):
        alt = (
            "Differences between models on the same test events with 68.3 % intervals: AUC"
            + (f", and misidentification of {particle} at each working point" if particle else "")
            + "; the zero line means no difference."
        )
        name = f"compare_{particle}" if i else "compare"
        title = f"Models compared: {particle}" if particle else "Models compared"
        draw = partial(_comparison, results.ordinary_comparisons, particle)
        yield Sheet(name, title, alt, draw, partial(tables.comparisons, results.comparisons, particle))


def _comparison(comparisons: Sequence[Comparison], particle: str) -> Figure:
    points = [p for pair in comparisons for p in pair.working_points if p.particle == particle]
    names = list(dict.fromkeys(p.name for p in points))
    figure = new_figure(2.6 * (1 + len(names)), 1.3 + 0.36 * len(comparisons))
    axes = figure.subplots(1, 1 + len(names), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.14})[0]
    delta_auc(comparisons, axes[0])
    for name, ax in zip(names, axes[1:], strict=True):
        delta_misid(comparisons, name, particle, ax)
    return figure


def changes(results: Results) -> Iterator[Sheet]:
    """AUC against the size of each kind of change: all features at once and the most sensitive ones."""
    points = [p for changed in results.robustness.values() for p in changed.points if np.isfinite(p.auc.value)]
    for change in dict.fromkeys(p.change for p in points if p.change != "drop"):
        features = _most_sensitive([p for p in points if p.change == change], WORST_FEATURES)
        alt = (
            f"AUC of {', '.join(results.robustness)} on test against the size of the change '{change}' "
            f"of {', '.join(features)}."
        )
        draw = partial(_changes, results, change, features)
        numbers = partial(tables.changes, results.robustness, change)
        yield Sheet(f"robustness_{change}", f"Robustness: {change}", alt, draw, numbers)
    if any(p.change == "drop" for p in points):
        alt = f"Bars from the AUC with all features to the AUC without one, for {', '.join(results.robustness)}."
        numbers = partial(tables.changes, results.robustness, "drop")
        yield Sheet("robustness_drop", "Robustness: without one feature", alt, partial(_drops, results), numbers)


def _most_sensitive(points: Sequence[RobustnessPoint], most: int) -> list[str]:
    """All features at once ("all") where that was tried, then those whose worst AUC over all models is lowest."""
    worst: dict[str, float] = {}
    for point in points:
        worst[point.feature] = float(np.fmin(worst.get(point.feature, np.inf), point.auc.value))
    ranked = sorted((f for f in worst if f != "all"), key=lambda f: worst[f])
    return ["all"] * ("all" in worst) + ranked[:most]


def _unchanged(results: Results, model: str) -> Measured:
    """AUC on the candidates that were changed, before the change."""
    nominal = results.robustness[model].nominal
    return results.models[model].samples["test"].auc if nominal is None else nominal.auc


def _changes(results: Results, change: str, features: Sequence[str]) -> Figure:
    figure, axes = grid(len(features), 3, 3.6, 3.0, sharey=True, gap=1.05)
    looks = model_looks(list(results.models))
    unchanged = {name: _unchanged(results, name) for name in results.robustness}
    for feature_name, ax in zip(features, axes, strict=True):
        robustness(
            results.robustness, change, feature_name, ax, looks=looks, unchanged=unchanged, labels=results.labels
        )
    drawn = [name for name in results.robustness if np.isfinite(unchanged[name].value)]
    legend(axes[0], samples_of(looks, drawn, marker=True), above=1.1)
    label_left(axes, 3)
    return figure


def _drops(results: Results) -> Figure:
    by_model = {
        name: {p.feature: p for p in changed.points if p.change == "drop"}
        for name, changed in results.robustness.items()
    }
    by_model = {
        name: points for name, points in by_model.items() if any(np.isfinite(p.auc.value) for p in points.values())
    }
    features = _most_sensitive([p for points in by_model.values() for p in points.values()], MOST_ROWS)
    figure, axes = grid(len(by_model), 5, 2.6, 1.2 + 0.28 * len(features), sharex=True, sharey=True)
    looks = model_looks(list(results.models))
    for (model, points), ax in zip(by_model.items(), axes, strict=True):
        rows = {name: points[name].auc if name in points else UNDEFINED for name in features}
        dropped(rows, _unchanged(results, model), ax, look=looks[model], labels=results.labels)
        ax.set_title(shown(model, 24), fontsize=11, parse_math=False)
    return figure
