"""Files beside the expectation of a run as ROOT histograms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pidlab.evaluate.points.identified import histogram_of
from pidlab.evaluate.results import Applied, Beside
from pidlab.rootio.files import whole_file, writing
from pidlab.rootio.histograms import from_cells, th1
from pidlab.rootio.results.named_object import NamedObject, key_of, root_text


def write_applied(path: Path, applied: Applied, provenance: str) -> None:
    """Writes what was counted in files, beside the expectation, to a ROOT file that appears whole or not at all.

    With NAME a distribution, `NAME` holds the rows of the files, `NAME_expected` the expectation with its statistical
    error, and `NAME_expected_CLASS` the part of a class. `MODEL/score` is the score of all selected rows, and
    `MODEL/POINT/accepted/VARIABLE` and `MODEL/POINT/rejected/VARIABLE` are features and spectators. `cutflow` has a
    labelled bin for each cut.

    Raises:
        OutputError: the file cannot be written.
    """
    used: set[str] = set()
    with whole_file(path, "zlib") as file, writing(path):
        for place, content in _objects(applied):
            file[key_of(place, used)] = content
        file["notes"] = "\n".join([*applied.notes, *applied.remarks])
        file["provenance"] = provenance


def _objects(applied: Applied) -> Iterator[NamedObject]:
    edges = (np.arange(len(applied.cutflow) + 1.0),)
    steps = from_cells(np.array([float(step.n) for step in applied.cutflow]), edges)
    labels = [step.name for step in applied.cutflow]
    yield NamedObject(("cutflow",), th1(steps, "rows of the files after each cut;;rows", labels))
    for model in applied.models:
        if model.score is not None:
            title = f"{model.name}, all selected rows;score of {applied.signal}"
            yield from _beside((model.name,), "score", model.score, title)
        for point in model.points:
            for what, by_variable in (("accepted", point.accepted), ("rejected", point.rejected)):
                for variable, found in by_variable.items():
                    axis = root_text(applied.labels.get(variable, variable))
                    title = f"{root_text(variable)}, {what} by {model.name} at {point.name};{axis}"
                    yield from _beside((model.name, point.name, what), variable, found, title)


def _beside(folder: tuple[str, ...], name: str, found: Beside, title: str) -> Iterator[NamedObject]:
    main, _, axis = title.partition(";")
    counts = histogram_of(found.edges, found.counts, found.counts, int(found.counts.sum()))
    yield NamedObject((*folder, name), th1(counts, f"{title};rows"))
    whole = np.sum(list(found.expected.values()), axis=0)
    expected = histogram_of(found.edges, whole, found.error**2, round(float(whole.sum())))
    yield NamedObject((*folder, f"{name}_expected"), th1(expected, f"{main}, expected;{axis};rows"))
    for particle, sums in found.expected.items():
        # The error of a part alone is not kept: that of the whole stands beside it.
        part = histogram_of(found.edges, sums, np.zeros_like(sums), round(float(sums.sum())))
        yield NamedObject(
            (*folder, f"{name}_expected_{particle}"), th1(part, f"{main}, expected {particle};{axis};rows")
        )
