"""What the tests of `apply` share: inputs whose every entry has a score of its own, and a small run with folds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from conftest import write_tree
from pidlab.apply import write_run_friends
from pidlab.config.load import check_config
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.runs.bundle import save_bundle
from pidlab.runs.scored_events import write_events

CONTENT: dict[str, Any] = {
    "data": {"files": "train.root", "event_id": ["event"]},
    "classes": {"s": "label == 1", "b": "label == 0"},
    "selection": {"range": "abs(a) < 2", "p": "p > 1.2"},
    "features": ["a", "b"],
    "spectators": ["p", "p * 2"],
    "folds": 3,
    "models": {
        "fisher": {"type": "fisher"},
        "own": {"type": "score", "expression": "a + 0.001 * event"},
        "hand": {"type": "expression", "cut": "a > 0.5"},
    },
    "evaluate": {"robustness": None},
}


def events(n: int, first: int = 0, seed: int = 0) -> dict[str, Any]:
    """n events, numbered from `first`; those of one number and seed are the same."""
    rng = np.random.default_rng([seed, first])
    label = rng.integers(0, 2, n)
    return {
        "a": rng.normal(label, 1).astype("f4"),
        "b": rng.normal(-label, 1),
        "p": rng.uniform(1, 5, n).astype("f4"),
        "label": label,
        "event": np.arange(first, first + n),
    }


def make_run(folder: Path, **changes: Any) -> Path:
    """What `apply` needs of a run on 4,000 events in `folder`, with changes to its configuration, and its friends."""
    write_tree(folder / "train.root", events(4000))
    loaded = check_config(CONTENT | changes, {}, folder / "analysis.yaml")
    done, output = analyse(loaded, Resources("cpu", 1), Watcher()), folder / "run"
    output.mkdir()
    bundle = save_bundle(output, done.recipe, done.models, done.results.models)
    write_events(output, done.scored)
    write_run_friends(bundle, done.inputs, done.scored, done.scores, done.outputs, output / "friends", Watcher())
    return output


def make_inputs(folder: Path, n_files: int, n: int = 20_000, step: int = 3_000) -> list[Path]:
    """Files of n entries each in baskets of `step`, the events numbered through all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"in{i}.root" for i in range(n_files)]
    for i, path in enumerate(paths):
        write_tree(path, events(n, 1_000_000 + i * n), step=step)
    return paths


def friend(path: Path, tree: str = "T_pid") -> dict[str, Any]:
    with uproot.open(path) as file:
        return dict(file[tree].arrays(library="np"))


def content(folder: Path) -> dict[str, str]:
    """Friend file to a hash of every branch of its tree; whatever else lies there is not looked at."""
    hashes = {}
    for path in sorted(folder.rglob("*_pid.root")):
        digest = hashlib.blake2b()
        for name, values in sorted(friend(path).items()):
            digest.update(f"{name} {values.dtype} {len(values)}".encode() + values.tobytes())
        hashes[path.relative_to(folder).as_posix()] = digest.hexdigest()
    return hashes


def damage(path: Path, branch: str, basket: int) -> None:
    """Overwrite the middle of one basket with zeros."""
    with uproot.open(path) as file:
        where = int(file["T"][branch].member("fBasketSeek")[basket])
        size = int(file["T"][branch].member("fBasketBytes")[basket])
    raw = bytearray(path.read_bytes())
    raw[where + size // 3 : where + size] = bytes(size - size // 3)
    path.write_bytes(raw)
