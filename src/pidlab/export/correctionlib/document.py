"""Writes the rates of models at their working points for correctionlib, as one `corrections.json` (schema 2).

For a model `bdt` with a working point `eff90` the file holds

    bdt_eff90(particle, systematic)                          efficiency or misidentification of the whole test sample
    bdt_eff90[P.gtr.p](particle, P.gtr.p, systematic)        the same in the bins of each map
    bdt_eff90_flat:threshold(P.gtr.p)                        a threshold that follows spectators

where `particle` is a class and `systematic` is nominal, low or high, the bounds of the 68.3 % interval. A decision is
score > threshold, strictly, both float32. Inputs are in the order of `inputs`, spectators under the names and in the
units of the configuration.

The bins are those of pidlab: [low, high), the last one with its upper edge. An edge with more than 15 digits, which
correctionlib does not read exactly, is lower in the file by 10^-15 of itself, and the last edge is higher, so that an
event on an edge falls into the same bin. correctionlib raises an error beyond the bins, for a spectator that is NaN,
and in a bin without candidates: JSON has no NaN and 0 would be wrong, so such a bin holds a category without keys
("Index not available in Category"), and the description names these bins. Look up values within the range only, or
widen the bins of the map.

A flat threshold is a formula in each cell between the nodes, bilinear there and constant beyond the outermost nodes: it
is the same function as pidlab's, not a histogram of it. If a spectator is NaN the threshold is NaN, and nothing passes.

The weights of `reweight` with `method: bins` are there too, as pid_weight or pid_weight_CLASS.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pidlab.datadriven.reweighting.reweighter import Reweighter
from pidlab.errors import ModelError, UsageError
from pidlab.evaluate.points.flat import thresholds_at
from pidlab.evaluate.results import EfficiencyMap, FlatThreshold, ModelResult, Results, read_results
from pidlab.export.correctionlib.content import (
    SYSTEMATICS,
    correction_name,
    corrections,
    grouped,
    has_readable_edges,
    rate_of,
)
from pidlab.export.correctionlib.weights import bin_groups, places, weight_corrections
from pidlab.export.parity import Exported, ParityEvents, largest_difference
from pidlab.measured import Array
from pidlab.runs.bundle import Bundle
from pidlab.runs.manifest import verify

FILE = "corrections.json"
_LIMIT = 1e-9


def write(bundle: Bundle, models: Sequence[str], output: Path, events: ParityEvents, run: Path) -> list[Exported]:
    """Writes `corrections.json` into the folder `output`, reads it back and compares it with the results of the run.

    Every bin is looked up inside and at its edges; flat thresholds at, between and beyond their nodes and at the
    spectators of `events`.

    Raises:
        UsageError: correctionlib is not installed.
        DataError: the results of the run cannot be read.
        ModelError: correctionlib refuses the file, or reads other numbers from it.
    """
    library = _correctionlib()
    verify(run, "results.json")
    results = read_results(run / "results.json")
    for name in models:
        _check_points(results, bundle, name, run / "results.json")
    chosen = [results.models[name] for name in models]
    content = corrections(results, chosen, bundle.fingerprint)
    content["corrections"] += weight_corrections(bundle.reweighter)
    path = output / FILE
    try:
        valid = library.schemav2.CorrectionSet.model_validate(content)
        path.write_text(valid.model_dump_json(exclude_unset=True, indent=1) + "\n", encoding="utf-8")
        written = library.CorrectionSet.from_file(str(path))
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path.name}: correctionlib refuses it ({str(error).splitlines()[0]}); nothing was exported"
        ) from error
    differences = itertools.chain(_differences(written, results, chosen, events), _weights(written, bundle.reweighter))
    left_out = bundle.reweighter is not None and not bin_groups(bundle.reweighter)
    notes = (
        ["The weights of reweight are left out: correctionlib holds those of method: bins only."] if left_out else []
    )
    unreadable = dict.fromkeys(", ".join(m.names) for each in chosen for m in each.maps if not has_readable_edges(m))
    if unreadable:
        notes.append(f"Maps in {'; '.join(unreadable)} are left out: correctionlib reads 15 digits of an edge.")
    note = " ".join(notes)
    return [Exported(path, "correctionlib", tuple(models), max(differences, default=0.0), len(events.x), note)]


def _weights(written: Any, reweighter: Reweighter | None) -> Iterator[float]:
    """Yields the differences of the weights that make classes alike from pidlab's, in each bin and on its edges."""
    for branch, group in bin_groups(reweighter).items():
        assert reweighter is not None
        where = places(group)
        found = written[branch].evaluate(*where.T)
        yield largest_difference(f"{FILE}: {branch}", found, reweighter.weights(group, where), _LIMIT)


