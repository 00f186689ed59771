"""Measures the species fractions of data, and writes them as JSON, ROOT objects and figures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.config.load import yaml_value
from pidlab.datadriven.fractions.fit import fit_templates, invert_matrix
from pidlab.datadriven.fractions.samples import (
    Asked,
    DataCounts,
    Templates,
    bin_of,
    read_data,
    templates_of,
    variable_of_test,
)
from pidlab.errors import ConfigError, DataError, UsageError
from pidlab.evaluate.results import Fractions, FractionsBin, ModelFractions, json_value
from pidlab.jsonfile import write_json
from pidlab.measured import Array, bounds
from pidlab.progress import Watcher
from pidlab.rootio.files import whole_file, writing
from pidlab.rootio.histograms import from_cells, th1
from pidlab.rootio.results.named_object import graph_of, of_matrix, root_text
from pidlab.runs.bundle import Bundle, load_bundle, with_classes
from pidlab.runs.manifest import verify
from pidlab.runs.scored_events import FILE as EVENTS
from pidlab.runs.scored_events import ScoredEvents, read_events
from pidlab.runs.whole import filled_folder

SCHEMA = 1
_POOR_FIT = 0.01


@dataclass(frozen=True, slots=True)
class Request:
    """What `pidlab fractions` was asked.

    Attributes:
        run: the folder of the run.
        files: data.
        output: the folder for the results.
        within: `EXPRESSION: [edges]`, or `EXPRESSION: N` for bins of equal population; empty for one bin of all.
        models: names; empty for all.
        tree: the tree of the files; None if they hold one.
        cut: a further cut on the candidates, besides the selection of the run; empty for none.
        weight: the weight of each candidate; empty for 1.
        n_bins: the number of bins of the score; None for as many as the templates allow.
    """

    run: Path
    files: Sequence[str]
    output: Path
    within: str = ""
    models: Sequence[str] = ()
    tree: str | None = None
    cut: str = ""
    weight: str = ""
    n_bins: int | None = None


def measure_fractions(request: Request, watcher: Watcher) -> Fractions:
    """Measures the yield of each class in data by each model, and writes everything into the folder of the request.

    Raises:
        UsageError: the request is not right, or the run has no such model.
        DataError: an input cannot be read, or no candidate is left of it.
        OutputError: the results cannot be written.
    """
    watcher.stage("load")
    bundle = with_classes(load_bundle(request.run, request.models))
    verify(request.run, EVENTS)
    scored = read_events(request.run)
    variable, stated = within(request.within)
    asked = Asked.of(bundle, variable, request.cut, request.weight)
    values = variable_of_test(bundle, scored, asked, variable, watcher)
    edges = _edges(values, stated)
    place = bin_of(values, edges)
    templates = {
        name: [templates_of(bundle, scored, name, place == b, request.n_bins) for b in range(len(edges) - 1)]
        for name in bundle.models
    }
    data = DataCounts(edges, templates, len(scored.sample.classes))
    read_data(bundle, bundle.recipe.inputs(request.files, request.tree), asked, data, watcher)
    if not data.n.sum():
        raise DataError(_no_candidate(request, data, variable))
    watcher.stage("evaluate")
    with watcher.task("fitting", len(bundle.models) * len(data.n)) as task:
        models = []
        for name in bundle.models:
            found = []
            for b in range(len(data.n)):
                found.append(_measured(edges[b : b + 2], data, templates[name][b], name, b))
                task.advance()
            models.append(ModelFractions(name, tuple(found)))
    fractions = Fractions(tuple(scored.sample.classes), variable, tuple(models), ())
    notes = tuple(_notes(fractions, data, bundle, scored, request.weight))
    for sentence in notes:
        watcher.note(sentence)
    fractions = Fractions(fractions.classes, variable, fractions.models, notes)
    write_fractions(request, fractions, bundle)
    return fractions


def _no_candidate(request: Request, data: DataCounts, variable: str) -> str:
    files = ", ".join(request.files)
    if data.n_outside:
        return f"{files}: all {data.n_outside:,} candidates lie outside the bins of {variable}; choose others with --in"
    cut = f" and the cut {request.cut!r}" if request.cut else ""
    return f"{files}: no candidate passes the selection of the run{cut}, so that there is nothing to measure"


def within(text: str) -> tuple[str, list[float] | int]:
    """Returns expression and edges, or the number of bins, of `EXPRESSION: [edges]`; ("", 1) of an empty text.

    Raises:
        UsageError: it is none.
    """
    if not text.strip():
        return "", 1
    variable, _, bins = text.rpartition(":")
    such = f'--in {text!r}: write a variable and its edges, as in "p: [1, 2, 3]", or a number of bins, as in "p: 5"'
    try:
        value = yaml_value(bins)
    except ConfigError:
        raise UsageError(such) from None
    if not variable.strip():
        raise UsageError(such)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1000:
        return variable.strip(), value
    numbers = isinstance(value, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    if not numbers or len(value) < 2 or not all(a < b for a, b in itertools.pairwise(value)):
        raise UsageError(f"{such}; edges must rise")
    try:
        return variable.strip(), [float(v) for v in value]
    except OverflowError:
        raise UsageError(such) from None


def _edges(values: Array, stated: list[float] | int) -> Array:
    """Returns the edges of the variable: those stated, or of bins of equal population of the test events."""
    if isinstance(stated, list):
        return np.array(stated)
    if stated == 1:
        return np.array([-np.inf, np.inf])
    finite = values[np.isfinite(values)]
    inner = np.unique(np.quantile(finite, np.arange(1, stated) / stated)) if len(finite) else np.empty(0)
    return np.concatenate([[-np.inf], inner, [np.inf]])


def _measured(edges: Array, data: DataCounts, own: Templates, model: str, b: int) -> FractionsBin:
    """Returns the yields of one model in one bin of the variable."""
    counted = data.scores[model][b]
    fit = fit_templates(counted, own.scores)
    inverted, matrix = invert_matrix(data.decided[model][b], own.decided)
    return FractionsBin(
        low=float(edges[0]),
        high=float(edges[1]),
        n=int(data.n[b]),
        fit=fit.yields,
        inverted=inverted,
        matrix=matrix,
        names=own.bins.sizes,
        observed=counted.sumw,
        observed_error=np.sqrt(counted.sumw2),
        fitted=fit.fitted,
        template_error=fit.template_error,
        templates={name: each.effective for name, each in own.scores.items()},
        chi2=fit.chi2,
        ndf=fit.ndf,
        p=fit.p,
    )


def _notes(found: Fractions, data: DataCounts, bundle: Bundle, scored: ScoredEvents, weight: str) -> Iterator[str]:
    """Yields what a reader must know, the doubts first; `weight` is that of the candidates, empty for 1."""
    for model in found.models:
        for each in model.bins:
            where = f"{model.model}, {found.variable} {each.low:g} to {each.high:g}" if found.variable else model.model
            if each.fit.problem:
                yield f"{where}: no fit: {each.fit.problem}."
            elif each.p < _POOR_FIT:
                yield (
                    f"{where}: the templates do not describe the scores of data (χ²/ndf {each.chi2:.1f}/{each.ndf}, "
                    f"p = {each.p:.1g}): simulation differs, or there are candidates of no class."
                )
            if each.inverted.problem:
                yield f"{where}: no inverted matrix: {each.inverted.problem}."
    if data.n_outside:
        yield f"{data.n_outside:,} candidates lie outside the bins of {found.variable}, and are in no yield."
    config = bundle.recipe.loaded.config
    if config.data.weight != "1" and not weight:
        yield (
            f"The templates have the weights of the run ({config.data.weight}), and each candidate counts once; if "
            "these files need weights too, such as that of a prescale, give them by --weight."
        )
    if config.reweight is not None and config.reweight.used_for != "training":
        yield "The templates have the weights of `reweight`."
    negative = scored.sample.weight[scored.test] < 0
    if negative.any():
        yield f"{negative.mean():.1%} of the template events have negative weights."


def write_fractions(request: Request, found: Fractions, bundle: Bundle) -> None:
    """Writes `fractions.json`, `fractions.root` and the figures into the folder of a request.

    Raises:
        OutputError: a file cannot be written; what the folder held is untouched.
    """
    from pidlab.plots.fits.fractions import figures
    from pidlab.plots.gallery import rendered, save

    labels = bundle.recipe.loaded.config.axis_labels
    signal = bundle.recipe.classes[bundle.recipe.signal]
    with filled_folder(request.output) as folder:
        write_json(folder / "fractions.json", as_json(request, found, bundle))
        path = folder / "fractions.root"
        with whole_file(path, "zlib") as file, writing(path):
            for name, content in root_objects(found, labels.get(found.variable, found.variable)):
                if content is not None:
                    file[name] = content
            file["notes"] = "\n".join(found.notes)
        for name, figure in figures(found, signal, labels):
            for suffix, content in rendered(figure, name, "png", "pdf").items():
                save(folder / f"{name}.{suffix}", content)


def as_json(request: Request, found: Fractions, bundle: Bundle) -> dict[str, Any]:
    """Returns the content of `fractions.json`, schema 1."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "run": str(request.run.resolve()),
        "fingerprint": bundle.fingerprint,
        "files": list(request.files),
        "cut": request.cut,
        "weight": request.weight,
    }
    content |= json_value(found)
    return content


