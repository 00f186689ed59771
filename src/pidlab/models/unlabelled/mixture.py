"""Gaussian mixtures by scikit-learn: the density of events without labels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from pidlab.models.base import choice
from pidlab.models.unlabelled.typical import Doubles, TypicalityClassifier

COVARIANCES = ("full", "tied", "diag", "spherical")
_MOST_COMPONENTS = 8  # that are tried if their number is not stated
_MOST_EVENTS = 50_000  # drawn for the fit, since scikit-learn's takes no weights; they determine densities to per cents
_RIDGE = 1e-6  # on the variances of standardised features, so that a feature of few values has a finite density


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class Mixture(TypicalityClassifier):
    """A sum of k normal densities (scikit-learn's GaussianMixture); the score is the logarithm of the density.

    If `components` is not stated, k is the number up to 8 with the smallest BIC (G. Schwarz, Ann. Stat. 6 (1978) 461).
    Weights are respected by drawing up to 50,000 events in proportion to them. With `train_on` the density is that of
    one class; without, that of all events, and the signal is what is rare.

    Args:
        train_on: the class whose density it is, by its label or its name; None: all events, without labels.
        components: k; None: by the BIC.
        covariance: full, tied (one for all components), diag or spherical.
        signal: label of the signal; None: the last class.
        class_names: names of the classes, of which `train_on` may be one.
        seed: the seed of the draw and of the starting points.

    Attributes:
        log_shares_: (k,) logarithms of the components' shares.
        means_: (k, d), in standardised features.
        precisions_: (k, d, d) upper triangular roots of the inverse covariances: (x - mean) · root has unit variances.
    """

    kind = "mixture"
    train_on: Any = None
    components: int | None = None
    covariance: str = "full"
    signal: Any = None
    class_names: Sequence[str] | None = None
    seed: int = 0

    def _learn(self, x: Doubles, weight: Doubles, validation: tuple[Doubles, Doubles] | None, progress: Any) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        choice("mixture", "covariance", self.covariance, COVARIANCES)
        rng = np.random.default_rng(self.seed)
        drawn = x
        if len(x) > _MOST_EVENTS or np.ptp(weight) > 0:
            drawn = x[rng.choice(len(x), min(len(x), _MOST_EVENTS), p=weight / weight.sum())]
        self._centre = drawn.mean(axis=0)
        deviation = drawn.std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        scaled = (drawn - self._centre) / self._scale
        tried = [self.components] if self.components is not None else range(1, min(_MOST_COMPONENTS, len(x) // 10) + 1)
        best, lowest = None, np.inf
        with warnings.catch_warnings():  # a fit that has not converged is a density all the same
            warnings.simplefilter("ignore", ConvergenceWarning)
            for k in tried:
                fitted = GaussianMixture(k, covariance_type=self.covariance, reg_covar=_RIDGE, random_state=self.seed)
                criterion = fitted.fit(scaled).bic(scaled)
                if criterion < lowest:
                    best, lowest = fitted, criterion
        assert best is not None
        self.log_shares_ = np.log(best.weights_)
        self.means_ = best.means_
        self.precisions_ = _roots(best.precisions_cholesky_, self.covariance, best.means_.shape)

    @property
    def n_components_(self) -> int:
        """The number of components."""
        return len(self.log_shares_)

    def typicality(self, x: Doubles) -> Doubles:
        """Returns (n,) the logarithm of the density of events (n, d), in the units of the features."""
        scaled, d = (x - self._centre) / self._scale, x.shape[1]
        parts = []
        for log_share, mean, root in zip(self.log_shares_, self.means_, self.precisions_, strict=True):
            distance = ((scaled - mean) @ root) ** 2
            parts.append(log_share + np.log(np.diag(root)).sum() - 0.5 * distance.sum(axis=1))
        constant = 0.5 * d * np.log(2 * np.pi) + np.log(self._scale).sum()
        return np.asarray(logsumexp(np.stack(parts), axis=0) - constant)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, in sentences."""
        return (f"It is a mixture of {self.n_components_} normal densities ({self.covariance}).",)

    def _fitted(self) -> dict[str, Any]:
        arrays = {"log_shares": self.log_shares_, "means": self.means_, "roots": self.precisions_}
        arrays |= {"centre": self._centre, "scale": self._scale}
        return super()._fitted() | {"learned": {name: values.tolist() for name, values in arrays.items()}}

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        content = content["learned"]
        names = ("log_shares", "means", "roots", "centre", "scale")
        log_shares, means, roots, centre, scale = arrays = [np.asarray(content[name], np.float64) for name in names]
        k, d = means.shape
        if log_shares.shape != (k,) or roots.shape != (k, d, d) or centre.shape != (d,) or scale.shape != (d,) or not k:
            raise ValueError(f"{k} components of {d} features do not go with its arrays")
        if not all(np.isfinite(each).all() for each in arrays) or (scale <= 0).any():
            raise ValueError("a number is not finite, or a scale is not positive")
        if (np.diagonal(roots, axis1=1, axis2=2) <= 0).any():
            raise ValueError("a variance is not positive")
        self.log_shares_, self.means_, self.precisions_, self._centre, self._scale = arrays


def _roots(found: Any, covariance: str, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Returns the roots (k, d, d) of scikit-learn's precisions of any type."""
    k, d = shape
    if covariance == "full":
        return np.asarray(found, np.float64)
    if covariance == "tied":
        return np.repeat(np.asarray(found, np.float64)[None], k, axis=0)
    diagonals = np.broadcast_to(np.asarray(found, np.float64).reshape(k, -1), (k, d))
    return np.asarray(diagonals[:, :, None] * np.eye(d))
