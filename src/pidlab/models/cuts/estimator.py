"""Cuts: one window a feature, all working points optimised together, nested so that there is a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from pidlab.errors import ModelError, nearest
from pidlab.models.base import Classifier, Progress, ValidationSet, read_json, write_json
from pidlab.models.cuts.boxes import Allowed, Array, BinnedColumns, Counter, Grid
from pidlab.models.cuts.classic import search_annealing, search_genetic, search_monte_carlo
from pidlab.models.cuts.edges import cut_edges
from pidlab.models.cuts.nesting import best_per_target, nested_chain, nesting_points
from pidlab.models.cuts.options import allowed_windows, by_name, choice, labels, scan
from pidlab.models.cuts.search import Archive, BoxScan, search_archive
from pidlab.models.cuts.windows import FIGURES, Box, NestedPoint, Windows, level_scores, optimum, to_nearest_event
from pidlab.sample import BoolArray, FloatArray

_SEARCHES: Mapping[str, Callable[..., Archive]] = {
    "archive": search_archive,
    "genetic": search_genetic,
    "annealing": search_annealing,
    "monte-carlo": search_monte_carlo,
}
_GENERATIONS, _GENERATIONS_A_FEATURE = 60, 30
_FILE = "cuts.json"
_OPTIONS = ("nested", "search", "efficiencies", "generations", "seed", "figure_of_merit")


class Cuts(Classifier):
    """Rectangular cuts, optimised for the least background at every signal efficiency of a scan.

    Each feature has one window with a low face, a high face, both or none. With `nested` the box of a tighter
    working point lies inside that of every looser one, so a candidate has a score: the signal's share of the training
    weight between the tightest box it passes and the next. `score > threshold` is one of the boxes, exactly. Without,
    each efficiency has its own optimum, there is no score, and `decide`, `box` and `cut_string` are what there is.

    Missing values: NaN passes a window that has no face and fails every window that has one, as in ROOT, where a
    comparison with NaN is false. More than two classes: one chain for each class against all others.

    A better box at a given efficiency is better by any figure of merit, so `figure_of_merit` changes nothing in the
    search: it picks one box of the result, `optimum_`. It counts signal and background by the weights of the
    training sample, which must then be the expected yields: "significance" S / sqrt(S + B), "punzi" efficiency / (3/2 +
    sqrt(B)) (Punzi, physics/0308063, at three sigma), "purity" S / (S + B).

    Args:
        nested: one chain with a score, or each efficiency its own optimum.
        search: "archive" (all efficiencies at once), or, to compare, "genetic", "annealing" or "monte-carlo".
        sides: feature index or name to "auto" (the optimiser decides), "min" (x > cut only), "max" (x < cut only),
            "both" (always both faces, at the loosest just outside the training signal).
        ranges: feature index or name to (low, high): where faces may lie.
        min_width: feature index or name to the least width of a window that has both faces.
        efficiencies: signal efficiencies that matter most: half of the search goes there, and without `nested` they
            are the ones that get a box. With `nested` the chain has a box for each of them, as good as nesting allows
            (`nesting_`). None: a scan from 0.3 to 0.999, none before another.
        signal: label of the signal; None: the last class.
        feature_names: d names for `sides`, `ranges`, `min_width` and cut strings; None: those of a data frame, or
            x0, x1, …
        generations: how long the search refines, at most; None: enough for the number of features.
        seed: of the search; the same seed gives the same boxes.
        figure_of_merit: "efficiency" (no single optimum), "significance", "punzi" or "purity".

    Attributes:
        boxes_: the boxes of the signal against the rest, loose to tight.
        windows_: the boxes of each class that has some: (signal,) for two classes, else one entry a class.
        nesting_: what nesting costs at each of `efficiencies`, for the signal; empty without `nested`.
        optimum_: the box of the best figure of merit; None for "efficiency".
        history_: "background", the mean over the scan after each generation, for the signal.
    """

    def __init__(
        self,
        nested: bool = True,
        search: str = "archive",
        sides: Mapping[int | str, str] | None = None,
        ranges: Mapping[int | str, tuple[float, float]] | None = None,
        min_width: Mapping[int | str, float] | None = None,
        efficiencies: Sequence[float] | None = None,
        signal: Any = None,
        feature_names: Sequence[str] | None = None,
        generations: int | None = None,
        seed: int = 0,
        figure_of_merit: str = "efficiency",
    ) -> None:
        self.nested = nested
        self.search = search
        self.sides = sides
        self.ranges = ranges
        self.min_width = min_width
        self.efficiencies = efficiencies
        self.signal = signal
        self.feature_names = feature_names
        self.generations = generations
        self.seed = seed
        self.figure_of_merit = figure_of_merit

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: ValidationSet | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Optimise the boxes on X (n, d), y (n,), weights (n,) not negative; `validation` is not looked at.

        Raises:
            ModelError: an option names no feature or no known value, or a class has no weight.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan")
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        self.classes_, index = labels(y, weight)
        self._signal_index = self._find_signal()
        allowed = allowed_windows(self._names(), self.sides, self.ranges, self.min_width)
        wanted, figure = scan(self.efficiencies), choice("figure_of_merit", self.figure_of_merit, FIGURES)
        choice("search", self.search, _SEARCHES)
        self.history_ = {"background": []}
        X, index, weight = X[weight > 0], index[weight > 0], weight[weight > 0]
        found = {
            k: self._fit_class(X, index == k, weight, allowed, wanted, self._report(k, progress))
            for k in self._with_windows
        }
        self.windows_ = tuple(windows for windows, _ in found.values())
        self.nesting_ = found[self._signal_index][1]
        is_signal = index == self._signal_index
        yields = float(weight[is_signal].sum()), float(weight[~is_signal].sum())
        self.optimum_ = optimum(self.boxes_, figure, *yields, float(wanted.targets[0]))
        return self

    def _fit_class(
        self, X: FloatArray, is_signal: BoolArray, weight: Array, allowed: Sequence[Allowed], wanted: BoxScan,
        report: Callable[[int, int, Archive], None],
    ) -> tuple[Windows, tuple[NestedPoint, ...]]:  # fmt: skip
        """Boxes of one class against the rest, and what nesting costs."""
        edges = [cut_edges(X[:, j], is_signal, weight, a) for j, a in enumerate(allowed)]
        grid = Grid.of(edges, allowed)
        classes = [BinnedColumns.of(X[rows], weight[rows], edges) for rows in (is_signal, ~is_signal)]
        rng = np.random.default_rng(self.seed)
        generations = (
            _GENERATIONS + _GENERATIONS_A_FEATURE * X.shape[1] if self.generations is None else self.generations
        )
        event = float(weight[is_signal].min() / weight[is_signal].sum())
        aim = BoxScan(to_nearest_event(wanted.targets, event), to_nearest_event(wanted.wanted, event))
        archive = _SEARCHES[self.search](Counter(grid, *classes), aim, rng, generations, report)
        boxes = nested_chain(archive, rng) if self.nested else best_per_target(archive)
        scores = np.empty(0)
        points: tuple[NestedPoint, ...] = ()
        if self.nested:
            points = nesting_points(archive, boxes, wanted.wanted)
            yields = float(weight[is_signal].sum()), float(weight[~is_signal].sum())
            scores = level_scores(boxes.efficiency, boxes.background, *yields)
        windows = Windows(*grid.values(boxes.low, boxes.high), boxes.efficiency, boxes.background, scores, event)
        return windows, points

    def _report(self, class_index: int, progress: Progress | None) -> Callable[[int, int, Archive], None]:
        """What to do after each generation: keep the history of the signal, tell the caller."""
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
        """Classes that have a chain of their own: the signal where there are two, else all."""
        return [self._signal_index] if len(self.classes_) == 2 else list(range(len(self.classes_)))

    @property
    def boxes_(self) -> Windows:
        """The boxes of the signal against the rest, loose to tight."""
        check_is_fitted(self, "windows_")
        return self.windows_[self._with_windows.index(self._signal_index)]

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """(n, k) float32; for two classes the other one has one minus the signal's score.

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
        if len(self.classes_) != 2:
            return scores
        pair = np.concatenate([1 - scores, scores], axis=1)
        return pair if self._signal_index == 1 else np.ascontiguousarray(pair[:, ::-1])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, k) the scores, scaled so that each row sums to 1.

        Raises:
            ModelError: the boxes are not nested.
        """
        check_is_fitted(self, "windows_")
        scores = self.scores(self._validated(X)).astype(np.float64)
        if len(self.classes_) > 2:
            scores += 1e-9  # a candidate outside all boxes is anything
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))

    def decide(self, X: Any, efficiency: float) -> BoolArray:
        """(n,) whether each row of X (n, d) passes the box of this signal efficiency.

        Raises:
            ModelError: no box keeps that much.
        """
        box = self.box(efficiency)
        return box.passes(self._validated(X))

    def box(self, efficiency: float) -> Box:
        """The tightest box that kept this share of the training signal, to the nearest event.

        Of 78 signal events 70 are nearest to 90 %, so the box keeps at least 89.7 %. Where weights differ, it keeps at
        least the share less half of the lightest event.

        Raises:
            ModelError: no box keeps that much.
        """
        return self.boxes_.at_efficiency(efficiency)

    def threshold_box(self, threshold: float) -> Box:
        """The box that `score > threshold` is, for the signal's score.

        Raises:
            ModelError: the boxes are not nested.
        """
        if len(self.boxes_.level_score) == 0:
            raise ModelError("cuts with nested: false have no score and no threshold; use box(efficiency)")
        return self.boxes_.above(threshold)

    def cut_string(self, efficiency: float, names: Sequence[str] | None = None) -> str:
        """The box of this signal efficiency as a ROOT cut string; names: d branches or expressions."""
        return self.box(efficiency).cut_string(self._names() if names is None else names)

    def _find_signal(self) -> int:
        """The index of the signal in `classes_`."""
        if self.signal is None:
            return len(self.classes_) - 1
        found = np.flatnonzero(self.classes_ == self.signal)
        if len(found) == 0:
            known = [str(c) for c in self.classes_]
            raise ModelError(f"cuts: signal is {self.signal!r}, which is no class; {nearest(str(self.signal), known)}")
        return int(found[0])

    def _names(self) -> list[str]:
        """d names: those given, those of a data frame, or x0, x1, …"""
        names = self.feature_names if self.feature_names is not None else getattr(self, "feature_names_in_", None)
        names = [f"x{j}" for j in range(self.n_features_in_)] if names is None else [str(name) for name in names]
        if len(names) != self.n_features_in_:
            raise ModelError(f"cuts: feature_names has {len(names)} names for {self.n_features_in_} features")
        return names

    def _validated(self, X: Any) -> FloatArray:
        """(n, d) X, checked against what was fitted."""
        check_is_fitted(self, "windows_")
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan", reset=False)
        return np.asarray(X)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def save(self, directory: Path) -> None:
        """Write `cuts.json`: options, classes, boxes."""
        check_is_fitted(self, "windows_")
        names = self._names()
        options = {key: getattr(self, key) for key in _OPTIONS}
        if self.efficiencies is not None:
            options["efficiencies"] = [float(e) for e in self.efficiencies]
        content = {
            "model": "cuts",
            "options": options,
            "sides": by_name(names, self.sides),
            "ranges": by_name(names, self.ranges),
            "min_width": by_name(names, self.min_width),
            "feature_names": names,
            "classes": self.classes_.tolist(),
            "signal": self._signal_index,
            "windows": [w.to_json() for w in self.windows_],
            "nesting": [list(point) for point in self.nesting_],
            "optimum": None if self.optimum_ is None else self.optimum_.efficiency,
        }
        write_json(directory / _FILE, content)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The model that `save` wrote.

        Raises:
            ModelError: the file is missing, damaged, or of another model.
        """
        path = directory / _FILE
        content = read_json(path)
        try:
            if content["model"] != "cuts":
                raise ValueError(f"it holds a model of type {content['model']!r}")
            limits = {key: content[key] for key in ("sides", "ranges", "min_width", "feature_names")}
            model = cls(**content["options"], **limits, signal=content["classes"][content["signal"]])
            model.classes_ = np.array(content["classes"])
            model._signal_index = int(content["signal"])
            model.windows_ = tuple(Windows.from_json(w) for w in content["windows"])
            model.n_features_in_ = model.windows_[0].low.shape[1]
            if len(model.windows_) != len(model._with_windows) or not 0 <= model._signal_index < len(model.classes_):
                raise ValueError("the classes do not go with the boxes")
            if len({w.low.shape[1] for w in model.windows_}) > 1 or len(model._names()) != model.n_features_in_:
                raise ValueError("the features do not go with the boxes")
            if len({len(w.level_score) > 0 for w in model.windows_} | {bool(model.nested)}) > 1:
                raise ValueError("nested boxes have scores, others none")
            model.history_ = {}
            model.nesting_ = tuple(NestedPoint(*map(float, point)) for point in content.get("nesting", []))
            optimum = content["optimum"]
            model.optimum_ = None if optimum is None else model.box(float(optimum))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ModelError(f"{path}: is no saved cuts ({error!r}); make the run again") from error
        return model
