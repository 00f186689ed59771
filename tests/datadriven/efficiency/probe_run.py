"""A small run on simulated probes, and probes of data and simulation whose true label is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uproot

from pidlab.config.load import check_config
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.simulate import simulate

BINS = "p: [10, 20, 35, 60, 100]; abs(eta): [0, 0.8, 1.6, 2.4]"
"""The twelve cells in each of which mass and decision are independent of each other for either species."""
CONTENT: dict[str, Any] = {
    "data": {"files": "train.root", "event_id": ["event"]},
    "classes": {"electron": "species == 0", "background": "species == 1"},
    "features": ["eop", "shower_width", "hoe", "isolation"],
    "models": {"fisher": {"type": "fisher"}, "hand": {"type": "expression", "cut": "eop > 0.8 && isolation < 0.15"}},
    "evaluate": {"working_points": [0.9], "robustness": None, "importance": False},
}


class ProbeRun(NamedTuple):
    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def truth(self, name: str, passed: Any, cells: Any) -> Any:
        """The share of the electrons of a file that pass, cell by cell."""
        with uproot.open({self.folder / name: "probes"}) as tree:
            electron = tree["species"].array(library="np") == 0
        kept = electron & (cells >= 0)
        n = np.bincount(cells[kept], minlength=12)
        return np.bincount(cells[kept & passed], minlength=12) / n


def make_probe_run(folder: Path, n: int = 60_000) -> ProbeRun:
    """Writes train.root, data.root, simulation.root and a run."""
    simulate("simulated_probes", folder / "train.root", 8000, 11)
    simulate("probes", folder / "data.root", n, 12)
    simulate("simulated_probes", folder / "simulation.root", n, 13)
    loaded = check_config(CONTENT, {}, folder / "analysis.yaml")
    run(loaded, folder / "run", Resources("cpu", 1), Watcher(), figures="none")
    return ProbeRun(folder)
