"""A small table of two classes and two learners' files for it, for the tests of models from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import uproot

from conftest import write_tree
from pidlab.apply import apply
from pidlab.config.load import check_config
from pidlab.evaluate.results import Results
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.runs.bundle import Bundle, load_bundle, save_bundle

NAMES = ["a", "b", "c"]


def table(n: int, seed: int, missing: float = 0.0) -> dict[str, np.ndarray]:
    """`n` events, half of them signal, of three features in float32; a share of `c` is NaN."""
    rng = np.random.default_rng(seed)
    signal = np.arange(n) % 2
    x = rng.normal(size=(n, 3)) + np.outer(signal, [1.2, -0.8, 0.5])
    x[:, 1] += 0.4 * x[:, 0] ** 2
    x[rng.random(n) < missing, 2] = np.nan
    columns = {name: x[:, j].astype(np.float32) for j, name in enumerate(NAMES)}
    return {**columns, "signal": signal.astype(np.int32), "event": np.arange(n)}


def matrix(events: dict[str, np.ndarray]) -> np.ndarray:
    """(n, 3) float32."""
    return np.stack([events[name] for name in NAMES], axis=1)


def content(models: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A configuration of these models, without what takes time."""
    return {
        "data": {"files": "events.root", "event_id": ["event"]},
        "classes": {"electron": "signal == 1", "pion": "signal == 0"},
        "features": list(NAMES),
        "models": models,
        "evaluate": {"robustness": None, "importance": False, "working_points": [0.9]},
        **more,
    }


def saved_run(
    folder: Path, models: dict[str, Any], name: str = "run", allow: tuple[str, ...] = (), **more: Any
) -> tuple[Results, Bundle]:
    """What a run on `events.root` of `folder` finds, without figures, and its models as read back from its folder."""
    loaded = check_config(content(models, **more), {}, folder / "analysis.yaml")
    done = analyse(loaded, Resources("cpu", 1, allow), Watcher())
    (folder / name).mkdir()
    save_bundle(folder / name, done.recipe, done.models, done.results.models)
    return done.results, load_bundle(folder / name)


def applied(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """The friend tree of `events.root`."""
    apply(bundle, [Source(str(folder / "events.root"), "T")], folder / "friends", Watcher(), jobs=1, force=True)
    with uproot.open(folder / "friends" / "events_pid.root") as file:
        return dict(file["T_pid"].arrays(library="np"))


def write_events(folder: Path, n: int = 2400, seed: int = 1, missing: float = 0.0) -> dict[str, np.ndarray]:
    """Write `events.root`, and give back what it holds."""
    events = table(n, seed, missing)
    write_tree(folder / "events.root", events)
    return events
