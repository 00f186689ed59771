"""Figures of differences: between models on the same events, and of a model on a changed sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import Comparison, Results, RobustnessPoint, RobustnessResult
from pidlab.measured import UNDEFINED, Measured
from pidlab.plots.canvas.style import Draw, legend, legend_lines, model_styles, new_figure, shown
from pidlab.plots.comparison import delta_auc, delta_misid
from pidlab.plots.robustness import dropped, robustness
from pidlab.plots.sheets.sheet import Sheet, grid, panels
from pidlab.plots.sheets.table import FigureTable, bounded, table_of

WORST_FEATURES = 5
MOST_ROWS = 25


def comparisons(results: Results) -> Iterator[Sheet]:
    """Yields the differences of all pairs: AUC and, for each other class, misidentification at each working point."""
    others = dict.fromkeys(p.particle for pair in results.comparisons for p in pair.working_points)
    for i, particle in enumerate(others or ([""] if results.comparisons else [])):
        yield Sheet(
            name=f"compare_{particle}" if i else "compare",
            title=f"Models compared, misidentification of {particle}" if particle else "Models compared",
            alt=(
                "Differences between models on the same test events with 68.3 % intervals: AUC"
                + (f", and misidentification of {particle} at each working point" if particle else "")
                + "; the zero line means no difference."
            ),
            draw=partial(_comparison, results.ordinary_comparisons, particle),
            numbers=partial(_comparison_table, results.comparisons, particle),
            section="points",
            objects=("compare/pairs", "compare/delta_auc", "compare/*"),
            kind="comparison",
            about={"against": particle},
            models=tuple(results.models),
            has_reference=True,
        )


def _comparison(comparisons: Sequence[Comparison], particle: str) -> Figure:
    points = [p for pair in comparisons for p in pair.working_points if p.particle == particle]
    names = list(dict.fromkeys(p.name for p in points))
    figure = new_figure(2.6 * (1 + len(names)), 1.3 + 0.36 * len(comparisons))
    axes = figure.subplots(1, 1 + len(names), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.14})[0]
    delta_auc(comparisons, axes[0])
    for name, ax in zip(names, axes[1:], strict=True):
        delta_misid(comparisons, name, particle, ax)
    return figure


def _comparison_table(pairs: Sequence[Comparison], particle: str) -> FigureTable:
    """Returns the differences of all pairs."""
    rows: list[tuple[Any, ...]] = []
    for pair in pairs:
        rows.append((pair.b, pair.a, "AUC", *pair.delta_auc))
        some = [p for p in pair.working_points if p.particle == particle]
        rows += [(pair.b, pair.a, f"misid of {particle} at {p.name}", *p.delta_misid) for p in some]
    return table_of(("b", "a", "difference b − a of", *Measured._fields), rows)


def changes(results: Results) -> Iterator[Sheet]:
    """Yields AUC against the size of each kind of change, and AUC without each feature."""
    points = [p for changed in results.robustness.values() for p in changed.points if np.isfinite(p.auc.value)]
    kinds = [change for change in dict.fromkeys(p.change for p in points) if change != "drop"]
    models = ", ".join(results.robustness)
    for change in kinds:
        features = _most_sensitive([p for p in points if p.change == change], WORST_FEATURES)
        alt = f"AUC of {models} on test against the size of the change '{change}' of {', '.join(features)}."
        yield _change_sheet(results, change, f"Robustness: {change}", alt, partial(_changes, results, change, features))
    if any(p.change == "drop" for p in points):
        alt = f"Bars from the AUC with all features to the AUC without one, for {models}."
        yield _change_sheet(results, "drop", "Robustness: without one feature", alt, partial(_drops, results))


def _change_sheet(results: Results, change: str, title: str, alt: str, draw: Draw) -> Sheet:
    patterns = (f"auc_{change}_all", f"auc_{change}*", f"*_{change}*")
    return Sheet(
        name=f"robustness_{change}",
        title=title,
        alt=alt,
        draw=draw,
        numbers=partial(_change_table, results.robustness, change),
        section="robustness",
        objects=tuple(f"robustness/*/{pattern}" for pattern in patterns),
        kind="robustness",
        about={"change": change},
        models=tuple(results.robustness),
    )


def _change_table(by_model: Mapping[str, RobustnessResult], change: str) -> FigureTable:
    """Returns AUC after one kind of change, a row for each model, feature and size; unchanged for the feature none."""
    rows: list[tuple[Any, ...]] = []
    for model, changed in by_model.items():
        if changed.nominal is not None:
            rows.append((model, "none", 0.0, *changed.nominal.auc))
        rows += [(model, p.feature, p.size, *p.auc) for p in changed.points if p.change == change]
    return table_of(("model", "feature", "size", *bounded("AUC"), "n"), rows)


def _most_sensitive(points: Sequence[RobustnessPoint], most: int) -> list[str]:
    """Returns "all" (every feature at once) if it was tried, then the features of lowest worst AUC over all models."""
    worst: dict[str, float] = {}
    for point in points:
        worst[point.feature] = float(np.fmin(worst.get(point.feature, np.inf), point.auc.value))
    ranked = sorted((f for f in worst if f != "all"), key=lambda f: worst[f])
    return ["all"] * ("all" in worst) + ranked[:most]


def _unchanged(results: Results, model: str) -> Measured:
    """Returns the AUC before the change on the candidates that were changed."""
    nominal = results.robustness[model].nominal
    return results.models[model].samples["test"].auc if nominal is None else nominal.auc


def _changes(results: Results, change: str, features: Sequence[str]) -> Figure:
    styles = model_styles(results.models.values())
    unchanged = {name: _unchanged(results, name) for name in results.robustness}
    drawn = [name for name in results.robustness if np.isfinite(unchanged[name].value)]
    draw = partial(robustness, results.robustness, change, styles=styles, unchanged=unchanged, labels=results.labels)
    return panels(
        [(feature,) for feature in features], draw, 3, 3.6, 3.0, sharey=True, row_gap=1.05,
        heading=lambda ax: legend(ax, legend_lines(styles, drawn, marker=True), above=1.1),
    )  # fmt: skip


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
    styles = model_styles(results.models.values())
    for (model, points), ax in zip(by_model.items(), axes, strict=True):
        rows = {name: points[name].auc if name in points else UNDEFINED for name in features}
        dropped(rows, _unchanged(results, model), ax, style=styles[model], labels=results.labels)
        ax.set_title(shown(model, 24), fontsize=11, parse_math=False)
    return figure
