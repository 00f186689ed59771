"""Figures of flat-efficiency working points: thresholds against spectators, and the efficiency before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from matplotlib.figure import Figure

from pidlab.evaluate.results import EfficiencyMap, Flatness, ModelResult, Results, WorkingPoint
from pidlab.plots.flat import flatness, threshold_map, thresholds
from pidlab.plots.matrices import efficiency_map
from pidlab.plots.sheets import tables
from pidlab.plots.sheets.sheet import Sheet, grid
from pidlab.plots.style import new_figure, point_looks, shown

_Pair = tuple[WorkingPoint, Flatness]


def flat_points(results: Results) -> Iterator[Sheet]:
    """For each model and the spectators that its thresholds follow: thresholds, and the efficiency before and after."""
    for model in results.models.values():
        for names, pairs in _by_names(model).items():
            what = " and ".join(names)
            alt = (
                f"Thresholds of {model.name} that follow {what}, and the efficiency of {results.signal} on test in "
                f"bins of {what} at one constant threshold and at these, for {', '.join(p.name for p, _ in pairs)}."
            )
            draw = _along_one if len(names) == 1 else _along_two
            yield Sheet(
                f"efficiency_flat_{'_'.join(names)}_{model.name}", f"{model.name}: efficiency made flat in {what}", alt,
                partial(draw, pairs, model.name, results.labels),
                partial(tables.efficiency_maps, [m for _, f in pairs for m in _named(f)]),
            )  # fmt: skip


def _by_names(model: ModelResult) -> dict[tuple[str, ...], list[_Pair]]:
    points = {p.name: p for p in model.working_points if p.flat is not None}
    found: dict[tuple[str, ...], list[_Pair]] = {}
    for each in model.flatness:
        found.setdefault(each.after.names, []).append((points[each.working_point], each))
    return found


def _named(found: Flatness) -> list[EfficiencyMap]:
    """The two maps under names that tell them apart."""
    return [replace(found.before, working_point=f"{found.working_point}, constant threshold"), found.after]


def _along_one(pairs: Sequence[_Pair], model: str, labels: Mapping[str, str]) -> Figure:
    figure = new_figure(6.4, 2.6 + 2.5 * len(pairs))
    axes = figure.subplots(1 + len(pairs), 1, sharex=True, squeeze=False, gridspec_kw={"hspace": 0.34})[:, 0]
    looks = point_looks([point.name for point, _ in pairs])
    thresholds([point for point, _ in pairs], axes[0], looks=looks, title=model)
    for (point, found), ax in zip(pairs, axes[1:], strict=True):
        flatness(found, point.target, ax, look=looks[point.name], labels=labels)
    for ax in axes[:-1]:
        ax.set_xlabel("")
    return figure


def _along_two(pairs: Sequence[_Pair], model: str, labels: Mapping[str, str]) -> Figure:
    figure, axes = grid(3 * len(pairs), 3, 4.4, 3.5, gap=1.05)
    for i, (point, found) in enumerate(pairs):
        panels = axes[3 * i : 3 * i + 3]
        threshold_map(point, panels[0], labels=labels)
        panels[0].set_title(f"{shown(model, 24)}: threshold, {point.name}", fontsize=10, parse_math=False)
        for ax, one, chi2 in zip(panels[1:], _named(found), (found.chi2_before, found.chi2_after), strict=True):
            efficiency_map(one, ax, labels=labels)
            word = "constant" if one is not found.after else found.working_point
            ax.set_title(f"efficiency (%), {word}: χ²/ndf {chi2:.3g}/{found.ndf}", fontsize=10, parse_math=False)
            ax.set_ylabel("")
    return figure
