"""Figures of each model by itself: its training, its response, and what it decides for each true class."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import AnyResults, DecisionMatrix, Results, Training
from pidlab.plots.canvas.style import Draw, class_styles, shown
from pidlab.plots.matrices import confusion, decisions
from pidlab.plots.response import response
from pidlab.plots.sheets.sheet import Sheet, objects_of, one_panel, panels
from pidlab.plots.sheets.table import FigureTable, histogram_table, matrix_table, table_of
from pidlab.plots.training import learning_curve, quantities


def learning(results: AnyResults) -> Iterator[Sheet]:
    """Yields the learning curves of the models that keep a history."""
    for model in results.models.values():
        if model.training is not None and quantities(model.training):
            some = [(name,) for name in quantities(model.training)]
            what = ", ".join(name.replace("_", " ") for (name,) in some)
            draw = partial(learning_curve, model.training)
            yield Sheet(
                name=f"learning_{model.name}",
                title=f"Learning curves of {model.name}",
                alt=f"Curves of {what} against epoch for {model.name}, {model.training.epochs} epochs.",
                draw=partial(panels, some, draw, 2, 4.8, 3.4, same_y=False, column_gap=1.1),
                numbers=partial(_learning_table, model.training),
                section="learning",
                objects=objects_of(model.name, "history_validation_auc", "history_*"),
                kind="training",
                about={"model": model.name},
            )


def _learning_table(training: Training) -> FigureTable:
    """Returns the history of training, a row for each epoch or round."""
    history = training.history
    n = max(map(len, history.values()), default=0)
    rows = [(i + 1, *(v[i] if i < len(v) else math.nan for v in history.values())) for i in range(n)]
    return table_of(("epoch or round", *history), rows)


def responses(results: Results) -> Iterator[Sheet]:
    """Yields the response of each model by class, train and test."""
    styles = class_styles(results.classes, results.signal)
    for model in results.models.values():
        if any(model.response.values()) and not model.fixed_cut:
            draw = partial(response, model, signal=results.signal, styles=styles)
            yield Sheet(
                name=f"response_{model.name}",
                title=f"Response of {model.name}",
                alt=(
                    f"Score of {model.name} for {results.signal} by class ({', '.join(results.classes)}): test filled, "
                    "train as points with errors, thresholds of the working points as dashed lines, log axis."
                ),
                draw=partial(one_panel, draw, 6.4, 4.4),
                numbers=partial(histogram_table, model.response, "sample"),
                section="response",
                objects=objects_of(model.name, "score_*"),
                quick=True,
                kind="response",
                about={"model": model.name},
            )


def confusions(results: Results) -> Iterator[Sheet]:
    """Yields the confusion matrix on the test sample of each model that has no matrix with intervals."""
    for model in results.models.values():
        metrics = model.samples.get("test")
        if metrics is not None and metrics.confusion.size and model.matrix is None:
            yield Sheet(
                name=f"confusion_{model.name}",
                title=f"Confusion matrix of {model.name}",
                alt=(
                    f"Confusion matrix of {model.name} on test: share of each true class by decision, with sums of "
                    "weights."
                ),
                draw=_by_class(metrics.classes, partial(confusion, metrics), 1.15, shown(model.name)),
                numbers=partial(matrix_table, metrics.confusion, metrics.classes, "true class / decided"),
                section="response",
                objects=objects_of(model.name, "confusion"),
                kind="matrix",
                about={"model": model.name},
            )


def matrices(results: Results) -> Iterator[Sheet]:
    """Yields the share of each true class that is decided to be each class, a figure for each model."""
    for model in results.models.values():
        if model.matrix is not None and np.isfinite(model.matrix.rate).any():
            yield Sheet(
                name=f"matrix_{model.name}",
                title=f"Decided against true class by {model.name}",
                alt=f"Share of each true class by decision of {model.name} on test, in per cent with 68.3 % intervals.",
                draw=_by_class(model.matrix.classes, partial(decisions, model.matrix), 1.2, f"{shown(model.name)} (%)"),
                numbers=partial(_decision_table, model.matrix),
                section="response",
                objects=objects_of(model.name, "matrix"),
                kind="matrix",
                about={"model": model.name},
            )


def _by_class(classes: Sequence[str], draw: Callable[[Axes], object], width: float, title: str) -> Draw:
    """Returns what makes a figure of true against decided class, in which each class takes `width` inches."""
    side = 1.5 + width * len(classes)
    return partial(one_panel, draw, side, side, title)


def _decision_table(matrix: DecisionMatrix) -> FigureTable:
    """Returns the cells of a matrix, a row for each pair of true and decided class."""
    names = matrix.classes
    rows = [
        (names[i], names[j], matrix.rate[i, j], matrix.low[i, j], matrix.high[i, j], float(matrix.n[i]))
        for i, j in product(range(len(names)), repeat=2)
    ]
    return table_of(("true", "decided", "share", "low", "high", "n"), rows)