def root_objects(found: Fractions, label: str) -> Iterator[tuple[str, Any]]:
    """Yields the path and the content of every object of `fractions.root`; None where there is nothing to show.

    For each model there are graphs of yields and fractions against the variable for each class, by the fit and by the
    inverted matrix, and for each bin the scores of data, the fitted content of each class, and the matrix.
    """
    for model in found.models:
        finite = [_finite(each) for each in model.bins]
        centre, left, right = np.array(finite, np.float64).T
        for method in ("fit", "inverted"):
            for quantity in ("yields", "fractions"):
                for name in found.classes:
                    measured = [getattr(getattr(each, method), quantity)[name] for each in model.bins]
                    title = f"{quantity} of {name} by {model.model};{root_text(label)};{quantity}"
                    graph = graph_of((centre, left, right), bounds(measured), title)
                    yield f"{model.model}/{method}_{quantity}_{name}", graph
        for b, each in enumerate(model.bins):
            places = (np.arange(len(each.observed) + 1.0),)
            folder = f"{model.model}/bin{b}"
            data = from_cells(each.observed, places, each.observed_error**2)
            yield f"{folder}/data", th1(data, "data;bin of the score;candidates")
            for name, values in each.fitted.items():
                fitted = from_cells(values, places, np.zeros(len(values)))
                yield f"{folder}/fit_{name}", th1(fitted, f"{name};bin of the score;candidates")
            if each.matrix.size and np.isfinite(each.matrix).all():
                title, n = "share of each true class (x) that is decided to be each class (y)", float(each.matrix.sum())
                matrix = of_matrix(each.matrix, found.classes, title, n, np.zeros_like(each.matrix))
                yield f"{folder}/matrix", matrix


def _finite(each: FractionsBin) -> tuple[float, float, float]:
    """Returns the centre and the edges of a bin; infinite ones are 1 away from the other."""
    low = each.low if np.isfinite(each.low) else (each.high - 1 if np.isfinite(each.high) else 0.0)
    high = each.high if np.isfinite(each.high) else low + 1
    return (low + high) / 2, low, high
