"""Autoencoders: networks that give an event's features back through a bottleneck, and how well they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.models.mlp.regression import GaussianRegression
from pidlab.models.unlabelled.typical import Doubles, TypicalityClassifier

_FEWEST = 20  # events that a network is trained on
_OF_GAUSSIAN = 1.4826  # standard deviations in a median absolute deviation


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class Autoencoder(TypicalityClassifier):
    """A network whose target are its own inputs, through a layer that is narrower than they are.

    What is typical of the training can be given back through the bottleneck, and what is not cannot: the score is the
    reconstruction error, the mean over features of the squared distances in units of each feature's width in training,
    or minus that if the signal is what was trained on. The loss is a Gaussian likelihood, whose widths belong to the
    network, so that features that are hard to give back do not outweigh the others. A validation sample decides which
    weights are kept. Features that have one value in most events are left out. For fewer than twenty events there is no
    network, and the median is given back.

    Args:
        train_on: the class that it learns, by its label or its name; None: all events, without labels.
        hidden: widths of the layers before the bottleneck; those behind it are the same in reverse.
        bottleneck: width of the narrowest layer; None: a third of the inputs, at least 1.
        epochs: None: as many as some thousand steps take.
        signal: label of the signal; None: the last class.
        class_names: names of the classes, of which `train_on` may be one.
        seed: the seed of all random numbers.
        device: auto (CUDA if there is a GPU), cpu, cuda.

    Attributes:
        network_: the regression of the inputs on themselves; None without a network.
    """

    kind = "autoencoder"
    network_: GaussianRegression | None = field(init=False)
    train_on: Any = None
    hidden: Sequence[int] = (32,)
    bottleneck: int | None = None
    epochs: int | None = None
    signal: Any = None
    class_names: Sequence[str] | None = None
    seed: int = 0
    device: str = "auto"

    def _learn(self, x: Doubles, weight: Doubles, validation: tuple[Doubles, Doubles] | None, progress: Any) -> None:
        self._varies = np.median(np.abs(x - np.median(x, axis=0)), axis=0) > 0
        own, n = x[:, self._varies], int(self._varies.sum())
        self._middle = np.median(own, axis=0)
        self._width = _OF_GAUSSIAN * np.median(np.abs(own - self._middle), axis=0)
        self.network_ = None
        if len(x) < _FEWEST or not n:
            return
        narrow = self.bottleneck or max(1, n // 3)
        self.network_ = GaussianRegression(
            hidden=(*self.hidden, narrow, *reversed(self.hidden)), core=False, epochs=self.epochs, seed=self.seed,
            device=self.device,
        )  # fmt: skip
        watched = None if validation is None else (validation[0][:, self._varies],) * 2 + (validation[1],)
        self.network_.fit(own, own, weight, validation=watched, progress=progress)
        self.history_ = dict(self.network_.history_)

    def typicality(self, x: Doubles) -> Doubles:
        """Returns (n,) minus the reconstruction error of events (n, d)."""
        own = x[:, self._varies]
        if not own.shape[1]:
            return np.zeros(len(x))
        mean = self._middle if self.network_ is None else self.network_.predict(own)[0]
        with np.errstate(over="ignore"):  # infinitely far away is far enough
            return np.asarray(-(((own - mean) / self._width) ** 2).mean(axis=1))

    def _fitted(self) -> dict[str, Any]:
        network = None if self.network_ is None else self.network_.to_json()
        middle, width = self._middle.tolist(), self._width.tolist()
        learned = {"varies": self._varies.tolist(), "middle": middle, "width": width, "network": network}
        return super()._fitted() | {"learned": learned}

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        content = content["learned"]
        self._varies = np.asarray(content["varies"], np.bool_)
        self._middle, self._width = (np.asarray(content[name], np.float64) for name in ("middle", "width"))
        network = content["network"]
        self.network_ = None if network is None else GaussianRegression.from_json(network)
        n = len(self._middle)
        is_of_them = self.network_ is None or len(self.network_.centre_) == n
        if self._varies.ndim != 1 or self._width.shape != (n,) or self._varies.sum() != n or not is_of_them:
            raise ValueError("the network does not go with the features")
        if not (np.isfinite(self._middle).all() and (self._width > 0).all()):
            raise ValueError("a middle is not finite, or a width is not positive")
