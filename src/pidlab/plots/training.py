"""The course of training: loss and other quantities by epoch or boosting round."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pidlab.evaluate.results import Training
from pidlab.plots.style import label_axes, legend, shown

_SAMPLES = {"train_": "train", "validation_": "validation"}
_COLOURS = {"train": "#0072b2", "validation": "#d55e00"}


def quantities(training: Training) -> dict[str, dict[str, str]]:
    """Returns the keys of the history by quantity and sample; "validation_loss" is the loss on validation."""
    found: dict[str, dict[str, str]] = {}
    for key, values in training.history.items():
        if values:
            prefix = next((p for p in _SAMPLES if key.startswith(p)), "")
            sample = _SAMPLES.get(prefix, "train")
            found.setdefault(key.removeprefix(prefix), {})[sample] = key
    return found


def learning_curve(training: Training, quantity: str, ax: Axes) -> Axes:
    """Draw `quantity`, one of `quantities`, against epoch or round for train and validation."""
    entries: list[tuple[Any, str]] = []
    for sample, key in quantities(training)[quantity].items():
        values = training.history[key]
        line = "-" if sample == "train" else "--"
        marker = "." if len(values) <= 40 else ""
        look: dict[str, Any] = {"color": _COLOURS[sample], "linestyle": line, "marker": marker, "label": sample}
        (drawn,) = ax.plot(range(1, len(values) + 1), values, **look)
        entries.append((drawn, sample))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(ax, entries)
    label_axes(ax, "epoch or round", {"auc": "AUC"}.get(quantity, shown(quantity.replace("_", " "))))
    return ax
