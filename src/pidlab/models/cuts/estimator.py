"""Cuts: one window for each feature, optimised at all working points together, and nested so that there is a score."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from pidlab.errors import ModelError
from pidlab.evaluate.ranking import signal_scores
from pidlab.models.base import Classifier, Progress, TrainingRows, ValidationSet, choice, signal_index
from pidlab.models.cuts.edges import cut_edges
from pidlab.models.cuts.grid import Allowed, Array, BinnedColumns, Counter, Grid
from pidlab.models.cuts.nesting import best_per_target, nested_chains, nesting_points
from pidlab.models.cuts.options import allowed_windows, by_name, labels, scan
from pidlab.models.cuts.search import (
    Archive,
    BoxScan,
    anneal,
    evolve,
    search_archive,
    search_monte_carlo,
    search_one_by_one,
    swarm,
)
from pidlab.models.cuts.windows import Box, NestedPoint, Windows, level_scores, to_nearest_event
from pidlab.models.matrix import LazyMatrix, Matrix, column_of
from pidlab.models.missing import with_names
from pidlab.sample import BoolArray, FloatArray

_SEARCHES: Mapping[str, Callable[..., Archive]] = {
    "archive": search_archive,
    "genetic": partial(search_one_by_one, evolve),
    "swarm": partial(search_one_by_one, swarm),
    "annealing": partial(search_one_by_one, anneal),
    "monte-carlo": search_monte_carlo,
}
_GENERATIONS, _GENERATIONS_A_FEATURE = 60, 30
_OPTIONS = ("nested", "search", "efficiencies", "generations", "seed")


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class Cuts(Classifier):
    """Rectangular cuts, optimised for the least background at every signal efficiency of a scan.

    Each feature has one window with a low face, a high face, both or none. If `nested`, the box of a tighter working
    point lies inside that of every looser one, so a candidate has a score: the signal's share of the training weight
    between the tightest box that it passes and the next. `score > threshold` is exactly one of the boxes. Where the
    best boxes at two of `efficiencies` exclude each other, by more than a standard error and 2 % of the background, the
    looser point accepts the box of the tighter one or a second box: its cut string is `(…) || (…)`. If not `nested`,
    each efficiency has its own optimum and there is no score; use `decide`, `box` and `cut_string`.

    Missing values: NaN passes a window without faces and fails every other window, as in ROOT, where a comparison with
    NaN is false. With more than two classes there is one chain for each class against all others.

    Args:
        nested: whether boxes form one chain with a score; otherwise each efficiency has its own optimum.
        search: "archive" (all efficiencies at once) or, for comparison, "genetic", "swarm", "annealing" or
            "monte-carlo".
        sides: feature index or name to "auto" (the optimiser decides), "min" (x > cut only), "max" (x < cut only),
            "both" (always both faces, at the loosest just outside the training signal).
        ranges: feature index or name to (low, high), within which faces may lie.
        min_width: feature index or name to the least width of a window that has both faces.
        efficiencies: signal efficiencies that matter most: half of the search is spent on them, and without `nested`
            only they have a box. With `nested` the chain has a box for each of them, as good as nesting allows
            (`nesting_`). None: a scan from 0.3 to 0.999, of equal importance.
        signal: label of the signal; None: the last class.
        feature_names: d names for `sides`, `ranges`, `min_width` and cut strings; None: those of a data frame, or
            x0, x1, …
        generations: the largest number of generations of the search; None: a number that suits the features.
        seed: the seed of the search; the same seed gives the same boxes.

    Attributes:
        boxes_: the boxes of the signal against the rest, loose to tight.
        windows_: the boxes of each class that has some: (signal,) for two classes, else one entry for each class.
        nesting_: the cost of nesting at each of `efficiencies`, for the signal; empty without `nested`.
        history_: "background", the mean over the scan after each generation, for the signal.
    """

    kind = "cuts"
    file = "cuts.json"
    mark = ("model", "cuts")
    x_types = (np.float64, np.float32)
    nested: bool = True
    search: str = "archive"
    sides: Mapping[int | str, str] | None = None
    ranges: Mapping[int | str, tuple[float, float]] | None = None
    min_width: Mapping[int | str, float] | None = None
    efficiencies: Sequence[float] | None = None
    signal: Any = None
    feature_names: Sequence[str] | None = None
    generations: int | None = None
    seed: int = 0

    def _check_options(self) -> None:
        choice("cuts", "search", self.search, _SEARCHES)

    def _rows(self, X: Any, y: Any, sample_weight: Any) -> TrainingRows:
        """Returns checked rows.

        Raises:
            TrainingDataError: there is only one class, or a class has no weight.
        """
        if isinstance(X, LazyMatrix):
            self.n_features_in_, y = X.n_columns, np.asarray(y)
        else:
            X, y = validate_data(self, with_names(X), y, dtype=self.x_types, ensure_all_finite="allow-nan")
        weight = _check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
        self.classes_, index = labels(y, weight)
        if weight.min() == 0:
            used = np.flatnonzero(weight)
            X, index, weight = X.take(used) if isinstance(X, LazyMatrix) else X[used], index[used], weight[used]
        return TrainingRows(X, index, weight)

    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Optimises the boxes on rows that were checked; `validation` is not used.

        Raises:
            ModelError: an option has an unknown feature or value.
        """
        self._signal_index = signal_index("cuts", self.signal, self.classes_)
        allowed = allowed_windows(self._names(), self.sides, self.ranges, self.min_width)
        wanted = scan(self.efficiencies)
        self.history_ = {"background": []}
        found = {
            k: self._fit_class(rows.x, rows.label == k, rows.weight, allowed, wanted, self._report(k, progress))
            for k in self._with_windows
        }
        self.windows_ = tuple(windows for windows, _ in found.values())
        self.nesting_ = found[self._signal_index][1]

    def _fit_class(
        self, X: Matrix, is_signal: BoolArray, weight: Array, allowed: Sequence[Allowed], wanted: BoxScan,
        report: Callable[[int, int, Archive], None],
    ) -> tuple[Windows, tuple[NestedPoint, ...]]:  # fmt: skip
        """Returns the boxes of one class against the rest, and the cost of nesting."""
        edges = [cut_edges(column_of(X, j), is_signal, weight, a) for j, a in enumerate(allowed)]
        grid = Grid.of(edges, allowed)
        classes = [BinnedColumns.of(X, weight, edges, np.flatnonzero(rows)) for rows in (is_signal, ~is_signal)]
        rng = np.random.default_rng(self.seed)
        generations = (
            _GENERATIONS + _GENERATIONS_A_FEATURE * X.shape[1] if self.generations is None else self.generations
        )
        event = float(weight[is_signal].min() / weight[is_signal].sum())
        to_search = BoxScan(to_nearest_event(wanted.targets, event), to_nearest_event(wanted.wanted, event))
        archive = _SEARCHES[self.search](Counter(grid, *classes), to_search, rng, generations, report)
        if not self.nested:
            boxes = best_per_target(archive)
            faces = grid.values(boxes.low, boxes.high)
            return Windows(*faces, boxes.efficiency, boxes.background, np.empty(0), event), ()
        chains = nested_chains(archive, rng)
        boxes = reduce(operator.add, chains)
        yields = float(weight[is_signal].sum()), float(weight[~is_signal].sum())
        scores = level_scores(boxes.efficiency, boxes.background, *yields)
        starts = tuple(itertools.accumulate((len(chain) for chain in chains[:-1]), initial=0))
        faces = grid.values(boxes.low, boxes.high)
        windows = Windows(*faces, boxes.efficiency, boxes.background, scores, event, starts)
        return windows, nesting_points(archive, boxes, wanted.wanted)

    def _report(self, class_index: int, progress: Progress | None) -> Callable[[int, int, Archive], None]:
        """Returns the function that records the history of the signal after each generation and reports progress."""
        turn, turns = self._with_windows.index(class_index), len(self._with_windows)

        def report(done: int, total: int, archive: Archive) -> None:
            background = archive.mean_background()
            if class_index == self._signal_index:
                self.history_["background"].append(background)
            if progress is not None:
                progress(turn * total + done, turns * total, {"background": background})

        return report

    @property
    def _with_windows(self) -> list[int]:
        """The classes that have windows: the signal if there are two classes, otherwise all."""
        return [self._signal_index] if len(self.classes_) == 2 else list(range(len(self.classes_)))

    @property
    def boxes_(self) -> Windows:
        """The boxes of the signal against the rest, loose to tight."""
        check_is_fitted(self, "windows_")
        return self.windows_[self._with_windows.index(self._signal_index)]

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) float32; of two classes the other one has one minus the signal's score.

        Raises:
            ModelError: the boxes are not nested.
        """
        check_is_fitted(self, "windows_")
        if not self.nested:
            raise ModelError(
                "cuts with nested: false have no score, each efficiency has a box of its own; "
                "use decide(X, efficiency), or nested: true"
            )
        scores = np.stack([w.score(np.asarray(X)) for w in self.windows_], axis=1).astype(np.float32)
        if len(self.classes_) > 2:
            return scores
        return signal_scores(scores[:, 0], 2, self._signal_index, probability=True)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns the scores (n, k), scaled so that each row sums to 1.

        Raises:
            ModelError: the boxes are not nested.
        """
        scores = self.scores(self._checked(X, self.x_types)).astype(np.float64)
        if len(self.classes_) > 2:
            scores += 1e-9  # a candidate outside all boxes may be of any class
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))

    def decide(self, X: Any, efficiency: float) -> BoolArray:
        """Returns whether each row of X (n, d) passes the box of this signal efficiency, (n,).

        Raises:
            ModelError: no box keeps that much signal.
        """
        return self.box(efficiency).passes(self._checked(X, self.x_types))

    def box(self, efficiency: float) -> Box:
        """Returns the tightest box that kept this share of the training signal, to the nearest event.

        Of 78 signal events 70 are nearest to 90 %, so the box keeps at least 89.7 %. If weights differ, it keeps at
        least the share minus half of the lightest event.

        Raises:
            ModelError: no box keeps that much signal.
        """
        return self.boxes_.at_efficiency(efficiency)

    def threshold_box(self, threshold: float) -> Box:
        """Returns the box that `score > threshold` means for the signal's score.

        Raises:
            ModelError: the boxes are not nested.
        """
        if len(self.boxes_.level_score) == 0:
            raise ModelError("cuts with nested: false have no score and no threshold; use box(efficiency)")
        return self.boxes_.above(threshold)

    def cut_string(self, efficiency: float, names: Sequence[str] | None = None) -> str:
        """Returns the box of this signal efficiency as a ROOT cut string; `names` are d branches or expressions."""
        return self.box(efficiency).cut_string(self._names() if names is None else names)

    def _names(self) -> list[str]:
        """Returns d names: `feature_names`, those of a data frame, or x0, x1, …"""
        names = self.feature_names if self.feature_names is not None else getattr(self, "feature_names_in_", None)
        names = [f"x{j}" for j in range(self.n_features_in_)] if names is None else [str(name) for name in names]
        if len(names) != self.n_features_in_:
            raise ModelError(f"cuts: feature_names has {len(names)} names for {self.n_features_in_} features")
        return names

    def _stated(self) -> dict[str, Any]:
        names = self._names()
        options = {key: getattr(self, key) for key in _OPTIONS}
        if self.efficiencies is not None:
            options["efficiencies"] = [float(e) for e in self.efficiencies]
        return {
            "options": options,
            "sides": by_name(names, self.sides),
            "ranges": by_name(names, self.ranges),
            "min_width": by_name(names, self.min_width),
            "feature_names": names,
        }

    @classmethod
    def _parameters_in(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        limits = {key: content[key] for key in ("sides", "ranges", "min_width", "feature_names")}
        options = {key: value for key, value in content["options"].items() if key != "figure_of_merit"}  # older files
        return {**options, **limits, "signal": content["classes"][content["signal"]]}

    def _fitted(self) -> dict[str, Any]:
        return {
            "classes": self.classes_.tolist(),
            "signal": self._signal_index,
            "windows": [w.to_json() for w in self.windows_],
            "nesting": [list(point) for point in self.nesting_],
        }

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        self._signal_index = int(content["signal"])
        self.windows_ = tuple(Windows.from_json(w) for w in content["windows"])
        super()._restore({**content, "n_features": self.windows_[0].low.shape[1]}, directory)
        if len(self.windows_) != len(self._with_windows) or not 0 <= self._signal_index < len(self.classes_):
            raise ValueError("the classes do not go with the boxes")
        if len({w.low.shape[1] for w in self.windows_}) > 1 or len(self._names()) != self.n_features_in_:
            raise ValueError("the features do not go with the boxes")
        if len({len(w.level_score) > 0 for w in self.windows_} | {bool(self.nested)}) > 1:
            raise ValueError("nested boxes have scores, others none")
        self.nesting_ = tuple(NestedPoint(*map(float, point)) for point in content.get("nesting", []))
