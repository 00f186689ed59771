"""The course of training: loss, norms of layers and other quantities by epoch or boosting round."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pidlab.evaluate.results import Training
from pidlab.plots.canvas.style import label_axes, legend, log_scale, point_styles, shown

_SAMPLES = {"train_": "train", "validation_": "validation"}
_COLOURS = {"train": "#0072b2", "validation": "#d55e00"}
_NORM = re.compile(r"((?:weight|gradient)_norm)_(.+)")
_NOT_DRAWN = {"learning_rate"}  # its course is that of the schedule, and the table has it


def quantities(training: Training) -> dict[str, dict[str, str]]:
    """Returns the keys of the history by quantity and line.

    A line is a sample, so that "validation_loss" is the loss on validation; or for "weight_norm" and "gradient_norm" it
    is a layer of a network: "layer 1", …, "output".
    """
    found: dict[str, dict[str, str]] = {}
    for key, values in training.history.items():
        if norm := _NORM.fullmatch(key):
            quantity, layer = norm.groups()
            found.setdefault(quantity, {})[layer if layer == "output" else f"layer {layer}"] = key
        elif values and key not in _NOT_DRAWN:
            prefix = next((p for p in _SAMPLES if key.startswith(p)), "")
            sample = _SAMPLES.get(prefix, "train")
            found.setdefault(key.removeprefix(prefix), {})[sample] = key
    return found


def _named(entries: Sequence[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Returns at most three entries, which fit above a panel: of more layers the first, the middle and the last.

    Colours run from dark to light with the layers, so that the others are known.
    """
    last = len(entries) - 1
    return [entries[i] for i in sorted({0, last // 2, last})] if last > 2 else list(entries)


def learning_curve(training: Training, quantity: str, ax: Axes) -> None:
    """Draws `quantity`, one of `quantities`, against epoch or round: for train and validation, or for each layer."""
    entries: list[tuple[Any, str]] = []
    lines = quantities(training)[quantity]
    layers = {name: style.colour for name, style in point_styles(list(lines)).items()}
    for name, key in lines.items():
        values = training.history[key]
        line = "--" if name in ("validation", "output") else "-"
        marker = "." if len(values) <= 40 else ""
        look: dict[str, Any] = {
            "color": _COLOURS.get(name, layers[name]),
            "linestyle": line,
            "marker": marker,
            "label": name,
        }
        (drawn,) = ax.plot(range(1, len(values) + 1), values, **look)
        entries.append((drawn, name))
    if quantity.endswith("_norm"):
        log_scale(ax, np.concatenate([np.asarray(training.history[key]) for key in lines.values()]), least=10.0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(ax, _named(entries))
    label_axes(ax, "epoch or round", {"auc": "AUC"}.get(quantity, shown(quantity.replace("_", " "))))
