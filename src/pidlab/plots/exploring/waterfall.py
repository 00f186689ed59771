"""Waterfall: how the contributions of the features carry the margin of one event from the reference to its value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.config.schema import Style
from pidlab.errors import OutputError, UsageError
from pidlab.evaluate.results import Contribution, EventExplanation, ModelExplanation
from pidlab.plots.canvas.experiment import put_label
from pidlab.plots.canvas.style import (
    GREY,
    NO_LABELS,
    Caption,
    caption,
    context,
    label_axes,
    name_ticks,
    new_figure,
    shown,
)
from pidlab.plots.gallery import PLAIN, rendered, save

FORMATS = ("png", "pdf", "svg")
_MOST = 12  # features with a bar of their own, the largest first; the others share one
_UP, _DOWN = "#0072b2", "#d55e00"  # the colours of signal and background in all figures


def waterfall(
    one: ModelExplanation,
    ax: Axes,
    *,
    signal: str,
    explained: str = "",
    labels: Mapping[str, str] = NO_LABELS,
) -> None:
    """Draws a bar for each feature from where the one above it ends; the first begins at the reference.

    Args:
        one: the explanation by a model with contributions.
        ax: where to draw.
        signal: the class to whose margin features contribute.
        explained: what they contribute to instead, such as "prediction of E"; empty for the margin.
        labels: feature to its text.
    """
    parts = list(one.contributions[:_MOST])
    rest = one.contributions[_MOST:]
    captions = [_named(part, labels) for part in parts]
    if rest:
        parts.append(Contribution("others", math.nan, sum(part.contribution for part in rest)))
        captions.append(Caption(f"{len(rest)} others"))
    start = one.reference or 0.0
    ends = start + np.cumsum([part.contribution for part in parts])
    begins = np.concatenate([[start], ends[:-1]]) if parts else np.array([])
    for row, (part, begin, end) in enumerate(zip(parts, begins, ends, strict=True)):
        ax.barh(row, end - begin, left=begin, height=0.62, color=_UP if part.contribution >= 0 else _DOWN)
        if row + 1 < len(parts):
            ax.plot([end, end], [row, row + 1], color=GREY, linewidth=0.8)
    low, high = min([start, *ends]), max([start, *ends])
    width = (high - low) or 1.0
    for row, (part, begin, end) in enumerate(zip(parts, begins, ends, strict=True)):
        ax.text(
            max(begin, end) + 0.015 * width, row, f"{part.contribution:+.3g}".replace("-", "−"), va="center",
            fontsize=9, parse_math=False,
        )  # fmt: skip
    ax.axvline(start, color=GREY, linestyle="--", linewidth=0.9)
    ax.set_xlim(low - 0.05 * width, high + 0.17 * width)
    ax.set_ylim(len(parts) - 0.5, -0.5)
    name_ticks(ax, "y", captions)
    label_axes(ax, shown(explained, 40) if explained else f"margin of {shown(signal, 24)}", "")
    final = float(ends[-1]) if parts else start
    said = [f"{explained.partition(' ')[0] or 'margin'} {final:.3g}", f"reference {start:.3g}"]
    if signal in one.scores and not explained:
        said.insert(0, f"score {one.scores[signal]:.4g}")
    ax.set_title(
        f"{shown(one.model, 24)}: {', '.join(said)}".replace("-", "−"), fontsize=11, loc="left", parse_math=False
    )


def event_figure(event: EventExplanation) -> Figure:
    """Returns a figure of one event with a waterfall for each model that has contributions.

    Raises:
        UsageError: no model has any.
    """
    models = _drawn(event)
    n_rows = max(min(len(one.contributions), _MOST + 1) for one in models)
    height = 1.5 + 0.34 * n_rows
    figure = new_figure(7.0, height * len(models))
    axes = figure.subplots(len(models), 1, squeeze=False, gridspec_kw={"hspace": 1.1 / (height - 1.1)})[:, 0]
    for one, ax in zip(models, axes, strict=True):
        waterfall(one, ax, signal=event.signal, explained=event.explained if event.target else "", labels=event.labels)
    axes[0].annotate(
        shown(event.name, 70), (0.0, 1.0), xycoords="axes fraction", xytext=(0, 22), textcoords="offset points",
        fontsize=11, fontweight="bold", annotation_clip=False, parse_math=False,
    )  # fmt: skip
    return figure


def write_figures(events: Sequence[EventExplanation], output: Path, style: Style = PLAIN) -> list[Path]:
    """Writes a figure for each event, and returns the paths.

    Args:
        events: the explained events, each with a model that has contributions.
        output: a file that ends in .png, .pdf or .svg, whose name gets a number if there are several events; else a
            folder, which is made if it does not exist.
        style: the label and the style of an experiment.

    Raises:
        UsageError: no model has contributions.
        OutputError: a file cannot be written.
    """
    suffix = output.suffix.removeprefix(".").lower()
    if suffix in FORMATS:
        names = [output.stem if len(events) == 1 else f"{output.stem}_{i + 1}" for i in range(len(events))]
        paths = [output.with_name(f"{name}.{suffix}") for name in names]
    else:
        places = [(each.entry, "" if each.candidate is None else f"_candidate{each.candidate}") for each in events]
        suffix, paths = "png", [output / f"explained_entry{entry}{candidate}.png" for entry, candidate in places]
    written = []
    for event, path in zip(events, paths, strict=True):
        _drawn(event)
        with context(path.stem, style.experiment):
            figure = event_figure(event)
            put_label(figure, style)
        content = rendered(figure, path.stem, suffix, experiment=style.experiment)[suffix]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"{path.parent}: cannot be made ({reason}); choose another place with -o") from error
        written.append(save(path, content))
    return written


def _drawn(event: EventExplanation) -> list[ModelExplanation]:
    models = [one for one in event.models if one.contributions]
    if not models:
        raise UsageError(
            "no model has contributions to draw: " + " ".join(f"{one.model}: {one.note}" for one in event.models)
        )
    return models


def _named(part: Contribution, labels: Mapping[str, str]) -> Caption:
    value = "missing" if math.isnan(part.value) else f"{part.value:.4g}".replace("-", "−")
    return caption(part.feature, labels, 30, f" = {value}")
