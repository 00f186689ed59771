"""Likelihood: the sum of the detectors' log-likelihoods in each class, and with priors the classes' probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors
from sklearn.utils.validation import check_is_fitted

from pidlab.errors import ModelError, nearest
from pidlab.measured import Array
from pidlab.models.base import Classifier, Progress, TrainingRows, ValidationSet, choice, signal_index
from pidlab.models.likelihood.curves import FINE, axis_nodes, located
from pidlab.models.likelihood.detectors import DetectorDensity, as_events, fit_detector
from pidlab.models.likelihood.priors import add_priors, log_priors
from pidlab.models.likelihood.weights import fitted_weights
from pidlab.models.link import posterior
from pidlab.models.stored import read_arrays
from pidlab.models.threads import one_thread
from pidlab.sample import FloatArray

_ARRAYS = "likelihood.safetensors"
_MOST_SLICES = 16
_CHUNK = 65_536  # candidates whose margins are computed together and stay in the cache
_FEW = 200.0  # effective candidates of a class in a detector, below which its density is said to be rough


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class Likelihood(Classifier):
    """The product of the detectors' likelihoods, whose dependence on one variable such as the momentum is smooth.

    Each detector has one or two variables, with a density in each class. A variable is standardised by a robust
    centre and width of the class, which are smooth curves along `against`; the density of what is left is
    estimated in slices of `against` and interpolated between them. The logarithms of the densities are added over the
    detectors, as for independent detectors, and with the logarithm of the prior they give the probabilities.

    Missing values: a detector counts where all its variables are finite, and adds nothing elsewhere. Without `against`
    no detector counts, and the probabilities are the priors.

    No density is zero or infinite. Its tail is exponential (with `density` "kernel" that of the widest kernels) down to
    a thousandth of a training candidate of the rarest class within one width, and constant from there, so that a value
    far from every class says little.

    Weights of training decide how much a candidate counts within its class; the abundances of the classes matter only
    with `priors` "sample". Weights that are all whole numbers count repeated rows, as scikit-learn takes them; others
    have the effective number (Σw)² / Σw².

    Args:
        detectors: name to one or two columns of X, by number or by name; None: a detector for each column.
        against: the column of X along which the densities change; None: nothing.
        priors: class to its abundance, or "sample" for those of the training sample along `against`; None: equal.
        weights: "fit" learns a weight for each detector and class on validation, see `weights`; "none": all are 1.
        density: "histogram", smoothed by a penalty, or "kernel", adaptive. Two variables always take the kernel.
        slices: the number of slices of `against`; None: up to 16, by the size of the sample.
        bins: the number of bins of the table of a density.
        feature_names: d names of the columns; None: those of a data frame. If a text of `detectors` or `against` is not
            among the names that are given here, or there are no names, the columns are the detectors' variables in
            order and then `against`.
        class_names: k names of the classes for `priors` and outputs; None: the labels.
        signal: label of the class that `outputs` compares with the others; None: the last one.

    Attributes:
        axis_: (N,) the nodes of `against`, and against_ its column; None without it.
        detectors_: the densities of each detector.
        weights_: (D, k) the weight of each detector for each class.
        log_prior_: (S, k) logarithms of the abundances in each slice, and log_prior_missing_ (k,) without `against`.
    """

    kind = "likelihood"
    file = "likelihood.json"
    mark = ("format", 1)
    axis_: Array = field(init=False)
    against_: int | None = field(init=False)
    detectors_: tuple[DetectorDensity, ...] = field(init=False)
    weights_: Array = field(init=False)
    log_prior_: Array = field(init=False)
    log_prior_missing_: Array = field(init=False)
    detectors: Mapping[str, Sequence[int | str]] | None = None
    against: int | str | None = None
    priors: Mapping[Any, float] | str | None = None
    weights: str = "none"
    density: str = "histogram"
    slices: int | None = None
    bins: int = 160
    feature_names: Sequence[str] | None = None
    class_names: Sequence[str] | None = None
    signal: Any = None

    def _check_options(self) -> None:
        choice("likelihood", "weights", self.weights, ("none", "fit"))
        choice("likelihood", "density", self.density, ("histogram", "kernel"))

    @one_thread()  # the matrices are so small that several threads would only wait for each other
    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Estimates the densities; `validation` is used by `weights` "fit" alone, which else takes the training sample.

        Raises:
            ModelError: an option names no column or class.
        """
        x, label, weight = rows.whole(np.float64)
        counts, scale = _repeats(rows.weight)
        weight = weight * scale
        self._signal_index = signal_index("likelihood", self.signal, self.classes_)
        columns, against = self._columns()
        shape = self._set_axis(x, label, weight, against, counts=counts)
        place = self._places(x, against)
        events = as_events(weight, counts=counts)
        self.against_ = against
        self.log_prior_, self.log_prior_missing_ = log_priors(
            self.priors, self._class_names(), place, label, events, shape[2]
        )
        fitted = []
        for i, (name, own) in enumerate(columns.items()):
            fitted.append(fit_detector(name, own, x, place, label, weight, counts, shape, int(self.bins), self.density))
            if progress is not None:
                progress(i + 1, len(columns), {})
        self.detectors_ = tuple(fitted)
        self.weights_ = np.ones((len(fitted), len(self.classes_)))
        self._weights_from = ""
        if self.weights == "fit":
            self._fit_weights(x, label, weight, validation, counts=counts)

    def _set_axis(
        self, x: Array, label: NDArray[np.int64], weight: Array, against: int | None, *, counts: bool
    ) -> tuple[int, int, int]:
        """Sets `axis_`, and returns the number of classes, of nodes and of slices."""
        k = len(self.classes_)
        if against is None:
            self.axis_ = np.zeros(1)
            return k, 1, 1
        known = np.isfinite(x[:, against])
        if not known.any():
            raise ModelError("likelihood: `against` is missing for every candidate of training")
        sums = [float(as_events(weight[label == c], counts=counts).sum()) for c in range(k)]
        n_slices = self.slices or int(np.clip(np.cbrt(min(sums)) / 2, 2, _MOST_SLICES))
        balanced = weight / np.bincount(label, weight, k)[label]
        self.axis_ = axis_nodes(x[known, against], balanced[known], n_slices)
        n_nodes = len(self.axis_)
        return k, n_nodes, (n_nodes - 1) // FINE + 1

    def _places(self, x: NDArray[Any], against: int | None) -> Array:
        if against is None:
            return np.zeros(len(x))
        return np.asarray(located(np.asarray(x[:, against], np.float64), self.axis_), np.float64)

    def _fit_weights(
        self, x: Array, label: NDArray[np.int64], weight: Array, given: ValidationSet | None, *, counts: bool
    ) -> None:
        """Sets `weights_` from validation, whose classes have the abundances of the priors."""
        self._weights_from = "training, as there is no validation sample"
        if given is not None:
            kept = (np.asarray(given.weight) > 0) & np.isin(given.y, self.classes_)
            x, weight = np.asarray(given.x, np.float64)[kept], np.asarray(given.weight, np.float64)[kept]
            label = np.searchsorted(self.classes_, np.asarray(given.y)[kept])
            self._weights_from, counts = "validation", False
        place = self._places(x, self.against_)
        n_effective = as_events(weight, counts=counts).sum()
        if self.priors != "sample":
            share = np.exp(self.log_prior_missing_) / np.maximum(np.bincount(label, weight, len(self.classes_)), 1e-300)
            weight = weight * share[label]
        terms = np.zeros((len(self.detectors_), len(x), len(self.classes_)))
        for own, detector in zip(terms, self.detectors_, strict=True):
            detector.add(x, place, np.ones(len(self.classes_)), own)
        weight = weight * (n_effective / weight.sum())
        self.weights_ = fitted_weights(terms, self._log_prior_at(place), label, weight)

    def _log_prior_at(self, place: Array) -> Array:
        return add_priors(place, self.log_prior_, self.log_prior_missing_, len(self.log_prior_))

    def log_likelihoods(self, X: FloatArray, detectors: Sequence[str] | None = None) -> Array:
        """Returns (n, k) weighted log-likelihoods of unchecked X, relative in each detector to its likeliest class.

        Args:
            X: (n, d) values, NaN where missing.
            detectors: the names of the detectors that count; None: all.

        Raises:
            ModelError: a name is of no detector.
        """
        out = np.zeros((len(X), len(self.classes_)))
        self._add(X, self._places(X, self.against_), self._chosen(detectors), out)
        return out

    def _add(self, X: NDArray[Any], place: Array, chosen: Sequence[int], out: Array) -> None:
        for i in chosen:
            self.detectors_[i].add(X, place, self.weights_[i], out)

    def _chosen(self, names: Sequence[str] | None) -> list[int]:
        known = [detector.name for detector in self.detectors_]
        for name in names or ():
            if name not in known:
                raise ModelError(f"likelihood: {name!r} is no detector; {nearest(name, known)}")
        return [i for i, name in enumerate(known) if names is None or name in names]

    @property
    def detector_names(self) -> tuple[str, ...]:
        """The names of the detectors, in their order."""
        check_is_fitted(self, "detectors_")
        return tuple(detector.name for detector in self.detectors_)

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns the (n, k) float32 class probabilities of unchecked X (n, d)."""
        return self.scores_of(X)

    def scores_of(self, X: FloatArray, detectors: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Returns the (n, k) float32 class probabilities from some of the detectors, with the weights of the fit.

        Args:
            X: (n, d) values, unchecked, NaN where missing.
            detectors: the names of the detectors that count; None: all.

        Raises:
            ModelError: a name is of no detector.
        """
        return self._probabilities(np.asarray(X), self._chosen(detectors)).astype(np.float32)

    def _probabilities(self, X: NDArray[Any], chosen: Sequence[int]) -> Array:
        out = np.empty((len(X), len(self.classes_)))
        for start in range(0, len(X), _CHUNK):
            part = slice(start, start + _CHUNK)
            place = self._places(X[part], self.against_)
            margins = self._log_prior_at(place)
            self._add(X[part], place, chosen, margins)
            if margins.shape[1] == 2:
                margins = margins[:, 1:] - margins[:, :1]
            out[part] = posterior(margins)
        return out

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) class probabilities; rows sum to 1."""
        return self._probabilities(self._checked(X), range(len(self.detectors_)))

    @property
    def output_names(self) -> tuple[str, ...]:
        """`dll_CLASS` for each class but the signal."""
        names = self._class_names()
        return tuple(f"dll_{name}" for i, name in enumerate(names) if i != self._signal_index)

    def outputs(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k - 1) float32: log-likelihood of the signal minus that of each other class, without priors.

        It is 0 where no detector has measured.
        """
        found = self.log_likelihoods(np.asarray(X))
        others = [i for i in range(found.shape[1]) if i != self._signal_index]
        return np.asarray(found[:, [self._signal_index]] - found[:, others], np.float32)

    @property
    def notes(self) -> tuple[str, ...]:
        """The classes whose densities rest on few candidates, and the fitted weights, in sentences."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        names = self._class_names()
        for detector in self.detectors_:
            for name, n in zip(names, detector.n_effective, strict=True):
                if n == 0:
                    yield (
                        f"The detector {detector.name} measured no {name} in training: its density for {name} is that "
                        "of all classes together."
                    )
                elif n < _FEW:
                    yield (
                        f"The density of {name} in the detector {detector.name} rests on {n:.0f} effective candidates."
                    )
        if self.weights == "fit":
            listed = "; ".join(
                f"{detector.name} {', '.join(f'{name} {w:.2f}' for name, w in zip(names, own, strict=True))}"
                for detector, own in zip(self.detectors_, self.weights_, strict=True)
            )
            where = f" (fitted on {self._weights_from})" if self._weights_from else ""
            yield f"Weights of the detectors{where}: {listed}."

    def _class_names(self) -> list[str]:
        names = [str(c) for c in self.classes_] if self.class_names is None else [str(c) for c in self.class_names]
        if len(names) != len(self.classes_):
            raise ModelError(f"likelihood: class_names has {len(names)} names for {len(self.classes_)} classes")
        return names

    def _columns(self) -> tuple[dict[str, tuple[int, ...]], int | None]:
        """Returns the columns of each detector, and that of `against`."""
        d = self.n_features_in_
        names = self.feature_names if self.feature_names is not None else getattr(self, "feature_names_in_", None)
        known = [] if names is None else [str(name) for name in names]
        asked: dict[str, Sequence[int | str]] = {}
        if self.detectors is None:
            against = None if self.against is None else self._column(self.against, known, d)
            return {known[j] if known else f"x{j}": (j,) for j in range(d) if j != against}, against
        for name, own in self.detectors.items():
            asked[str(name)] = [own] if isinstance(own, int | str) else list(own)
            if not 1 <= len(asked[str(name)]) <= 2:
                raise ModelError(
                    f"likelihood: the detector {name} has {len(own)} variables; give one, or two that are taken jointly"
                )
        wanted = [each for own in asked.values() for each in own]
        wanted += [] if self.against is None else [self.against]
        if not wanted:
            raise ModelError("likelihood: detectors is empty; name one at least")
        in_order = len(wanted) == d and (self.feature_names is not None or not known)
        if in_order and any(isinstance(each, str) and each not in known for each in wanted):
            places = iter(range(d))
        else:
            places = iter([self._column(each, known, d) for each in wanted])
        columns = {name: tuple(next(places) for _ in own) for name, own in asked.items()}
        return columns, None if self.against is None else next(places)

    @staticmethod
    def _column(wanted: int | str, known: Sequence[str], d: int) -> int:
        if isinstance(wanted, str):
            if wanted not in known:
                raise ModelError(f"likelihood: {wanted!r} is no column; {nearest(wanted, known)}")
            return known.index(wanted)
        if not 0 <= wanted < d:
            raise ModelError(f"likelihood: there is no column {wanted}; X has {d}, numbered from 0")
        return int(wanted)

    def save(self, directory: Path) -> None:
        """Writes `likelihood.json` with the options, and `likelihood.safetensors` with the tables."""
        super().save(directory)
        arrays: dict[str, NDArray[Any]] = {"axis": self.axis_, "weights": self.weights_, "log_prior": self.log_prior_}
        arrays["log_prior_missing"] = self.log_prior_missing_
        for i, each in enumerate(self.detectors_):
            arrays |= {
                f"detector{i}.curves": each.curves,
                f"detector{i}.tables": each.tables,
                f"detector{i}.n_effective": each.n_effective,
            }
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        (directory / _ARRAYS).write_bytes(to_safetensors(whole))

    def _fitted(self) -> dict[str, Any]:
        return {
            "classes": self.classes_.tolist(),
            "signal": self._signal_index,
            "n_features": self.n_features_in_,
            "against": self.against_,
            "weights_from": self._weights_from,
            "detectors": [{"name": each.name, "columns": list(each.columns)} for each in self.detectors_],
        }

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        arrays = read_arrays(directory / _ARRAYS)
        self.against_ = content["against"]
        self._signal_index, self._weights_from = int(content["signal"]), str(content["weights_from"])
        self.axis_, self.weights_ = arrays["axis"], arrays["weights"]
        self.log_prior_, self.log_prior_missing_ = arrays["log_prior"], arrays["log_prior_missing"]
        self.detectors_ = tuple(
            DetectorDensity(
                str(each["name"]),
                tuple(each["columns"]),
                *(arrays[f"detector{i}.{name}"] for name in ("curves", "tables", "n_effective")),
            )
            for i, each in enumerate(content["detectors"])
        )
        self._check()

    def _check(self) -> None:
        """Checks what was loaded, since compiled code does not check the places that it reads.

        Raises:
            ValueError: shapes, types or numbers do not go together.
        """
        k, n_nodes, n_slices = len(self.classes_), len(self.axis_), len(self.log_prior_)
        read = [column for detector in self.detectors_ for column in detector.columns]
        read += [] if self.against_ is None else [self.against_]
        if any(type(column) is not int or not 0 <= column < self.n_features_in_ for column in read) or not read:
            raise ValueError("the columns are damaged")
        if n_nodes != FINE * (n_slices - 1) + 1 or (self.against_ is None and n_nodes != 1):
            raise ValueError(f"{n_nodes} nodes do not go with {n_slices} slices")
        shapes = {"axis_": (n_nodes,), "log_prior_": (n_slices, k), "log_prior_missing_": (k,)}
        shapes["weights_"] = (len(self.detectors_), k)
        arrays: list[tuple[NDArray[Any], tuple[int, ...], Any]] = [
            (getattr(self, name), shape, np.float64) for name, shape in shapes.items()
        ]
        for detector in self.detectors_:
            v, last = len(detector.columns), detector.tables.shape[-1]
            arrays.append((detector.curves, (n_nodes, k, 2 * v + 1), np.float64))
            arrays.append((detector.tables, (k, n_slices, *(last,) * v), np.float32))
            arrays.append((detector.n_effective, (k,), np.float64))
            if v not in (1, 2) or last < 2:
                raise ValueError(f"the detector {detector.name} is damaged")
        for array, shape, kind in arrays:
            if array.shape != shape or array.dtype != kind or not np.isfinite(array).all():
                raise ValueError(f"an array has the shape {array.shape} where {shape} finite numbers should be")
        if (np.diff(self.axis_) < 0).any() or not 0 <= self._signal_index < k:
            raise ValueError("the axis or the signal is damaged")
        self._class_names()


def _repeats(weight: Array) -> tuple[bool, float]:
    """Returns whether all weights (n,) are whole numbers, which count repeated rows, and their mean."""
    if not np.array_equal(weight, np.rint(weight)) or weight.max() > 1e9:
        return False, 1.0
    return True, float(weight.mean() / np.gcd.reduce(weight.astype(np.int64)))
