"""A small sample to tune on, where it is known which parameters are better."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from conftest import write_tree
from pidlab.evaluate.results import Tuning
from pidlab.models.registry import Resources
from pidlab.progress import Task, Watcher
from pidlab.tune import TuningRequest, tune

CONTENT: dict[str, Any] = {
    "data": {"files": "xor.root", "event_id": ["event"], "weight": "w"},
    "classes": {"signal": "species == 1", "other": "species == 0"},
    "features": ["a", "b", "c"],
    "split": {"test": "held == 1", "validation": 0.3},
    "models": {
        "bdt": {"type": "bdt", "max_depth": 1, "n_estimators": 40, "learning_rate": 0.2},
        "line": {"type": "logistic"},
        "mlp": {"type": "mlp", "hidden": [8], "epochs": 4, "batch_size": 128, "dropout": 0.0},
        "hand": {"type": "expression", "cut": "a > 0"},
        "fisher": {"type": "fisher"},
    },
    "evaluate": {"robustness": None},
}


def sample(folder: Path, n: int = 3000, *, poison: bool = False) -> Path:
    """Signal where a and b have one sign, which no tree of depth one sees; `poison` spoils what the test rows hold."""
    rng = np.random.default_rng(8)
    species = rng.integers(0, 2, n)
    a = rng.normal(size=n)
    b = np.abs(rng.normal(size=n)) * np.sign(a) * np.where(species == 1, 1, -1) + rng.normal(0, 0.3, n)
    c = rng.normal(0.3 * species, 1)
    held = rng.random(n) < 0.25
    columns = {"a": a, "b": b, "c": c, "species": species, "w": rng.uniform(0.5, 1.5, n)}
    if poison:
        bad = np.random.default_rng(9)
        for name in ("a", "b", "c"):
            columns[name] = np.where(held, bad.normal(1e3, 1e4, n), columns[name])
        columns["species"] = np.where(held, 1 - species, species)
        columns["w"] = np.where(held, 1e6, columns["w"])
    return write_tree(folder / "xor.root", columns | {"event": np.arange(n), "held": held.astype(int)})


def configuration(folder: Path, **changes: Any) -> Path:
    """`analysis.yaml`, which is JSON and so YAML."""
    path = folder / "analysis.yaml"
    path.write_text(json.dumps(CONTENT | changes))
    return path


class OnTrials(Watcher):
    """Calls a function with the number of trials that are done."""

    def __init__(self, act: Callable[[int], None]) -> None:
        self._act = act

    @contextmanager
    def task(self, name: str, total: int, unit: str = "") -> Iterator[Task]:
        done, act = [0], self._act

        class Counting(Task):
            def advance(self, amount: int = 1, numbers: Mapping[str, float] | None = None) -> None:
                done[0] += amount
                act(done[0])

        yield Counting() if unit == "trials" else Task()


def tuned(config: Path, model: str = "line", n: int = 4, watcher: Watcher | None = None, **how: Any) -> Tuning:
    """`tune` on one core, without figures unless they are asked for."""
    return tune(
        TuningRequest(config, model, n, **({"figures": False} | how)), Resources("cpu", 1), watcher or Watcher()
    )


def tune_until_killed(config: Path, model: str, n: int, together: int, search: tuple[str, ...]) -> None:
    """Tunes until a trial is done, and then kills this very process."""
    watcher = OnTrials(lambda n_done: os.kill(os.getpid(), signal.SIGKILL))
    tuned(config, model, n, watcher, together=together, search=search)
