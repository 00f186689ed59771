"""Figures of what depends on spectators: efficiency in bins of one of them, and maps of two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure

from pidlab.evaluate.results import EfficiencyMap, ModelResult, Results
from pidlab.plots.efficiency import efficiency
from pidlab.plots.matrices import efficiency_map
from pidlab.plots.sheets import tables
from pidlab.plots.sheets.sheet import Sheet, grid, label_left
from pidlab.plots.style import new_figure, point_looks

MOST_COLUMNS = 4


def efficiencies(results: Results) -> Iterator[Sheet]:
    """For each model and spectator the efficiency and the misidentifications at every working point."""
    for model in results.models.values():
        for (names, suffix), maps in _by_names(model).items():
            if len(names) == 1:
                alt = (
                    f"Efficiency of {results.signal} and misidentification of the others by {model.name} in bins of "
                    f"{names[0]}, at {', '.join(dict.fromkeys(m.working_point for m in maps))}, with 68.3 % intervals."
                )
                yield Sheet(
                    f"efficiency_{names[0]}_{model.name}{suffix}", f"{model.name}: efficiency against {names[0]}", alt,
                    partial(_efficiency, results, model, maps), partial(tables.efficiency_maps, maps),
                )  # fmt: skip


def _by_names(model: ModelResult) -> dict[tuple[tuple[str, ...], str], list[EfficiencyMap]]:
    """The maps by their spectators; those of flat working points apart, with the suffix "_flat"."""
    flat = {point.name for point in model.working_points if point.flat is not None}
    found: dict[tuple[tuple[str, ...], str], list[EfficiencyMap]] = {}
    for one in model.maps:
        found.setdefault((one.names, "_flat" if one.working_point in flat else ""), []).append(one)
    return found


def _efficiency(results: Results, model: ModelResult, maps: Sequence[EfficiencyMap]) -> Figure:
    order = [results.signal, *(name for name in results.classes if name != results.signal)]
    particles = [name for name in order if any(one.particle == name for one in maps)]
    figure = new_figure(6.4, 1.2 + 2.3 * len(particles))
    axes = figure.subplots(len(particles), 1, sharex=True, squeeze=False, gridspec_kw={"hspace": 0.08})[:, 0]
    looks = point_looks(list(dict.fromkeys(one.working_point for one in maps)))
    for i, (particle, ax) in enumerate(zip(particles, axes, strict=True)):
        some = [one for one in maps if one.particle == particle]
        efficiency(some, ax, looks=looks, signal=results.signal, title="" if i else model.name, labels=results.labels)
        if particle != particles[-1]:
            ax.set_xlabel("")
    return figure


def maps(results: Results) -> Iterator[Sheet]:
    """For each model and pair of spectators the efficiency of every class at every working point."""
    for model in results.models.values():
        for (names, suffix), some in _by_names(model).items():
            if len(names) == 2:
                alt = f"Fraction of each class that passes {model.name} in bins of {names[0]} and {names[1]}."
                title = f"{model.name}: map of {names[0]} and {names[1]}"
                yield Sheet(
                    f"map_{names[0]}_{names[1]}_{model.name}{suffix}", title, alt,
                    partial(_maps, some, results.labels), partial(tables.efficiency_maps, some),
                )  # fmt: skip


def _maps(some: Sequence[EfficiencyMap], labels: Mapping[str, str]) -> Figure:
    n_points = len({one.working_point for one in some})
    n_columns = n_points if n_points <= MOST_COLUMNS else 3
    figure, axes = grid(len(some), n_columns, 4.2, 3.4, gap=1.05)
    by_class = sorted(some, key=lambda one: [o.particle for o in some].index(one.particle))
    for one, ax in zip(by_class, axes, strict=True):
        efficiency_map(one, ax, labels=labels)
    label_left(axes, n_columns)
    return figure
