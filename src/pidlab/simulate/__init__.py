"""Simulated samples: `shms` (spectrometer), `workshop` (toy with a known optimum), `nano` (jagged electrons)."""

from pidlab.simulate.events import SimulatedCollection, SimulatedEvents, Simulation
from pidlab.simulate.workshop import gaussian_toy, log_likelihood_ratio
from pidlab.simulate.write import SAMPLES, simulate

__all__ = [
    "SAMPLES",
    "SimulatedCollection",
    "SimulatedEvents",
    "Simulation",
    "gaussian_toy",
    "log_likelihood_ratio",
    "simulate",
]
