"""Writes samples of simulated events as ROOT files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pidlab.errors import UsageError, nearest
from pidlab.simulate.events import Simulation
from pidlab.simulate.nano import NANO
from pidlab.simulate.probes import PROBES, SIMULATED_PROBES
from pidlab.simulate.shms import SHMS
from pidlab.simulate.tracks import TRACKS
from pidlab.simulate.workshop import WORKSHOP

SAMPLES: Final[Mapping[str, Simulation]] = MappingProxyType(
    {
        "shms": SHMS,
        "workshop": WORKSHOP,
        "nano": NANO,
        "tracks": TRACKS,
        "probes": PROBES,
        "simulated_probes": SIMULATED_PROBES,
    }
)
"""The samples by the name that the command line takes."""


def simulate(kind: str, path: Path, n_events: int | None = None, seed: int = 1) -> None:
    """Writes a simulated sample as a TTree; the same seed gives the same content.

    Args:
        kind: a name among `SAMPLES`.
        path: the file to write; an existing file is replaced once the new one is complete.
        n_events: number of events; None for `SAMPLES[kind].n_events`.
        seed: of the random numbers, 0 or larger.

    Raises:
        UsageError: the kind is unknown, or a number is too small.
        OutputError: the file cannot be written.
    """
    if kind not in SAMPLES:
        raise UsageError(f"there is no sample {kind!r}: {nearest(kind, SAMPLES)}")
    simulation = SAMPLES[kind]
    n_events = simulation.n_events if n_events is None else n_events
    if n_events < 1:
        raise UsageError(f"a sample has at least 1 event, not {n_events}: give a larger number or leave it out")
    if seed < 0:
        raise UsageError(f"a seed is 0 or larger, not {seed}: give such a number or leave it out")
    _write(path, simulation, n_events, seed)


def _write(path: Path, simulation: Simulation, n_events: int, seed: int) -> None:
    import awkward as ak

    from pidlab.rootio.files import WholeFile, writing  # awkward and uproot are imported only if a file is written

    with WholeFile(path, "zstd") as directory:
        tree = None
        for events in simulation.blocks(n_events, seed):
            # Collections are jagged arrays of records: one list of candidates for each event.
            branches = {**events.branches} | {
                name: ak.unflatten(ak.zip(dict(candidates.fields)), candidates.counts)
                for name, candidates in events.collections.items()
            }
            with writing(path):
                if tree is None:
                    tree = directory.mktree(simulation.tree, {name: ak.type(v).content for name, v in branches.items()})
                tree.extend(branches)
