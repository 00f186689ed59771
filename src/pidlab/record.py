"""Record: what a run leaves behind — numbers, figures, ROOT objects, report — and where they came from."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pidlab import __version__
from pidlab.bundle import Bundle, config_yaml
from pidlab.config.load import LoadedConfig
from pidlab.errors import OutputError
from pidlab.evaluate.results import ModelResult, Results, plain
from pidlab.evaluate.stored import write_results as write_results_json
from pidlab.load import Input
from pidlab.models.contender import Resources
from pidlab.plots.gallery import write as write_gallery
from pidlab.report import write_report
from pidlab.rootio.results import write_results

SCHEMA = 1
_PACKAGES = ("awkward", "numba", "numpy", "scikit-learn", "scipy", "torch", "uproot", "xgboost")


def manifest_of(
    loaded: LoadedConfig, inputs: Sequence[Input], resources: Resources, started: float
) -> dict[str, Any]:
    """What a run was made with: versions, seeds, hardware, git state, and the content of its inputs."""
    return {
        "schema": SCHEMA,
        "pidlab": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "n_cores": os.cpu_count(),
        "device": _device(resources),
        "seeds": {"seed": loaded.config.seed, "split": loaded.config.split.seed},
        "git": _git_state(loaded.folder),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 2),
        "inputs": [
            {
                "file": i.source.place,
                "tree": i.source.tree,
                "entries": i.n_entries,
                "rows": i.n_rows,
                "hashes": dict(i.hashes),
            }
            for i in inputs
        ],
    }


def _device(resources: Resources) -> str:
    """The device that the network trained on; "cpu" where there was none to train."""
    torch = sys.modules.get("torch")
    if torch is None or resources.device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name())


def _git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and cleanness of the repository that holds the configuration; None where there is none."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain", "--untracked-files=no")}
    except (OSError, subprocess.SubprocessError):
        return None


def write_record(folder: Path, results: Results, bundle: Bundle, manifest: Mapping[str, Any]) -> None:
    """Everything of a run but its models and friends."""
    (folder / "metrics.json").write_text(json.dumps(metrics(results), indent=1, allow_nan=False) + "\n")
    write_results_json(folder / "results.json", results)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    write_results(folder / "results.root", results, json.dumps(manifest))
    (folder / "plots").mkdir()
    pictures = write_gallery(results, folder / "plots")
    loaded = bundle.recipe.loaded
    write_report(
        folder / "report.html",
        results,
        title=loaded.name,
        config_yaml=config_yaml(loaded),
        manifest=manifest,
        figures=pictures,
    )


def metrics(results: Results) -> dict[str, Any]:
    """`metrics.json`, schema 1."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "signal": results.signal,
        "classes": list(results.classes),
        "n": plain(results.n),
        "cutflow": plain(results.cutflow),
        "models": {name: _model_metrics(m) for name, m in results.models.items()},
        "comparisons": plain(results.comparisons),
        "robustness": {name: plain(r.points) for name, r in results.robustness.items()},
        "breaks_at": {name: plain(r.breaks_at) for name, r in results.robustness.items()},
        "notes": list(results.notes),
    }
    return content


def _model_metrics(model: ModelResult) -> dict[str, Any]:
    content: dict[str, Any] = {"type": model.kind}
    for part, m in model.samples.items():
        content[part] = plain(m)
        classes, counts = content[part].pop("classes"), content[part].pop("confusion")
        content[part]["confusion_matrix"] = {"classes": classes, "counts": counts}
    content["working_points"] = plain(model.working_points)
    content["overtraining"] = plain(model.overtraining)
    content["training"] = plain(model.training)
    content["cut_string"] = model.cut_string
    content["note"] = model.note
    content["scoring"] = plain(model.scoring)
    return content


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block ends well, and is removed when it does not.

    Raises:
        OutputError: the place cannot be written to, or holds something that is not a run.
    """
    if target.exists() and not (target / "manifest.json").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{target}: exists and is not the folder of a run; choose another output with -o")
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        beside.mkdir(parents=True)
        yield beside
        _replace(beside, target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error}); nothing was left there") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _replace(beside: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    if target.exists():
        target.rename(old)
    beside.rename(target)
    shutil.rmtree(old, ignore_errors=True)
