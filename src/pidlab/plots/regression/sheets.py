"""The figures of a regression, each with its table, its words and its place in the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import (
    Measured,
    RegressionComparison,
    RegressionModel,
    RegressionResults,
    ResidualTrend,
    TargetProfile,
)
from pidlab.plots.canvas.style import legend, model_styles, new_figure
from pidlab.plots.inputs import feature
from pidlab.plots.matrices import correlation
from pidlab.plots.regression.residuals import (
    core_reach,
    differences,
    metric_rows,
    prediction_plane,
    pulls,
    quantile_coverage,
    residuals,
    train_and_test,
    trend,
)
from pidlab.plots.regression.targets import STYLE, target_histogram, target_profile
from pidlab.plots.sheets.exploration import swarms
from pidlab.plots.sheets.importance import dependences, residual_importances
from pidlab.plots.sheets.inputs import cut_flows, matrix_side, sheets_of_features
from pidlab.plots.sheets.models import learning
from pidlab.plots.sheets.sheet import Sheet, grid, label_bottom, objects_of, one_panel, root_key, stack
from pidlab.plots.sheets.table import FigureTable, bounded, histogram_table, matrix_table, table_of
from pidlab.plots.sheets.weights import weights

_METRICS = ("bias", "rms", "sigma68", "effective", "mae")
_COMPARED = {"rms": "RMS", "mae": "mean |residual|", "sigma68": "σ68", "log_likelihood": "log-likelihood"}
_EVENTS = "events"  # a regression has one class
_SIZE = (6.4, 4.2)  # inches, of a distribution


def _inputs(results: RegressionResults) -> Iterator[Sheet]:
    return sheets_of_features(
        {name: {_EVENTS: histogram} for name, histogram in results.inputs.items()},
        partial(feature, styles={_EVENTS: STYLE}, labels=results.labels),
        kind="inputs",
        title="Inputs",
        alt=lambda names: f"Histograms of {names} in the test sample with unit area on a log axis.",
        numbers=partial(histogram_table, first="feature"),
        objects=lambda name, _: [name],
    )


def _targets(results: RegressionResults) -> Iterator[Sheet]:
    draw = partial(target_histogram, results.target, results.targets, labels=results.labels)
    yield Sheet(
        name="target",
        title="Target",
        alt=f"Distribution of {results.target} in {', '.join(results.targets)} with unit area.",
        draw=partial(one_panel, draw, *_SIZE),
        numbers=partial(histogram_table, {results.target: results.targets}, "target"),
        section="inputs",
        objects=("inputs/target", "inputs/target_*"),
        kind="target",
    )


def _profiles(results: RegressionResults) -> Iterator[Sheet]:
    sheets = sheets_of_features(
        results.profiles,
        partial(target_profile, target=results.target, labels=results.labels),
        kind="profiles",
        title="",
        alt=lambda names: (
            f"Mean of {results.target} on test with 68.3 % intervals in bins of {names}, and a band of its standard "
            "deviation."
        ),
        numbers=_profile_table,
        objects=lambda name, _: [f"profile_{name}"],
    )
    return (sheet._replace(title="Target against the inputs") for sheet in sheets)


def _profile_table(some: Mapping[str, TargetProfile]) -> FigureTable:
    rows = [
        (name, *row)
        for name, p in some.items()
        for row in zip(p.edges[:-1], p.edges[1:], p.mean, p.low, p.high, p.spread, p.n, strict=True)
    ]
    return table_of(("feature", "from", "to", *bounded("mean"), "standard deviation", "n"), rows)


def _correlations(results: RegressionResults) -> Iterator[Sheet]:
    names = (*results.features, results.target)
    side = matrix_side(len(names))
    yield Sheet(
        name="correlation",
        title="Correlation of the inputs and the target (%)",
        alt=f"Matrix of the linear correlation, in per cent, of {len(results.features)} features and {results.target}.",
        draw=partial(one_panel, partial(correlation, results.correlation, names, labels=results.labels), side, side),
        numbers=partial(matrix_table, results.correlation, names, "feature"),
        section="inputs",
        objects=("inputs/correlation",),
        kind="correlation",
    )


def _residuals(results: RegressionResults) -> Iterator[Sheet]:
    yield Sheet(
        name="residuals",
        title="Residuals",
        alt=(
            f"Distribution of prediction − target on test of {', '.join(results.models)} with unit area: the core on a "
            "linear axis, and all of it on a log axis."
        ),
        draw=partial(_draw_residuals, results),
        numbers=partial(
            histogram_table, {n: {"test": m.residuals["test"]} for n, m in results.models.items()}, "model"
        ),
        section="first",
        objects=tuple(pattern for name in results.models for pattern in objects_of(name, "residual")),
        quick=True,
        kind="residuals",
        models=tuple(results.models),
    )


def _draw_residuals(results: RegressionResults) -> Figure:
    models, styles = list(results.models.values()), model_styles(results.models.values())
    figure, axes = grid(2, 2, 4.6, 3.9, column_gap=0.9)
    entries = residuals(models, axes[0], styles=styles, log=False, reach=core_reach(models))
    residuals(models, axes[1], styles=styles, log=True)
    axes[1].set_ylabel("")
    legend(axes[0], entries)
    return figure


def _train_and_test(results: RegressionResults) -> Iterator[Sheet]:
    styles = model_styles(results.models.values())
    for name, model in results.models.items():
        if "train" in model.residuals and model.overtraining is not None:
            yield Sheet(
                name=f"residuals_{name}",
                title=f"Residuals of {name}, train and test",
                alt=f"Distribution of prediction − target of {name}: test filled, train as points, log axis.",
                draw=partial(one_panel, partial(train_and_test, model, style=styles[name]), *_SIZE),
                numbers=partial(histogram_table, {name: model.residuals}, "model"),
                section="overtraining",
                objects=objects_of(name, "residual", "residual_*"),
                kind="train_and_test",
                about={"model": name},
            )


def _planes(results: RegressionResults) -> Iterator[Sheet]:
    styles = model_styles(results.models.values())
    for name, model in results.models.items():
        draw = partial(prediction_plane, model, results.target, style=styles[name], labels=results.labels)
        yield Sheet(
            name=f"prediction_{name}",
            title=f"Prediction of {name} against the target",
            alt=(
                f"Density of the prediction of {name} over {results.target} on test in shades of a logarithm, the mean "
                "prediction with errors, and the line on which both are equal."
            ),
            draw=partial(one_panel, draw, 5.2, 4.8),
            numbers=partial(_plane_table, model),
            section="predictions",
            objects=objects_of(name, "prediction_against_target", "prediction_profile"),
            quick=True,
            kind="prediction",
            about={"model": name},
        )


def _plane_table(model: RegressionModel) -> FigureTable:
    edges, plane = model.plane.edges, model.plane.plane
    columns = (edges[:-1], edges[1:], plane.mean, plane.error, plane.sumw.sum(axis=1))
    return table_of(
        ("target from", "to", "mean prediction", "error", "sum of weights"), list(zip(*columns, strict=True))
    )


def _trends(results: RegressionResults) -> Iterator[Sheet]:
    axes = dict.fromkeys(one.x for model in results.models.values() for one in model.trends)
    for x in axes:
        by_model = {n: t for n, m in results.models.items() for t in m.trends if t.x == x}
        yield Sheet(
            name=f"resolution_{x}",
            title=f"Bias and resolution against {x}",
            alt=(
                f"Bias and σ68 of the residuals of {', '.join(by_model)} on test in bins of {x}, with 68.3 % intervals."
            ),
            draw=partial(_draw_trends, by_model, results),
            numbers=partial(_trend_table, by_model),
            section="resolution",
            objects=tuple(
                pattern
                for name in by_model
                for pattern in objects_of(name, f"sigma68_against_{root_key(x)}", f"bias_against_{root_key(x)}")
            ),
            kind="resolution",
            about={"against": x},
            models=tuple(by_model),
        )


def _draw_trends(by_model: Mapping[str, ResidualTrend], results: RegressionResults) -> Figure:
    styles = model_styles(results.models.values())
    some = {name: one for name, one in by_model.items() if name in results.models}
    figure, axes = stack(2, 6.4, 5.6, gap=0.08)
    entries = trend(some, "bias", axes[0], styles=styles, labels=results.labels)
    trend(some, "sigma68", axes[1], styles=styles, labels=results.labels)
    legend(axes[0], entries)
    label_bottom(axes)
    return figure


def _trend_table(by_model: Mapping[str, ResidualTrend]) -> FigureTable:
    rows = []
    for name, t in by_model.items():
        columns = (t.bias, t.bias_low, t.bias_high, t.sigma68, t.sigma68_low, t.sigma68_high, t.n)
        rows += [(name, *row) for row in zip(t.edges[:-1], t.edges[1:], *columns, strict=True)]
    x = next(iter(by_model.values())).x
    return table_of(("model", f"{x} from", f"{x} to", *bounded("bias", "σ68"), "n"), rows)


def _pulls(results: RegressionResults) -> Iterator[Sheet]:
    some = {name: model for name, model in results.models.items() if model.pulls is not None}
    if some:
        yield Sheet(
            name="pulls",
            title="Pulls",
            alt=(
                f"Distribution of (prediction − target) / predicted σ on test of {', '.join(some)} with unit area, on "
                "a linear and a log axis, and a unit Gaussian."
            ),
            draw=partial(_draw_pulls, results),
            numbers=partial(
                histogram_table, {n: {"test": m.pulls} for n, m in some.items() if m.pulls is not None}, "model"
            ),
            section="widths",
            objects=tuple(pattern for name in some for pattern in objects_of(name, "pulls")),
            kind="pulls",
            models=tuple(some),
        )


def _draw_pulls(results: RegressionResults) -> Figure:
    models, styles = list(results.models.values()), model_styles(results.models.values())
    figure, axes = grid(2, 2, 4.6, 3.9, column_gap=0.9)
    for ax, log in zip(axes, (False, True), strict=True):
        pulls(models, ax, styles=styles, log=log)
    axes[1].set_ylabel("")
    return figure


def _quantiles(results: RegressionResults) -> Iterator[Sheet]:
    some = {name: model for name, model in results.models.items() if model.test.quantiles}
    draw = partial(quantile_coverage, list(results.models.values()), styles=model_styles(results.models.values()))
    if some:
        yield Sheet(
            name="quantiles",
            title="Coverage of the predicted quantiles",
            alt=(
                f"Share of the targets of test below each quantile predicted by {', '.join(some)}, minus the "
                "probability of the quantile, with 68.3 % intervals."
            ),
            draw=partial(one_panel, draw, 5.4, 3.6),
            numbers=partial(_quantile_table, some),
            section="widths",
            objects=tuple(pattern for name in some for pattern in objects_of(name, "quantile_coverage")),
            kind="quantiles",
            models=tuple(some),
        )


def _quantile_table(some: Mapping[str, RegressionModel]) -> FigureTable:
    rows = [(name, q.probability, *q.share) for name, model in some.items() for q in model.test.quantiles]
    return table_of(("model", "probability", "share below", "low", "high", "n"), rows)


def _metrics(results: RegressionResults) -> Iterator[Sheet]:
    yield Sheet(
        name="metrics",
        title="Models side by side",
        alt=f"Bias, RMS, σ68, effective resolution and mean absolute residual of {', '.join(results.models)} on test "
        "with 68.3 % intervals.",
        draw=partial(_draw_metrics, results),
        numbers=partial(_metric_table, results.models),
        section="comparisons",
        objects=("compare/metrics_*",),
        kind="metrics",
        models=tuple(results.models),
    )


def _draw_metrics(results: RegressionResults) -> Figure:
    models, styles = list(results.models.values()), model_styles(results.models.values())
    figure = new_figure(2.5 * len(_METRICS), 1.1 + 0.42 * len(models))
    axes = figure.subplots(1, len(_METRICS), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.16})[0]
    for quantity, ax in zip(_METRICS, axes, strict=True):
        metric_rows(models, quantity, ax, styles=styles)
    return figure


def _metric_table(models: Mapping[str, RegressionModel]) -> FigureTable:
    rows = [(name, quantity, *getattr(model.test, quantity)) for name, model in models.items() for quantity in _METRICS]
    return table_of(("model", "quantity", *Measured._fields), rows)


def _comparisons(results: RegressionResults) -> Iterator[Sheet]:
    if results.comparisons:
        quantities = dict.fromkeys(q.name for pair in results.comparisons for q in pair.quantities)
        yield Sheet(
            name="compare",
            title="Models compared",
            alt=(
                f"Paired differences of {', '.join(_COMPARED[q] for q in quantities)} between models on the same "
                "candidates of test with 68.3 % intervals; the zero line means no difference."
            ),
            draw=partial(_draw_comparisons, results.comparisons),
            numbers=partial(_comparison_table, results.comparisons),
            section="comparisons",
            objects=("compare/delta_rms", "compare/delta_*"),
            kind="comparison",
            models=tuple(results.models),
            has_reference=True,
        )


def _draw_comparisons(pairs: Sequence[RegressionComparison]) -> Figure:
    quantities = list(dict.fromkeys(q.name for pair in pairs for q in pair.quantities))
    figure = new_figure(2.6 * len(quantities), 1.3 + 0.36 * len(pairs))
    axes = figure.subplots(1, len(quantities), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.14})[0]
    names = [(pair.a, pair.b) for pair in pairs]
    for quantity, ax in zip(quantities, axes, strict=True):
        found = [pair.quantity(quantity) for pair in pairs]
        numbers = [Measured(np.nan, np.nan, np.nan, 0.0) if q is None else q.difference for q in found]
        differences(names, numbers, _COMPARED[quantity], ax)
    return figure


def _comparison_table(pairs: Sequence[RegressionComparison]) -> FigureTable:
    rows = [
        (pair.b, pair.a, _COMPARED[q.name], *q.difference, q.p, q.p_adjusted) for pair in pairs for q in pair.quantities
    ]
    return table_of(("b", "a", "difference b − a of", *Measured._fields, "p", "p after Holm"), rows)


SHEETS: tuple[Callable[[RegressionResults], Iterator[Sheet]], ...] = (
    _inputs, _targets, _profiles, _correlations, weights, learning, _residuals, _planes, _trends, _pulls, _quantiles,
    _metrics, _comparisons, _train_and_test, cut_flows, residual_importances, swarms, dependences,
)  # fmt: skip
"""What makes the figures of a regression, in the order in which they are drawn."""
