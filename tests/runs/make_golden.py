"""Make `tests/runs/golden/`: a small finished run, and its input, in the formats of today.

    python tests/make_golden.py

What is kept there is a promise: later versions read it, score its input to the same numbers, compare and draw it
(`tests/runs/test_golden.py`). So it is made again only to add a format beside the old one, never to make a test pass
that a change of code has broken; then put the older run into a folder of its own and test both.

The run is moved after it was made: its configuration names the input relative to itself, and what tells of the machine
is left out, with the figures, the report, `results.root` and the scripts beside the friends, which nothing reads back.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from conftest import write_tree

GOLDEN = Path(__file__).parent / "golden"
INPUT = "events.root"
N = 600
CONFIG = """\
data: {files: events.root, tree: T, event_id: [run, event], weight: w, aliases: {sum: a + b}}
classes: {electron: "species == 0", pion: "species == 1"}
selection: {inside: "abs(a) < 4"}
features: [a, {name: b, expression: b, missing: [-999], label: "$b$ [cm]"}, {name: log_c, expression: log(1 + c)}]
spectators: [p]
split: {test: 0.4, validation: 0.2, seed: 3}
models:
  hand: {type: expression, cut: a < 0.2 && c > 0.5}
  given: {type: score, expression: c - a}
  cuts: {type: cuts}
  fisher: {type: fisher}
  bdt: {type: bdt, n_estimators: 20, max_depth: 3}
  mlp: {type: mlp, hidden: [6, 6], epochs: 10}
evaluate:
  working_points: [0.8, 0.9]
  maps: [{x: p, bins: 3}]
  calibration: isotonic
  robustness: {smear: [0.05], scale: [], shift: [], drop: true}
scaling: standard
seed: 5
"""


def events() -> dict[str, np.ndarray]:
    """Two classes that three numbers tell apart in part, one of them missing now and then."""
    rng = np.random.default_rng(20)
    species = rng.integers(0, 2, N).astype(np.int32)
    b = rng.normal(0.8 * species, 1.0)
    return {
        "run": rng.integers(1, 4, N).astype(np.int32),
        "event": np.arange(N, dtype=np.int64) + 2**31,
        "species": species,
        "w": rng.uniform(0.8, 1.2, N).astype(np.float32),
        "a": rng.normal(species, 1.0).astype(np.float32),
        "b": np.where(rng.random(N) < 0.05, -999.0, b).astype(np.float32),
        "c": rng.exponential(np.where(species == 0, 2.0, 0.7)).astype(np.float32),
        "p": rng.uniform(1.0, 5.0, N).astype(np.float32),
    }


def main() -> None:
    """Write the folder anew."""
    from pidlab.config.load import load_config
    from pidlab.models.registry import Resources
    from pidlab.pipeline import run
    from pidlab.progress import Watcher

    place = Path(tempfile.gettempdir()).resolve() / "pidlab_golden"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    write_tree(place / INPUT, events())
    (place / "golden.yaml").write_text(CONFIG)
    run(load_config(place / "golden.yaml"), place / "run", Resources("cpu", 1), Watcher())
    _neutral(place / "run", place)
    shutil.rmtree(GOLDEN, ignore_errors=True)
    shutil.copytree(place, GOLDEN)
    shutil.rmtree(place)


def _neutral(folder: Path, place: Path) -> None:
    for name in ("plots", "report.html", "results.root", "friends/attach.C", "friends/attach.py"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(f"{place}/", "../"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"platform": "", "processor": "", "n_cores": 0, "git": None, "started": "", "seconds": 0.0}
    manifest["inputs"] = [each | {"file": f"../{INPUT}"} for each in manifest["inputs"]]
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
