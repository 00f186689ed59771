"""Figures of what depends on spectators: efficiency in bins of one of them, and maps of two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import EfficiencyMap, ModelResult, Results
from pidlab.plots.canvas.style import point_styles
from pidlab.plots.efficiency import efficiency
from pidlab.plots.matrices import efficiency_map
from pidlab.plots.sheets.sheet import Sheet, label_bottom, panels, root_key, stack
from pidlab.plots.sheets.table import FigureTable, table_of

MOST_COLUMNS = 4


def efficiencies(results: Results) -> Iterator[Sheet]:
    """Yields, for each model and spectator, the efficiency and the misidentifications at every working point."""
    for model in results.models.values():
        for (names, suffix), maps in _by_names(model).items():
            if len(names) == 1:
                points = ", ".join(dict.fromkeys(m.working_point for m in maps))
                folder = root_key(model.name)
                yield Sheet(
                    name=f"efficiency_{names[0]}_{model.name}{suffix}",
                    title=f"{model.name}: efficiency against {names[0]}",
                    alt=(
                        f"Efficiency of {results.signal} and misidentification of the others by {model.name} in bins "
                        f"of {names[0]}, at {points}, with 68.3 % intervals."
                    ),
                    draw=partial(_efficiency, results, model, maps),
                    numbers=partial(map_table, maps),
                    section="efficiency",
                    objects=_objects(names, f"{folder}/efficiency_{{}}_*_graph", f"{folder}/*_{{}}_*"),
                    kind="efficiency",
                    about={"model": model.name, "spectator": names[0], "flat": "yes" if suffix else "no"},
                )


def _by_names(model: ModelResult) -> dict[tuple[tuple[str, ...], str], list[EfficiencyMap]]:
    """Returns the maps by their spectators; those of flat working points by themselves, with the suffix "_flat"."""
    flat = {point.name for point in model.working_points if point.flat is not None}
    found: dict[tuple[tuple[str, ...], str], list[EfficiencyMap]] = {}
    for one in model.maps:
        found.setdefault((one.names, "_flat" if one.working_point in flat else ""), []).append(one)
    return found


def _objects(spectators: Sequence[str], *patterns: str) -> tuple[str, ...]:
    """Returns patterns for both ways in which `pidlab.rootio` may name spectators: by their ends, or in full."""
    short = "_".join(root_key(name.rpartition(".")[2]) for name in spectators)
    full = "_".join(map(root_key, spectators))
    return tuple(pattern.format(name) for name in dict.fromkeys((short, full)) for pattern in patterns)


def _efficiency(results: Results, model: ModelResult, maps: Sequence[EfficiencyMap]) -> Figure:
    order = [results.signal, *(name for name in results.classes if name != results.signal)]
    particles = [name for name in order if any(one.particle == name for one in maps)]
    figure, axes = stack(len(particles), 6.4, 1.2 + 2.3 * len(particles), gap=0.08)
    styles = point_styles(list(dict.fromkeys(one.working_point for one in maps)))
    for particle, ax in zip(particles, axes, strict=True):
        some = [one for one in maps if one.particle == particle]
        title = model.name if ax is axes[0] else ""
        efficiency(some, ax, styles=styles, signal=results.signal, title=title, labels=results.labels)
    label_bottom(axes)
    return figure


def maps(results: Results) -> Iterator[Sheet]:
    """Yields, for each model and pair of spectators, the efficiency of every class at every working point."""
    for model in results.models.values():
        for (names, suffix), some in _by_names(model).items():
            if len(names) == 2:
                folder = f"maps/{root_key(model.name)}"
                yield Sheet(
                    name=f"map_{names[0]}_{names[1]}_{model.name}{suffix}",
                    title=f"{model.name}: map of {names[0]} and {names[1]}",
                    alt=f"Fraction of each class that passes {model.name} in bins of {names[0]} and {names[1]}.",
                    draw=partial(_maps, some, results.labels),
                    numbers=partial(map_table, some),
                    section="efficiency",
                    objects=_objects(names, f"{folder}/*{{}}*_value", f"{folder}/*{{}}*"),
                    kind="map",
                    about={"model": model.name, "x": names[0], "y": names[1], "flat": "yes" if suffix else "no"},
                )


def _maps(some: Sequence[EfficiencyMap], labels: Mapping[str, str]) -> Figure:
    n_points = len({one.working_point for one in some})
    n_columns = n_points if n_points <= MOST_COLUMNS else 3
    by_class = sorted(some, key=lambda one: [o.particle for o in some].index(one.particle))
    draw = partial(efficiency_map, labels=labels)
    return panels([(one,) for one in by_class], draw, n_columns, 4.2, 3.4, row_gap=1.05)


def map_table(maps: Sequence[EfficiencyMap]) -> FigureTable:
    """Returns the bins of maps over the same spectators."""
    rows = []
    for one in maps:
        for index, value in np.ndenumerate(one.value):
            edges = [edge for e, i in zip(one.edges, index, strict=True) for edge in (e[i], e[i + 1])]
            rows.append((one.working_point, one.particle, *edges, value, one.low[index], one.high[index], one.n[index]))
    ends = [f"{name} {end}" for name in maps[0].names for end in ("from", "to")]
    return table_of(("working point", "class", *ends, "passing fraction", "low", "high", "n"), rows)
