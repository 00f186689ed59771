"""The door to the disk: a sample of simulated events becomes a ROOT file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pidlab.errors import UsageError, nearest
from pidlab.simulate.events import SimulatedEvents, Simulation
from pidlab.simulate.nano import NANO
from pidlab.simulate.shms import SHMS
from pidlab.simulate.workshop import WORKSHOP

SAMPLES: Final[Mapping[str, Simulation]] = MappingProxyType({"shms": SHMS, "workshop": WORKSHOP, "nano": NANO})
"""The kinds of sample by the name that the command line knows."""


def simulate(kind: str, path: Path, n_events: int | None = None, seed: int = 1) -> None:
    """Write a sample of a kind in `SAMPLES` as a TTree; the same seed gives the same content.

    Args:
        kind: shms, workshop or nano.
        path: the file to write; it is replaced when the new one is whole.
        n_events: how many events; left out: `SAMPLES[kind].n_events`.
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
    from pidlab.rootio.files import WholeFile, writing  # uproot is imported only where something is written

    with WholeFile(path, "zstd") as directory:
        tree = None
        for events in simulation.blocks(n_events, seed):
            branches = _branches(events)
            with writing(path):
                if tree is None:
                    tree = directory.mktree(simulation.tree, {name: _type(values) for name, values in branches.items()})
                tree.extend(branches)


def _branches(events: SimulatedEvents) -> dict[str, Any]:
    """What uproot takes: arrays (n,), and for each collection a jagged array of records, n lists of them."""
    import awkward as ak

    branches: dict[str, Any] = dict(events.branches)
    for name, candidates in events.collections.items():
        branches[name] = ak.unflatten(ak.zip(dict(candidates.fields)), candidates.counts)
    return branches


def _type(values: Any) -> Any:
    """The branch type of an array, numpy's or awkward's."""
    import awkward as ak

    return ak.type(values).content if isinstance(values, ak.Array) else values.dtype
