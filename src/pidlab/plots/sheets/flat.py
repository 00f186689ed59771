"""Figures of flat-efficiency working points: thresholds against spectators, and the efficiency before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from matplotlib.figure import Figure

from pidlab.evaluate.results import EfficiencyMap, Flatness, ModelResult, Results, WorkingPoint
from pidlab.plots.canvas.style import point_styles, shown
from pidlab.plots.flat import flatness, threshold_map, thresholds
from pidlab.plots.matrices import efficiency_map
from pidlab.plots.sheets.sheet import Sheet, grid, label_bottom, objects_of, root_key, stack
from pidlab.plots.sheets.spectators import map_table

_Pair = tuple[WorkingPoint, Flatness]


def flat_points(results: Results) -> Iterator[Sheet]:
    """Yields the thresholds of each model that follow spectators, with the efficiency before and after."""
    for model in results.models.values():
        for names, pairs in _by_names(model).items():
            what, points = " and ".join(names), [point.name for point, _ in pairs]
            yield Sheet(
                name=f"efficiency_flat_{'_'.join(names)}_{model.name}",
                title=f"{model.name}: efficiency made flat in {what}",
                alt=(
                    f"Thresholds of {model.name} that follow {what}, and the efficiency of {results.signal} on test in "
                    f"bins of {what} at one constant threshold and at these, for {', '.join(points)}."
                ),
                draw=partial(_along_one if len(names) == 1 else _along_two, pairs, model.name, results.labels),
                numbers=partial(map_table, [m for _, f in pairs for m in _named(f)]),
                section="efficiency",
                objects=objects_of(model.name, *(f"flat/{root_key(point)}_*" for point in points)),
                kind="flat",
                about={"model": model.name, "spectator": names[0], "other": "".join(names[1:])},
            )


def _by_names(model: ModelResult) -> dict[tuple[str, ...], list[_Pair]]:
    points = {p.name: p for p in model.working_points if p.flat is not None}
    found: dict[tuple[str, ...], list[_Pair]] = {}
    for each in model.flatness:
        found.setdefault(each.after.names, []).append((points[each.working_point], each))
    return found


def _named(found: Flatness) -> list[EfficiencyMap]:
    """Returns the map at the constant threshold, with a name that says so, and the map at the flat threshold."""
    return [replace(found.before, working_point=f"{found.working_point}, constant threshold"), found.after]


def _along_one(pairs: Sequence[_Pair], model: str, labels: Mapping[str, str]) -> Figure:
    figure, axes = stack(1 + len(pairs), 6.4, 2.6 + 2.5 * len(pairs), gap=0.34)
    styles = point_styles([point.name for point, _ in pairs])
    thresholds([point for point, _ in pairs], axes[0], styles=styles, title=model)
    for (point, found), ax in zip(pairs, axes[1:], strict=True):
        flatness(found, point.target, ax, style=styles[point.name], labels=labels)
    label_bottom(axes)
    return figure


def _along_two(pairs: Sequence[_Pair], model: str, labels: Mapping[str, str]) -> Figure:
    figure, axes = grid(3 * len(pairs), 3, 4.4, 3.5, row_gap=1.05)
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
