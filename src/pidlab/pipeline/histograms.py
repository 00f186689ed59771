"""Histograms of results as objects of the hist package, by the names that they have in `results.root`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from pidlab.errors import UsageError, nearest
from pidlab.evaluate.results import Histogram, Results
from pidlab.rootio.results.run import named_objects

_Joined = tuple[tuple[str, ...], Mapping[tuple[str, ...], Histogram]]


class HistogramsByName(Mapping[str, Any]):
    """The histograms of results, made when they are asked for.

    `MODEL/response` has the axes subset (train, validation, test), class and score, and `inputs/FEATURE` the axes class
    and value. All other names are those of the histograms in `results.root`.
    """

    def __init__(self, results: Results) -> None:
        self._results = results

    @cached_property
    def _objects(self) -> dict[str, Any]:
        """Name to histogram as ROOT has it."""
        return {name: content for name, content in named_objects(self._results) if hasattr(content, "to_hist")}

    @cached_property
    def _joined(self) -> dict[str, _Joined]:
        """Name to the names of the leading axes, and the histogram for each of their bins."""
        joined: dict[str, _Joined] = {}
        for name, model in self._results.models.items():
            found: dict[tuple[str, ...], Histogram] = {
                (part, c): h for part, by_class in model.response.items() for c, h in by_class.items()
            }
            if found:
                joined[f"{name}/response"] = ("subset", "class"), found
        for feature, by_class in self._results.inputs.items():
            joined[f"inputs/{feature}"] = ("class",), {(c,): h for c, h in by_class.items()}
        return joined

    def __getitem__(self, name: str) -> Any:
        if name in self._joined:
            return self._join(name)
        if name not in self._objects:
            raise UsageError(f"there is no histogram {name!r}; {nearest(name, list(self))}")
        return self._objects[name].to_hist()

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self._joined, *self._objects])

    def __len__(self) -> int:
        return len({*self._joined, *self._objects})

    def __repr__(self) -> str:
        return f"<{len(self)} histograms: {', '.join(list(self)[:5])}, …>"

    def _join(self, name: str) -> Any:
        """Returns the histograms of several samples or classes as one with categories."""
        import hist

        axes, found = self._joined[name]
        edges = next(iter(found.values())).edges
        label = name.rpartition("/")[2] if name.startswith("inputs/") else f"score for {self._results.signal}"
        categories = [
            hist.axis.StrCategory(list(dict.fromkeys(key[i] for key in found)), name=axis)
            for i, axis in enumerate(axes)
        ]
        variable = "value" if name.startswith("inputs/") else "score"
        joined = hist.Hist(
            *categories, hist.axis.Variable(edges, name=variable, label=label), storage=hist.storage.Weight()
        )
        view = joined.view(flow=True)
        for key, histogram in found.items():
            at = tuple(axis.index(part) for axis, part in zip(categories, key, strict=True))
            view[at] = np.stack([histogram.sumw, histogram.sumw2], axis=1).view(view.dtype)[:, 0]
        return joined
