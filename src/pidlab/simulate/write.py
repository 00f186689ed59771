"""Writes samples of simulated events as ROOT files, and the one of CLAS12 as a HIPO file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pidlab.atomic import replacing
from pidlab.errors import UsageError, nearest
from pidlab.simulate.clas12 import CLAS12
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
        "clas12": CLAS12,
        "probes": PROBES,
        "simulated_probes": SIMULATED_PROBES,
    }
)
"""The samples by the name that the command line takes."""


def simulate(kind: str, path: Path, n_events: int | None = None, seed: int = 1) -> None:
    """Writes a simulated sample as a TTree, or `clas12` as a HIPO file; the same seed gives the same content.

    Args:
        kind: a name among `SAMPLES`.
        path: the file to write; an existing file is replaced once the new one is complete.
        n_events: number of events; None for `SAMPLES[kind].n_events`.
        seed: the seed of the random numbers, 0 or larger.

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
    write = _write_banks if simulation is CLAS12 else _write
    write(path, simulation, n_events, seed)


def is_sample(path: Path) -> bool:
    """Returns whether a file holds one of the samples, by its tree and branches or its banks, and nothing else."""
    held = _banks_of(path) if path.suffix == ".hipo" else _trees_of(path)
    return held is not None and any(held == _content_of(simulation) for simulation in SAMPLES.values())


def _content_of(simulation: Simulation) -> tuple[str, frozenset[str]]:
    """Returns the name of the tree of a sample, and those of its branches."""
    events = next(simulation.blocks(1, 1))
    if not simulation.tree:
        fields = {f"{name}.{key}" for name, rows in events.collections.items() for key in rows.fields}
        return "", frozenset(events.branches.keys() | fields)
    fields = {f"{name}_{key}" for name, rows in events.collections.items() for key in rows.fields}
    return simulation.tree, frozenset(events.branches.keys() | fields | {f"n{name}" for name in events.collections})


def _trees_of(path: Path) -> tuple[str, frozenset[str]] | None:
    import uproot

    try:
        with uproot.open({path: None}) as file:
            names = file.keys(cycle=False)
            return (names[0], frozenset(file[names[0]].keys())) if len(names) == 1 else None
    except Exception:  # uproot raises errors of many types for what is no ROOT file or no tree
        return None


def _banks_of(path: Path) -> tuple[str, frozenset[str]] | None:
    try:
        import oxihipo

        return "", frozenset(name.replace("/", ".", 1) for name in oxihipo.open(str(path)).typenames())
    except Exception:  # oxihipo raises errors of many types for what is no HIPO file; or it is not installed
        return None


def _write_banks(path: Path, simulation: Simulation, n_events: int, seed: int) -> None:
    """Writes collections and branches `BANK.column` as banks of a HIPO file."""
    import awkward as ak

    from pidlab.rootio.files import writing

    try:
        import oxihipo
    except ModuleNotFoundError as error:
        raise UsageError("writing HIPO needs oxihipo, which is not installed: pip install 'pidlab[hipo]'") from error
    with writing(path), replacing(path) as temporary:
        file = None
        for events in simulation.blocks(n_events, seed):
            banks: dict[str, dict[str, Any]] = {}
            for name, values in events.branches.items():
                bank, _, column = name.partition(".")
                banks.setdefault(bank, {})[column] = values
            for bank, rows in events.collections.items():
                banks[bank] = {name: ak.unflatten(values, rows.counts) for name, values in rows.fields.items()}
            if file is None:
                file = oxihipo.recreate(str(temporary), compression="lz4", overwrite=True)
                for bank, columns in banks.items():
                    types = {name: _HIPO_TYPES[_dtype(values)] for name, values in columns.items()}
                    file.new_bank(bank, types)
            file.extend(banks)
        if file is not None:
            file.close()


_HIPO_TYPES: Final = {"int8": "B", "int16": "S", "int32": "I", "int64": "L", "float32": "F", "float64": "D"}


def _dtype(values: Any) -> str:
    import awkward as ak

    return str(ak.to_numpy(ak.flatten(values)).dtype) if isinstance(values, ak.Array) else str(values.dtype)


def _write(path: Path, simulation: Simulation, n_events: int, seed: int) -> None:
    import awkward as ak

    from pidlab.rootio.files import whole_file, writing  # awkward and uproot are imported only if a file is written

    with whole_file(path, "zstd") as directory:
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
