"""Toys of passing and failing probes whose efficiency is known, of signal and of background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from pidlab.datadriven.efficiency.estimate import Histograms
from pidlab.measured import Array

LOW, HIGH = 60.0, 120.0


@dataclass(frozen=True)
class Toy:
    """Probes with a Gaussian peak above an exponential background; their numbers fluctuate by Poisson's law.

    Attributes:
        n: expected number of probes.
        efficiency, background_efficiency: the shares that pass.
        background: the share of background.
        decay: of the background, in the unit of the mass.
        n_bins: of the mass.
    """

    n: float = 2000.0
    efficiency: float = 0.85
    background_efficiency: float = 0.3
    background: float = 0.4
    decay: float = 25.0
    n_bins: int = 60

    @property
    def edges(self) -> Array:
        return np.linspace(LOW, HIGH, self.n_bins + 1)

    def components(self) -> tuple[Array, Array]:
        """Expected probes of signal and of background in the bins of the mass."""
        signal = np.diff(norm.cdf(self.edges, 91.0, 2.5))
        background = -np.diff(np.exp(-(self.edges - LOW) / self.decay))
        signal *= self.n * (1 - self.background) / signal.sum()
        background *= self.n * self.background / background.sum()
        return signal, background

    def expected(self) -> tuple[Array, Array]:
        """Expected passing and failing probes in the bins of the mass."""
        signal, background = self.components()
        e, b = self.efficiency, self.background_efficiency
        return e * signal + b * background, (1 - e) * signal + (1 - b) * background

    def draw(self, rng: np.random.Generator) -> Histograms:
        passing, failing = (rng.poisson(mu).astype(float) for mu in self.expected())
        return Histograms(self.edges, passing, failing, passing, failing)

    def asimov(self) -> Histograms:
        """The expectation itself in place of counts."""
        passing, failing = self.expected()
        return Histograms(self.edges, passing, failing, passing, failing)