def _check_points(results: Results, bundle: Bundle, name: str, path: Path) -> None:
    """Checks that the results belong to the models in the same folder.

    Raises:
        ModelError: the results hold no such model, or other working points.
    """
    if name not in results.models:
        raise ModelError(f"{path}: holds nothing of the model {name!r}; make the run again")
    known = [(point.name, point.threshold) for point in results.models[name].working_points]
    if name in bundle.decisions and known != [(d.name, d.threshold) for d in bundle.decisions[name]]:
        raise ModelError(f"{path}: the working points of {name} are not those of its models; copy the folder again")


def _correctionlib() -> ModuleType:
    try:
        import correctionlib
        import correctionlib.schemav2
    except ImportError as error:
        raise UsageError(
            f"this format needs the package correctionlib ({error}): pip install 'pidlab[correctionlib]'"
        ) from error
    return correctionlib


def _differences(
    written: Any, results: Results, models: Sequence[ModelResult], events: ParityEvents
) -> Iterator[float]:
    """Yields the differences of the numbers read from the file and those measured.

    Raises:
        ModelError: they differ, or the file gives a number that was not measured.
    """
    for model, point in [(m, p) for m in models for p in m.working_points]:
        name = correction_name(model, point)
        for c in results.classes:
            expected = np.array(rate_of(results, point, c)[:3])[:, None]
            yield _compared(written, name, c, np.empty((1, 0)), expected)
        for key, maps in grouped(model, point).items():
            for m in maps:
                yield _compared(written, name + key, m.particle, *_answers(m))
        if point.flat is not None:
            places = _places(point.flat, events)
            found = written[f"{name}:threshold"].evaluate(*places.values())
            what = f"{FILE}: {name}:threshold"
            yield largest_difference(what, found, thresholds_at(point.flat, places), _LIMIT)


def _compared(written: Any, name: str, particle: str, places: Array, expected: Array) -> float:
    """Returns the largest difference at places (n, spectators) from (3, n) bounds, NaN if there must be no answer."""
    worst = 0.0
    for systematic, numbers in zip(SYSTEMATICS, expected, strict=True):
        defined = np.isfinite(numbers)
        found = [_answer(written[name], particle, place, systematic) for place in places[~defined]]
        if any(answer is not None for answer in found):
            raise ModelError(f"{FILE}: {name} gives a number for {particle} in a bin without candidates")
        if defined.any():
            rows = places[defined]
            answers = written[name].evaluate(particle, *rows.T, systematic) * np.ones(len(rows))
            what = f"{FILE}: {name}, {particle}, {systematic}"
            worst = max(worst, largest_difference(what, answers, numbers[defined], _LIMIT))
    return worst


def _answer(correction: Any, particle: str, place: Array, systematic: str) -> float | None:
    try:
        return float(correction.evaluate(particle, *map(float, place), systematic))
    except IndexError:
        return None


def _answers(m: EfficiencyMap) -> tuple[Array, Array]:
    """Returns places (n, spectators) inside each bin and on its edges, and nominal, low and high (3, n) there."""
    both = list(itertools.product(*(_places_along(e) for e in m.edges)))
    index = tuple(np.array([[i for _, i in place] for place in both]).T)
    places = np.array([[x for x, _ in place] for place in both])
    return places, np.stack([bound[index] for bound in (m.value, m.low, m.high)])


def _places_along(edges: Array) -> list[tuple[float, int]]:
    """Returns the finite edges and a place between each two of them, each with its bin."""
    finite = np.clip(edges, -1e300, 1e300)
    inside = finite[:-1] + (finite[1:] - finite[:-1]) / 2
    n = len(inside)
    places = [*zip(inside, range(n), strict=True), *zip(edges[:-1], range(n), strict=True), (edges[-1], n - 1)]
    return [(float(x), i) for x, i in places if np.isfinite(x)]


def _places(flat: FlatThreshold, events: ParityEvents) -> dict[str, Array]:
    """Returns spectators at, between and beyond the nodes, NaN, and those of the events."""
    axes = []
    for nodes in flat.nodes:
        between = (nodes[1:] + nodes[:-1]) / 2
        axes.append(np.concatenate([nodes, between, nodes[:1] - 1, nodes[-1:] + 1, [np.nan]]))
    grid = np.meshgrid(*axes, indexing="ij")
    return {
        name: np.concatenate([own.ravel(), events.spectators.get(name, np.empty(0))])
        for name, own in zip(flat.names, grid, strict=True)
    }
