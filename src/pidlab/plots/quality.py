"""How far a score can be trusted and what it rests on: calibration, importance, figures of merit, pairs of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pidlab.evaluate.results import Calibration, Importance, ModelResult, Scan
from pidlab.measured import UNDEFINED, Measured
from pidlab.plots.roc import inverse
from pidlab.plots.style import (
    GREY,
    Look,
    arms,
    caption,
    columns,
    label_axes,
    legend,
    log_scale,
    name_ticks,
    nothing_to_draw,
    shown,
)
from pidlab.rounding import format_measured

MERITS = {"purity": "S / (S + B)", "significance": "S / √(S + B)", "punzi": "ε / (a/2 + √B)"}
_STYLE: dict[str, Any] = {"linestyle": "none", "markersize": 4.5, "elinewidth": 1.2}


def calibration(curve: Calibration, ax: Axes, *, signal: str, look: Look, name: str) -> Axes:
    """Draw the share of signal against the signal's mean score; on the dashed line a score is a probability.

    Args:
        curve: of one model.
        ax: where to draw.
        signal: the class whose score it is.
        look: the model's.
        name: the model's, written above with the calibration error.
    """
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.0)
    bars = ax.errorbar(
        curve.score, curve.fraction, yerr=arms(curve.fraction, curve.low, curve.high),
        color=look.colour, marker=look.marker, **_STYLE,
    )  # fmt: skip
    ax.set(xlim=(-0.02, 1.02))
    label_axes(ax, f"mean score for {shown(signal)}", f"share of {shown(signal)}{weighting(curve)}")
    how = "" if curve.method == "none" else f", calibrated by {curve.method}"
    legend(ax, [(bars, f"rms error {format_measured(curve.rms_error)}")], title=f"{name}{how}")
    return ax


def weighting(curve: Calibration) -> str:
    """What the share is of, where the classes do not count as they are."""
    return ",\nclasses weighted equally" if curve.balanced else ""


def calibration_gap(curve: Calibration, ax: Axes, *, signal: str, look: Look) -> Axes:
    """Draw the share of signal less the mean score; the calibration error is the mean size of these."""
    ax.axhline(0.0, color=GREY, linestyle="--", linewidth=1.0)
    gap = curve.fraction - curve.score
    errors = arms(curve.fraction, curve.low, curve.high)
    ax.errorbar(curve.score, gap, yerr=errors, color=look.colour, marker=look.marker, **_STYLE)
    ax.yaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    label_axes(ax, f"mean score for {shown(signal)}", "share − score")
    return ax


def importance(rows: Mapping[str, Measured], quantity: str, ax: Axes, *, look: Look, labels: Mapping[str, str]) -> Axes:
    """Draw one number a feature as bars from zero, the first on top.

    Args:
        rows: feature to the number.
        quantity: what it is.
        ax: where to draw.
        look: the model's.
        labels: feature to its text, for those that have one.
    """
    value, low, high = columns(list(rows.values()))
    places = np.arange(len(rows))
    ax.barh(places, np.nan_to_num(value), height=0.62, color=look.colour, alpha=0.55)
    ax.errorbar(value, places, xerr=arms(value, low, high), color="black", marker="", linestyle="none", elinewidth=1.2)
    ax.axvline(0.0, color=GREY, linewidth=1.0)
    name_ticks(ax, "y", [caption(name, labels, 30) for name in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.use_sticky_edges = False
    ax.margins(x=0.08)
    ax.set_title(quantity, fontsize=11, parse_math=False)
    return ax


def importance_columns(one: Importance, *, area: bool) -> dict[str, list[Measured]]:
    """Quantity to its number for each feature.

    Without `area` the AUC is left out, without a working point what is counted there, and contributions of none.
    """
    features = one.features
    misids = {particle: None for f in features for particle in f.delta_misid}
    table = {"ΔAUC": [f.delta_auc for f in features]} if area else {}
    if one.working_point:
        table["Δefficiency"] = [f.delta_efficiency for f in features]
        table |= {f"Δmisid of {shown(c, 16)}": [f.delta_misid.get(c, UNDEFINED) for f in features] for c in misids}
    if one.n_explained:
        table["mean |contribution|"] = [f.contribution or UNDEFINED for f in features]
    return table


def merit(scan: Scan, name: str, ax: Axes, *, look: Look) -> Axes:
    """Draw one figure of merit against threshold with its band, and the threshold chosen for it on validation.

    Args:
        scan: of one model.
        name: "purity", "significance" or "punzi".
        ax: where to draw.
        look: the model's.
    """
    one = scan.merits[name]
    ax.plot(scan.threshold, one.value, color=look.colour)
    ax.fill_between(scan.threshold, one.low, one.high, color=look.colour, alpha=0.2, linewidth=0)
    if np.isfinite(one.value).any():
        # A bound that is far off where next to nothing is left does not set the scale.
        ax.set_ylim(0.0, 1.05 if name == "purity" else 1.25 * float(np.nanmax(one.value)))
    if one.best is not None:
        ax.axvline(one.best, color=GREY, linestyle="--", linewidth=1.0)
        value, low, high = columns([one.at_best])
        bars = ax.errorbar(
            [one.best], value, yerr=arms(value, low, high), color="black", marker="o", capsize=2.5, **_STYLE
        )
        text = f"{one.best:.4g} by validation; test: {format_measured(one.at_best)} at ε = {one.efficiency.value:.3g}"
        ax.legend([bars], [text], loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.1, fontsize=10)
    label_axes(ax, "threshold", MERITS[name].replace("a/2", f"{scan.sigma:g}/2"))
    return ax


def expected_text(scan: Scan) -> str:
    """For how many candidates the figures are, and where that comes from."""
    numbers = " : ".join(f"{n:.5g} {shown(particle, 16)}" for particle, n in scan.expected.items())
    origin = {"sample": "as in the test sample", "abundance": "abundances as stated", "expected": "as stated"}
    return f"{numbers} ({origin[scan.basis]})"


def pairs(model: ModelResult, ax: Axes, *, looks: Sequence[Look]) -> Axes:
    """Draw each pair of classes against each other: rejection of the second over efficiency of the first.

    Args:
        model: its `roc_pairs` are drawn.
        ax: where to draw.
        looks: one for each pair.
    """
    curves = [(one, other, roc) for one, others in model.roc_pairs.items() for other, roc in others.items()]
    entries: list[tuple[Any, str]] = []
    for (one, other, roc), look in zip(curves, looks, strict=False):
        (line,) = ax.plot(roc.efficiency, inverse(roc.misid), color=look.colour, linestyle=look.line)
        low, high = inverse(roc.misid_high), inverse(roc.misid_low)
        high = np.where(np.isnan(high) & (roc.misid > 0), 1e30, high)
        ax.fill_between(roc.efficiency, low, high, color=look.colour, alpha=0.2, linewidth=0)
        entries.append((line, f"{shown(one, 12)} : {shown(other, 12)}, AUC {format_measured(roc.auc)}"))
    if not curves:
        nothing_to_draw(ax, "no pair of classes")
    log_scale(ax, np.concatenate([np.array([]), *(inverse(roc.misid) for *_, roc in curves)]))
    label_axes(ax, "efficiency of the first", "rejection of the second  (1 / misid)")
    legend(ax, entries, title=model.name, width=76)
    return ax
