"""Figures of efficiency against misidentification: ROC curves of all models, and of all pairs of classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import ModelResult, Results, Roc, WorkingPoint
from pidlab.plots.canvas.style import model_styles, pair_styles
from pidlab.plots.roc import roc, roc_pairs, roc_ratio
from pidlab.plots.sheets.sheet import Sheet, label_bottom, objects_of, one_panel, root_key, stack
from pidlab.plots.sheets.table import FigureTable, bounded, table_of

_MOST_POINTS = 200


def rocs(results: Results) -> Iterator[Sheet]:
    """Yields one ROC figure of all models for two classes; for more, one against the rest and one against each."""
    against = list(dict.fromkeys(name for model in results.models.values() for name in model.roc))
    main = "rest" if "rest" in against else next(iter(against), "")
    models = list(results.models.values())
    for other in against:
        reference = _reference(models, other, results.reference)
        suffix = "" if other == main else f"_{root_key(other)}"
        yield Sheet(
            name="roc" if other == main else f"roc_{other}",
            title=f"ROC: {results.signal} against {other}",
            alt=(
                f"ROC curves: rejection of {other} over the efficiency of {results.signal} with 68.3 % bands, for "
                f"{', '.join(results.models)}; below it the ratio to {reference.name}{_mixed(reference)}."
                f"{_optimal(models, other)}"
            ),
            draw=partial(_roc, models, other, reference),
            numbers=partial(_roc_table, models, other),
            section="first" if other == main else "points",
            objects=(f"*/rejection{suffix}", f"*/roc{suffix}"),
            quick=other == main,
            kind="roc",
            about={"against": other},
            models=tuple(results.models),
            has_reference=True,
        )


def _reference(models: Sequence[ModelResult], against: str, chosen: str) -> ModelResult:
    """Returns the model that the others are divided by.

    It is the chosen one, else a user's own cuts, else optimised cuts, else the first model with a curve. A fixed cut
    can be one only if some candidate of `against` passes it. If there is nothing to divide, it is any of the models.
    """
    able = [m for m in models if against in m.roc or (m.fixed_cut and _lets_some_pass(m, against))]
    order = {"expression": 1, "cuts": 2}
    ranked = sorted(able, key=lambda m: (m.name != chosen, order.get(m.kind, 3)))
    return (ranked or list(models))[0]


def _lets_some_pass(model: ModelResult, against: str) -> bool:
    return any(p.misid[against].value > 0 for p in model.working_points if against in p.misid)


def _mixed(reference: ModelResult) -> str:
    if not reference.fixed_cut:
        return ""
    return ", whose one decision is mixed at random with passing all or none to reach the other efficiencies"


def _optimal(models: Sequence[ModelResult], against: str) -> str:
    """Returns a sentence on the points that are marked on the curves."""
    points = [f"{m.name} {_said(m.optimal_points[against])}" for m in models if against in m.optimal_points]
    if not points:
        return ""
    return f" Marked are the points nearest to (0, 1) and Youden's, with thresholds of validation: {'; '.join(points)}."


def _said(points: Sequence[WorkingPoint]) -> str:
    return " and ".join(f"{100 * point.efficiency.value:.3g} %" for point in points)


def _roc(models: Sequence[ModelResult], against: str, reference: ModelResult) -> Figure:
    styles = model_styles(models)
    if not any(against in m.roc for m in models):
        return one_panel(partial(roc, models, against, styles=styles), 6.8, 6.4)
    figure, axes = stack(2, 6.8, 6.4, gap=0.06, ratios=(3, 1.2))
    roc(models, against, axes[0], styles=styles)
    roc_ratio(models, against, axes[1], reference=reference, styles=styles)
    label_bottom(axes)
    axes[1].set_xlim(*_efficiency_range(models, against))
    return figure


def _efficiency_range(models: Sequence[ModelResult], against: str) -> tuple[float, float]:
    """Returns the limits of the efficiency axis: 0 and 1, unless there is nothing below 0.5.

    Curves begin where the first candidate of `against` passes. A cut that all signal passes stands at 1 with its whole
    symbol.
    """
    fixed = [p.efficiency.value for m in models if m.fixed_cut for p in m.working_points if against in p.misid]
    curves = [m.roc[against] for m in models if against in m.roc]
    starts = [float(c.efficiency[c.misid > 0].min()) for c in curves if np.any(c.misid > 0)]
    first = min([*starts, *fixed], default=0.0)
    left = first - 0.1 * (1 - first) if first > 0.5 else 0.0
    return left, (1.0 + 0.02 * (1 - left) if max(fixed, default=0.0) > 0.98 else 1.0)


def _roc_table(models: Sequence[ModelResult], against: str) -> FigureTable:
    """Returns at most 200 points of each curve, and the one point of each fixed cut."""
    rows: list[tuple[Any, ...]] = []
    for model in models:
        if model.fixed_cut:
            points = [p for p in model.working_points if against in p.misid]
            rows += [(model.name, p.threshold, *p.efficiency[:3], *p.misid[against][:3]) for p in points]
        elif against in model.roc:
            rows += [(model.name, *point) for point in _curve_points(model.roc[against])]
    return table_of(("model", "threshold", *bounded("efficiency", "misid")), rows)


def _curve_points(curve: Roc) -> Iterable[tuple[Any, ...]]:
    """Returns at most 200 points of a curve: threshold, then efficiency and misidentification with their bounds."""
    columns = (
        curve.threshold, curve.efficiency, curve.efficiency_low, curve.efficiency_high,
        curve.misid, curve.misid_low, curve.misid_high,
    )  # fmt: skip
    n = len(curve.threshold)
    chosen = np.unique(np.linspace(0, max(n - 1, 0), min(n, _MOST_POINTS)).astype(int))
    return zip(*(column[chosen] for column in columns), strict=True)


def class_pairs(results: Results) -> Iterator[Sheet]:
    """Yields the curves of all pairs of more than two classes, a figure for each model."""
    for model in results.models.values():
        if model.roc_pairs:
            styles = pair_styles(sum(len(others) for others in model.roc_pairs.values()))
            yield Sheet(
                name=f"roc_pairs_{model.name}",
                title=f"Pairs of classes by {model.name}",
                alt=(
                    f"ROC curves of each pair of classes alone by {model.name} on test, with 68.3 % bands: rejection "
                    "of the second class over the efficiency of the first, by the first's share of the two scores."
                ),
                draw=partial(one_panel, partial(roc_pairs, model, styles=styles), 6.8, 5.2),
                numbers=partial(_pairs_table, model),
                section="pairs",
                objects=objects_of(model.name, "roc_*", "rejection_*"),
                kind="class_pairs",
                about={"model": model.name},
            )


def _pairs_table(model: ModelResult) -> FigureTable:
    """Returns at most 200 points of the curve of each pair."""
    rows = [
        (one, other, *point)
        for one, others in model.roc_pairs.items()
        for other, curve in others.items()
        for point in _curve_points(curve)
    ]
    return table_of(("class", "against", "threshold", *bounded("efficiency", "misid")), rows)
