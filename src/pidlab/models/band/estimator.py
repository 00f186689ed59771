"""Band: the distance of a candidate from the signal's mean, which follows other quantities, in units of its width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from pidlab.config.schema import sigma_names, sigma_point
from pidlab.errors import ModelError, nearest
from pidlab.evaluate.intervals import effective_number
from pidlab.evaluate.ranking import signal_scores
from pidlab.models.band.curves import Array
from pidlab.models.band.shapes import (
    SHAPES,
    BandCurves,
    BandSample,
    Core,
    ShapeOptions,
    Side,
    curves_from_json,
    fit_shape,
)
from pidlab.models.base import (
    Classifier,
    Progress,
    TrainingDataError,
    TrainingRows,
    ValidationSet,
    choice,
    signal_index,
)
from pidlab.models.threads import one_thread
from pidlab.sample import FloatArray

_FEWEST = 50  # effective signal events; a group with fewer takes the band of all groups
_SLICES = 20  # of equal width, in which the notes count the events that were fitted
_RIDGE = 1e-4  # on the slope of the log-odds, for a total weight of 1
_OPTIONS = ("variables", "against", "by", "shape", "degree", "core", "sides", "sigma")


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class Band(Classifier):
    """The signal's mean μ(x) and width σ(x) of one or more variables, and the distance from them.

    The columns of X are the variables, then the quantities x that the band follows, then the branch `by`, of which each
    integer value has a band of its own. With nσ = (value - μ(x)) / σ(x) of each variable, the score of the signal is
    minus the combined distance, -√Σ nσ², and the score of the other one of two classes is plus that. With more than two
    classes only the signal has a score.

    μ and σ are those of the core of the signal in training. Tails and events of other classes among the signal are part
    of the fitted density, so they do not move the core (`models.band.fit`). Beyond the range of x in training the
    curves are constant.

    Missing values: a variable that is NaN has no distance and adds nothing to the sum. A candidate without any
    distance, because all variables, a quantity of x or its `by` is missing or `by` has a value that was not seen in
    training, has the score NaN, which passes no cut.

    Args:
        variables: names of the first columns of X; None: all columns that are neither x nor `by`.
        against: name or names of one or two columns that μ and σ are functions of, or of any number for a network;
            None: they are constants.
        by: name of the last column, which has integers; None: one band for all.
        shape: "spline", "polynomial", "clas12", p0 (p1 + p2/x + p3/x²) for μ and for σ, or "network".
        degree: of the polynomial.
        core: "symmetric", or "asymmetric": the widths below and above the mean differ.
        sides: which deviations count: "low" those below the mean, "high" those above, "both"; or a dict by variable.
        sigma: a number of widths, or a list, each of which is a fixed working point.
        signal: label of the signal; None: the last class.
        seed: of random choices.

    Attributes:
        variables_: names (v,) of the variables.
        groups_: integers (g,), the values of `by` that have a band; 0 without `by`.
        curves_: for each variable and group the fitted curves.
    """

    kind = "band"
    file = "band.json"
    probability = False  # scores are distances
    knows_signal_only = True
    variables: Sequence[str] | str | None = None
    against: Sequence[str] | str | None = None
    by: str | None = None
    shape: str = "spline"
    degree: int = 3
    core: Core = "symmetric"
    sides: Side | Mapping[str, Side] = "both"
    sigma: float | Sequence[float] | None = None
    signal: Any = None
    seed: int = 0

    # --- the columns of X

    @property
    def n_against(self) -> int:
        """The number of quantities that μ and σ are functions of."""
        return len(_texts(self.against))

    @property
    def n_groups(self) -> int:
        """The number of values of `by` that have a band."""
        return len(self.groups_)

    def _read_columns(self, n_columns: int) -> None:
        """Sets the names of the variables, and which side of each counts.

        Raises:
            ModelError: the names do not go with the columns, or an option is none of its values.
        """
        choice("band", "shape", self.shape, SHAPES)
        choice("band", "core", self.core, ("symmetric", "asymmetric"))
        behind = self.n_against + (self.by is not None)
        stated = _texts(self.variables)
        if self.variables is None and n_columns > behind:
            stated = [f"x{j}" for j in range(n_columns - behind)]
        if self.n_against > 2 and self.shape != "network":
            raise ModelError(
                f"band: against names {self.n_against} quantities; a band follows one or two, or more by shape network"
            )
        if self.shape == "network" and self.core != "symmetric":
            raise ModelError("band: a network has one width; take core symmetric, or another shape")
        if not stated or len(stated) + behind != n_columns:
            raise ModelError(
                f"band: X has {n_columns} columns, for {len(stated)} variables, {self.n_against} quantities that they "
                f"are followed against{' and the branch by' if self.by is not None else ''}"
            )
        if self.shape == "clas12" and self.n_against != 1:
            raise ModelError("band: the shape clas12 is a function of one quantity; take spline or polynomial")
        self.variables_ = tuple(stated)
        sides = self.sides if isinstance(self.sides, Mapping) else dict.fromkeys(stated, self.sides)
        for name, side in sides.items():
            if name not in stated:
                raise ModelError(f"band: sides speaks of a variable {name!r}; {nearest(str(name), stated)}")
            choice("band", f"sides[{name}]", side, ("low", "high", "both"))
        self.sides_ = tuple(sides.get(name, "both") for name in stated)

    def _parts(self, X: FloatArray) -> tuple[Array, Array, Array | None]:
        """Returns the variables (n, v), the quantities x (n, d) (one constant if there is none), and `by` (n,)."""
        v, d = len(self.variables_), self.n_against
        values = np.asarray(X[:, :v], np.float64)
        x = np.asarray(X[:, v : v + d], np.float64) if d else np.zeros((len(X), 1))
        return values, x, np.asarray(X[:, v + d], np.float64) if self.by is not None else None

    # --- fit

    @one_thread()  # the matrices are small, and BLAS would wait for its other threads most of the time
    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Fits rows that were checked; `validation` decides when a network stops.

        Raises:
            ModelError: an option does not go with the columns.
            TrainingDataError: no signal event has a variable.
        """
        x, label, weight = rows.whole(np.float64)
        self._read_columns(x.shape[1])
        self._signal_index = signal_index("band", self.signal, self.classes_)
        self._notes: list[str] = []
        values, against, by = self._parts(x)
        known = np.isfinite(against).all(axis=1)
        groups = np.zeros(len(x)) if by is None else by
        is_signal = label == self._signal_index
        present = groups[np.isfinite(groups)]
        if (broken := present[present != np.round(present)]).size:
            raise ModelError(
                f"band: by: {self.by} holds {broken[0]:g}, which is no whole number; name a branch of whole numbers, "
                f"such as a sector, or bins of it, as in by: {{x: {self.by}, bins: [0.5, 1, 2]}}"
            )
        self.groups_ = np.unique(groups[is_signal & known & np.isfinite(groups)]).astype(np.int64)
        options = ShapeOptions(self.shape, self.degree, self.core, self.seed)
        self.curves_: tuple[tuple[BandCurves, ...], ...] = ()
        watched = None if validation is None else self._signal_of(validation)
        total = len(self.variables_) * max(self.n_groups, 1)
        for j, name in enumerate(self.variables_):
            usable = known & np.isfinite(values[:, j])
            fit = partial(self._fit_one, name, values[:, j], against, label, weight, options, watched)
            whole: BandCurves | None = None
            own: list[BandCurves] = []
            for group in self.groups_:
                chosen = usable & (groups == group)
                n = effective_number(weight[chosen & is_signal])
                if n < _FEWEST and self.n_groups > 1:
                    if whole is None:
                        whole = fit(usable)
                    self._notes.append(
                        f"{name}: {self.by} = {group} has {n:.0f} signal events in training, fewer than {_FEWEST}; "
                        "it takes the band of all groups together."
                    )
                    own.append(whole)
                else:
                    own.append(fit(chosen, group))
                if progress is not None:
                    progress(len(self.curves_) * self.n_groups + len(own), total, {})
            self.curves_ += (tuple(own),)
        self._fit_probability(x, label, weight)

    def _fit_one(
        self, name: str, values: Array, against: Array, label: NDArray[np.int64], weight: Array,
        options: ShapeOptions, watched: _Watched | None, rows: NDArray[np.bool_], group: int | None = None,
    ) -> BandCurves:  # fmt: skip
        """Returns the curves of one variable on some rows, and adds notes on slices with few events."""
        picked = [np.flatnonzero(rows & (label == k)) for k in range(len(self.classes_))]
        signal = picked.pop(self._signal_index)
        if len(signal) == 0:
            raise TrainingDataError(f"band: no signal event has {name} and what it is followed against")
        others = tuple((against[at], values[at], weight[at]) for at in picked if len(at))
        kept = None if watched is None else watched.of(self.variables_.index(name), group)
        sample = BandSample(against[signal], values[signal], weight[signal], others, kept)
        self._notes += self._thin_slices(name, group, sample)
        return fit_shape(sample, options)

    def _signal_of(self, validation: ValidationSet) -> _Watched | None:
        """Returns the signal of the validation sample; None if there is none."""
        rows = np.flatnonzero((validation.y == self.classes_[self._signal_index]) & (validation.weight > 0))
        if not len(rows):
            return None
        return _Watched(*self._parts(np.asarray(validation.x)[rows]), np.asarray(validation.weight, np.float64)[rows])

    def _thin_slices(self, name: str, group: int | None, sample: BandSample) -> list[str]:
        """Returns a note on the slices of x with few signal events; none for a constant band."""
        notes = []
        for j, quantity in enumerate(_texts(self.against)):
            x = sample.x[:, j]
            low, high = np.quantile(x, [0.001, 0.999])
            edges = np.linspace(low, high, _SLICES + 1)
            slot = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, _SLICES - 1)
            sums = (np.bincount(slot, w, _SLICES) for w in (sample.weight, sample.weight**2))
            first, second = (np.asarray(each, np.float64) for each in sums)
            n = np.divide(first**2, second, out=np.zeros(_SLICES), where=second > 0)
            thin = np.flatnonzero(n < _FEWEST)
            if len(thin) and high > low:
                where = f" for {self.by} = {group}" if self.by is not None and group is not None else ""
                listed = ", ".join(f"{edges[i]:.4g} to {edges[i + 1]:.4g} ({n[i]:.0f})" for i in thin[:5])
                more = f" and {len(thin) - 5} more" if len(thin) > 5 else ""
                notes.append(
                    f"{name}{where}: {len(thin)} of {_SLICES} slices of {quantity} have fewer than {_FEWEST} signal "
                    f"events in training, where the band rests on its neighbours: {listed}{more}."
                )
        return notes

    def _fit_probability(self, x: Array, label: NDArray[np.int64], weight: Array) -> None:
        """Fits the log-odds of the signal as a line in the distance, and the shares of the other classes."""
        distance = self._distance(self.signed(x))
        known = np.isfinite(distance)
        is_signal = label == self._signal_index
        totals = np.bincount(label, weight, len(self.classes_))
        rest = np.delete(totals, self._signal_index)
        self._shares = rest / rest.sum()
        prior = np.log(totals[self._signal_index] / rest.sum())
        self._line = (float(prior), 0.0)
        if known.any():
            self._line = _logistic_line(np.minimum(distance[known], 20.0), is_signal[known], weight[known], prior)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which slices and groups had few events in training."""
        return tuple(getattr(self, "_notes", ()))

    # --- the curves

    def mean(self, variable: int | str, group: int, against: Any) -> Array:
        """Returns μ (n,) of a variable (its name or number) in a group (a value of `by`) at x (n,) or (n, d)."""
        return self._curves(variable, group).value("mean", self._against(against))

    def width(self, variable: int | str, group: int, against: Any, side: str = "high") -> Array:
        """Returns σ (n,) of a variable in a group at x; `side` is "low" or "high", which differ if it is asymmetric."""
        return self._curves(variable, group).value(_SIDES[side], self._against(against))

    def mean_error(self, variable: int | str, group: int, against: Any) -> Array:
        """Returns the standard errors (n,) of `mean`."""
        return self._curves(variable, group).error("mean", self._against(against))

    def width_error(self, variable: int | str, group: int, against: Any, side: str = "high") -> Array:
        """Returns the standard errors (n,) of `width`."""
        return self._curves(variable, group).error(_SIDES[side], self._against(against))

    def _curves(self, variable: int | str, group: int) -> BandCurves:
        check_is_fitted(self, "curves_")
        if isinstance(variable, str):
            if variable not in self.variables_:
                raise ModelError(f"band: no variable is {variable!r}; {nearest(variable, self.variables_)}")
            variable = self.variables_.index(variable)
        at = np.flatnonzero(self.groups_ == group)
        if len(at) == 0:
            raise ModelError(f"band: there is no group {group}; groups are {', '.join(map(str, self.groups_))}")
        return self.curves_[variable][int(at[0])]

    def _against(self, against: Any) -> Array:
        x = np.asarray(against, np.float64)
        return x.reshape(-1, 1) if x.ndim < 2 else x

    # --- distances and scores

    def signed(self, X: FloatArray) -> Array:
        """Returns the signed distances nσ (n, v) of X (n, d), unchecked; NaN where there is none."""
        check_is_fitted(self, "curves_")
        values, against, by = self._parts(X)
        result = np.full(values.shape, np.nan)
        for g, group in enumerate(self.groups_):
            rows = slice(None) if by is None else np.flatnonzero(by == group)
            x = against[rows]
            for j in range(values.shape[1]):
                result[rows, j] = self.curves_[j][g].distances(values[rows, j], x)
        return result

    def _distance(self, signed: Array) -> Array:
        """Returns the combined distance (n,) from the signed ones (n, v); NaN where all are."""
        missing = np.isnan(signed)
        square = np.zeros(len(signed))
        for j, side in enumerate(self.sides_):
            z = np.where(missing[:, j], 0.0, signed[:, j])
            z = np.minimum(z, 0.0) if side == "low" else np.maximum(z, 0.0) if side == "high" else z
            square += z * z
        square[missing.all(axis=1)] = np.nan
        return np.sqrt(square)

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) float32: of the signal minus its distance, of the other one of two classes plus that."""
        with np.errstate(over="ignore"):  # infinitely far away is far enough
            score = (-self._distance(self.signed(X))).astype(np.float32)
        return signal_scores(score, len(self.classes_), self._signal_index, probability=False)

    @property
    def output_names(self) -> tuple[str, ...]:
        """`nsigma`, or with several variables `nsigma_` and the name of each."""
        stated = getattr(self, "variables_", None) or _texts(self.variables)
        return tuple(sigma_names(stated)) if stated else ()

    def outputs(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns the signed distances nσ (n, v) of unchecked X; NaN where there is none."""
        with np.errstate(over="ignore"):
            return self.signed(X).astype(np.float32)

    @property
    def fixed_points(self) -> tuple[tuple[str, float], ...]:
        """The working points of `sigma`, such as ("sigma3_5", -3.5)."""
        sigma = () if self.sigma is None else self.sigma if isinstance(self.sigma, Sequence) else (self.sigma,)
        return tuple((sigma_point(value), -float(value)) for value in sigma)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) probabilities that fall with the distance; rows sum to 1.

        The log-odds of the signal are a line in the distance, up to 20 widths, that was fitted in training. Other
        classes share the rest in the proportion of their weights in training, as a band knows nothing of them.
        """
        # of the score, as scores are rounded: candidates of one score have one probability, and none is out of order
        distance = -self.scores(self._checked(X))[:, self._signal_index].astype(np.float64)
        prior, slope = self._line
        odds = prior + slope * np.minimum(np.where(np.isnan(distance), 20.0, distance), 20.0)
        signal = 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
        rest = (1 - signal)[:, None] * self._shares
        return np.insert(rest, self._signal_index, signal, axis=1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # it knows the signal only, and no class among three others
        return tags

    # --- on disk

    def _stated(self) -> dict[str, Any]:
        options = {key: getattr(self, key) for key in _OPTIONS}
        for key, value in options.items():
            if isinstance(value, Sequence) and not isinstance(value, str):
                options[key] = list(value)
        return {"options": options | {"sides": dict(self.sides) if isinstance(self.sides, Mapping) else self.sides}}

    @classmethod
    def _parameters_in(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        return {**content["options"], "signal": content["classes"][int(content["signal"])]}

    def _fitted(self) -> dict[str, Any]:
        return {
            "classes": self.classes_.tolist(),
            "signal": self._signal_index,
            "groups": self.groups_.tolist(),
            "n_features": self.n_features_in_,
            "curves": [[curves.to_json() for curves in own] for own in self.curves_],
            "probability": {"line": list(self._line), "shares": self._shares.tolist()},
            "notes": list(self._notes),
        }

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        self._signal_index = int(content["signal"])
        self._read_columns(self.n_features_in_)
        self.groups_ = np.asarray(content["groups"], np.int64)
        self.curves_ = tuple(tuple(curves_from_json(self.shape, each) for each in own) for own in content["curves"])
        if len(self.curves_) != len(self.variables_) or {len(own) for own in self.curves_} != {self.n_groups}:
            raise ValueError("the curves do not go with the variables and the groups")
        prior, slope = map(float, content["probability"]["line"])
        self._line = (prior, slope)
        self._shares = np.asarray(content["probability"]["shares"], np.float64)
        if self._shares.shape != (len(self.classes_) - 1,) or not 0 <= self._signal_index < len(self.classes_):
            raise ValueError("the classes do not go with the shares")
        self._notes = [str(note) for note in content["notes"]]


class _Watched(NamedTuple):
    """The signal of a validation sample: variables (n, v), quantities x (n, d), groups (n,) or None, weight (n,)."""

    values: Array
    x: Array
    groups: Array | None
    weight: Array

    def of(self, variable: int, group: int | None) -> tuple[Array, Array, Array] | None:
        """Returns x, a variable and the weight in one group, None for all; None if nothing is left."""
        rows = np.isfinite(self.x).all(axis=1) & np.isfinite(self.values[:, variable])
        if group is not None and self.groups is not None:
            rows &= self.groups == group
        return (self.x[rows], self.values[rows, variable], self.weight[rows]) if rows.any() else None


_SIDES = {"low": "below", "high": "above"}


def _texts(value: Sequence[str] | str | None) -> list[str]:
    """Returns the texts of an option that is one text, several or none."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _logistic_line(distance: Array, is_signal: NDArray[np.bool_], weight: Array, prior: float) -> tuple[float, float]:
    """Returns the offset and the slope (not positive) of the log-odds of the signal, a line in the distance (n,).

    A ridge on the slope keeps it finite where classes do not overlap.
    """
    n_bins = 400
    slot = np.minimum((distance * (n_bins / 20.0)).astype(np.int64), n_bins - 1)
    weight = weight / weight.sum()
    signal, both = np.bincount(slot, weight * is_signal, n_bins), np.bincount(slot, weight, n_bins)
    design = np.stack([np.ones(n_bins), (np.arange(n_bins) + 0.5) * (20.0 / n_bins)], axis=1)
    line = np.array([prior, 0.0])
    for _ in range(50):
        odds = np.clip(design @ line, -30, 30)
        share = 1 / (1 + np.exp(-odds))
        curvature = (design * (both * share * (1 - share))[:, None]).T @ design + np.diag([1e-9, _RIDGE])
        step = np.linalg.solve(curvature, design.T @ (signal - both * share) - np.array([0.0, _RIDGE]) * line)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
        line = line + step
        if np.abs(step).max() < 1e-8:
            break
    return (float(line[0]), float(line[1])) if line[1] < 0 else (prior, 0.0)
