"""Simulated samples, by the names that the command line takes.

`shms`: electrons and pions in a spectrometer. `workshop`: a toy with a known optimum. `nano`: jagged electrons.
`tracks`: four species in three detectors, with densities that are known exactly. `probes` and `simulated_probes`:
electrons with the mass of Z → ee above a background, in data and in simulation. `clas12`: banks of CLAS12 in HIPO.
"""

from pidlab.simulate.events import SimulatedCollection, SimulatedEvents, Simulation
from pidlab.simulate.tracks import tracks_core, tracks_log_density, tracks_log_likelihoods
from pidlab.simulate.workshop import log_likelihood_ratio
from pidlab.simulate.write import SAMPLES, is_sample, simulate

__all__ = [
    "SAMPLES",
    "SimulatedCollection",
    "SimulatedEvents",
    "Simulation",
    "is_sample",
    "log_likelihood_ratio",
    "simulate",
    "tracks_core",
    "tracks_log_density",
    "tracks_log_likelihoods",
]
