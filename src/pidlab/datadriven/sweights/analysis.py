"""Analysis: from files to the fit of their mass, its weights, the tests of what they rely on, and friend trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.apply.outputs import friend_name, friend_paths
from pidlab.atomic import sweep
from pidlab.datadriven.massfit.fit import Fit, fit
from pidlab.datadriven.massfit.saved import as_json, figure, root_objects
from pidlab.datadriven.massfit.settings import FitSettings
from pidlab.datadriven.sweights.candidates import Candidates, collect, masses
from pidlab.datadriven.sweights.independence import LEVEL, IndependenceTest, independence_tests, sentences
from pidlab.datadriven.sweights.replicas import weight_replicas
from pidlab.datadriven.sweights.weights import Weights, WeightSums, cows, sweights
from pidlab.errors import DataError, OutputError
from pidlab.evaluate.results import json_value
from pidlab.jsonfile import write_json
from pidlab.progress import Watcher
from pidlab.read import Source, Table
from pidlab.rootio import tgraph
from pidlab.rootio.files import whole_file, writing
from pidlab.rootio.friends import FriendFile, FriendTree, nested
from pidlab.runs.whole import filled_folder, refuse_run

ENDING = "sweights"
WEIGHT = "sw"
USED = "sw_used"
_POOR_FIT = 0.01
"""The fit is said not to describe the mass if the p-value of its goodness is smaller."""


@dataclass(frozen=True, slots=True)
class SweightsRequest:
    """What `pidlab sweights` is asked for.

    Attributes:
        sources: the inputs, which are fitted together.
        settings: the mass, its range and shapes, the cut and the features.
        output: the folder for everything that is written.
        per: the collection whose candidates are the rows; None if a row is an entry.
        cows: the degree of the background's polynomials for COWs; None for sWeights.
        n_replicas: how many replicas of the first component's weights are written, which hold the error of the shapes.
    """

    sources: tuple[Source, ...]
    settings: FitSettings
    output: Path
    per: str | None = None
    cows: int | None = None
    n_replicas: int = 0

    @property
    def used(self) -> str:
        """The branch that tells which rows have weights; a member of the collection of `per`."""
        return f"{self.per}_{USED}" if self.per else USED

    def branches(self, weights: Weights) -> dict[str, str]:
        """Returns component to the branch of its weights: `sw` of the first, `sw_NAME` of the others."""
        signal = next(iter(weights.functions))
        prefix = f"{self.per}_{WEIGHT}" if self.per else WEIGHT
        return {name: prefix if name == signal else f"{prefix}_{name}" for name in weights.functions}


@dataclass(frozen=True, slots=True)
class SweightsResult:
    """The fit of a mass, and the weights that come of it.

    Attributes:
        candidates: what was read of the inputs.
        fit: the fit of the mass.
        notes: what a reader should know, in sentences.
        weights: a function of the mass for each component; None if the fit failed.
        sums: component to the sums of its weights.
        tests: the tests of the independence of mass and features.
        friends: input to its friend file.
    """

    candidates: Candidates
    fit: Fit
    notes: tuple[str, ...]
    weights: Weights | None = None
    sums: Mapping[str, WeightSums] = field(default_factory=dict)
    tests: tuple[IndependenceTest, ...] = ()
    friends: Mapping[Source, Path] = field(default_factory=dict)


def run(request: SweightsRequest, watcher: Watcher) -> SweightsResult:
    """Fits the mass in the inputs and writes friend trees with the weights, the fit and its figures.

    The inputs are read twice: for the fit, and when the weights are written. The friend of FILE is STEM_sweights.root
    in the output folder, with a tree TREE_sweights of one entry for each entry of the input.

    Raises:
        DataError: an input cannot be read, or the fit failed; figure and JSON of a failed fit are written all the same.
        UsageError: a shape, parameter or expression is wrong.
        OutputError: a file cannot be written.
    """
    settings, output = request.settings, request.output
    refuse_run(output)
    targets = friend_paths([source.path for source in request.sources], output, ENDING)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made ({error.strerror or error}); choose another folder") from error
    candidates = collect(request.sources, request.per, settings, watcher)
    data = candidates.data
    watcher.stage("fitting")
    found = fit(data, settings.low, settings.high, settings.components)
    if not found.valid:
        _write(request, SweightsResult(candidates, found, found.problems))
        raise DataError(
            f"the fit of {settings.mass} failed: {'; '.join(found.problems)}. {output / 'mass.png'} shows it; "
            "no weights were written"
        )
    degree = request.cows

    def make(each: Fit) -> Weights:
        return sweights(each, data) if degree is None else cows(each, data, degree)

    weights = make(found)
    replicas = weight_replicas(found, make, request.n_replicas) if request.n_replicas else []
    tests = independence_tests(found, *candidates.tested) if candidates.features else []
    sums, friends = _write_friends(request, candidates, (weights, replicas), targets, watcher)
    notes = _notes(request, candidates, found, weights, sums, tests)
    answer = SweightsResult(candidates, found, tuple(notes), weights, sums, tuple(tests), friends)
    _write(request, answer)
    return answer


def _write_friends(
    request: SweightsRequest,
    candidates: Candidates,
    made: tuple[Weights, list[Weights]],
    targets: dict[str, Path],
    watcher: Watcher,
) -> tuple[dict[str, WeightSums], dict[Source, Path]]:
    weights, replicas = made
    names, signal = request.branches(weights), next(iter(weights.functions))
    branches_of_replicas = [f"{names[signal]}_replica{r:03d}" for r in range(len(replicas))]
    types = {**dict.fromkeys([*names.values(), *branches_of_replicas], "float64"), request.used: "bool"}
    sums = {name: WeightSums() for name in weights.functions}
    friends: dict[Source, Path] = {}
    n_rows = dict(zip(request.sources, candidates.n_rows, strict=True))
    with watcher.task("writing", sum(source.n_entries for source in request.sources), "entries") as task:
        for path, target in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            sweep(target)
            own = [source for source in request.sources if source.path == path]
            with FriendFile(target, {"input": own[0].place}) as file:
                for source in own:
                    with Table(source, request.per) as table:
                        tree = _tree(file, friend_name(source, ENDING), types, table)
                        n_written = 0
                        for chunk, mass, passed in masses(table, request.settings):
                            n_written += chunk.n_rows
                            fitted = np.where(passed, mass, np.nan)
                            block = weights(fitted)
                            used = passed & (mass >= weights.low) & (mass <= weights.high)
                            for name, values in block.items():
                                sums[name].add(values[used])
                            columns = {names[name]: values for name, values in block.items()} | {request.used: used}
                            for branch, replica in zip(branches_of_replicas, replicas, strict=True):
                                columns[branch] = replica(fitted)[signal]
                            tree.extend(nested(columns, chunk.counts))
                            task.advance(chunk.n_entries)
                    if n_written != n_rows[source]:
                        raise DataError(f"{source}: was changed while it was read; start again")
                    friends[source] = target
    return sums, friends


def _tree(file: FriendFile, name: str, types: dict[str, str], table: Table) -> FriendTree:
    if table.collection is None:
        return file.tree(name, types)
    return file.tree(name, {}, jagged=types, counter=table.collection.counter)


def _notes(
    request: SweightsRequest,
    candidates: Candidates,
    found: Fit,
    weights: Weights,
    sums: dict[str, WeightSums],
    tests: Sequence[IndependenceTest],
) -> list[str]:
    """Returns what the user should know, the doubts first."""
    notes = list(found.problems)
    goodness = found.goodness
    if goodness.p < _POOR_FIT:
        notes.append(
            f"the fit does not describe the mass (χ²/ndf {goodness.chi2:.1f}/{goodness.ndof}, p = {goodness.p:.1g}): "
            "yields and weights rely on the shapes; choose others"
        )
    n_outside = candidates.n_selected - candidates.n_inside - candidates.n_invalid
    outside = (
        f"{n_outside:,} of {candidates.n_selected:,} selected candidates lie outside {found.low:g} to {found.high:g}"
    )
    if candidates.n_invalid:
        outside += f", and {candidates.n_invalid:,} have no mass"
    n_cut = sum(candidates.n_rows) - candidates.n_selected
    not_selected = f"; so have the {n_cut:,} rows that are not selected" if n_cut else ""
    notes.append(f"{outside}: their weights are 0{not_selected}")
    signal = next(iter(weights.functions))
    own = sums[signal]
    notes.append(
        f"{own.n_negative:,} of {own.n:,} weights of {signal} are negative and stay so; they count as much as "
        f"{own.n_effective:,.0f} candidates of pure {signal}"
    )
    if request.n_replicas:
        branch = request.branches(weights)[signal]
        notes.append(
            f"{branch}_replica000 and on are the weights by {request.n_replicas} other shapes that the fit allows: "
            f"what they change in a number is its error by the shapes, besides that of {branch}"
        )
    notes += sentences(list(tests), request.cows)
    if any(test.p * len(tests) < LEVEL for test in tests) and request.cows is None:
        notes.append("for a background that changes with a feature there are COWs: --cows 2, for example")
    if not tests:
        notes.append("no features were named, so that their independence of the mass was not tested (--feature)")
    return notes


def _write(request: SweightsRequest, answer: SweightsResult) -> None:
    """Writes `sweights.json`, `sweights.root` and the figures; without weights, those of a failed fit."""
    from pidlab.plots.canvas.style import context
    from pidlab.plots.fits.mass import weights_figure
    from pidlab.plots.gallery import rendered, save

    found, data = answer.fit, answer.candidates.data
    label = request.settings.label or request.settings.mass
    grid = np.linspace(found.low, found.high, 401)
    on_grid = {} if answer.weights is None else answer.weights(grid)
    with filled_folder(request.output) as folder:
        for name in ("mass", "weights") if on_grid else ("mass",):
            with context(name):
                drawn = figure(found, data, label) if name == "mass" else weights_figure(grid, on_grid, label)
            for suffix, content in rendered(drawn, name, "png", "pdf").items():
                save(folder / f"{name}.{suffix}", content)
        path = folder / "sweights.root"
        with whole_file(path, "zlib") as file, writing(path):
            for name, graph in root_objects(found, data, label):
                file[name] = graph
            for name, values in on_grid.items():
                file[f"weight_{name}"] = tgraph(grid, values, f"weight of {name};{label.replace(';', '#;')};weight")
            file["notes"] = "\n".join(answer.notes)
        write_json(folder / "sweights.json", _saved(request, answer))


def _saved(request: SweightsRequest, answer: SweightsResult) -> dict[str, Any]:
    """Returns the content of `sweights.json`."""
    saved: dict[str, Any] = {
        "schema": 1,
        "inputs": [str(source) for source in request.sources],
        "mass": request.settings.mass,
        "cut": request.settings.cut,
        "fit": as_json(answer.fit),
        "notes": list(answer.notes),
    }
    if answer.weights is not None:
        read, branches, yields = answer.candidates, request.branches(answer.weights), answer.weights.yields
        saved["method"] = "sweights" if request.cows is None else f"cows, polynomials of degree {request.cows}"
        saved["n"] = {
            "rows": sum(read.n_rows),
            "selected": read.n_selected,
            "in_range": read.n_inside,
            "without_mass": read.n_invalid,
        }
        saved["weights"] = {
            name: {
                "branch": branches[name],
                "yield": yields[name],
                "sum": sums.total,
                "sum_of_squares": sums.squares,
                "n_effective": sums.n_effective,
                "negative": sums.n_negative,
                "smallest": json_value(sums.smallest),
                "largest": json_value(sums.largest),
            }
            for name, sums in answer.sums.items()
        }
        saved["independence"] = json_value(answer.tests)
    return saved
