"""Run an export: write files aside, check them on events, move them where they belong, note it in the manifest."""

from __future__ import annotations

import importlib
import json
import math
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pidlab.bundle import Bundle
from pidlab.errors import ModelError, OutputError, UsageError, nearest
from pidlab.export.parity import LIMIT, Exported, ParityEvents, parity_events
from pidlab.models.base import read_json
from pidlab.read import Source

Writer = Callable[[Bundle, Sequence[str], Path, ParityEvents, Path], list[Exported]]

FORMATS = {
    "header": "pidlab.export.header",
    "onnx": "pidlab.export.onnx_graph",
    "xgboost": "pidlab.export.xgboost_json",
    "cuts": "pidlab.export.cut_strings",
    "correctionlib": "pidlab.export.correctionlib_json",
}
"""Format to the module whose `write` makes it, imported when it is asked for."""


def export(
    bundle: Bundle,
    run: Path,
    format: str,
    models: Sequence[str],
    output: Path,
    sources: Sequence[Source] | None = None,
) -> list[Exported]:
    """Write models of a run in another format into the folder `output`, checked on events; all or nothing.

    Args:
        bundle: with the models that are to be exported, or more.
        run: the folder of the run; the export is noted in its `manifest.json`.
        format: a key of `FORMATS`.
        models: names; empty for all of the bundle.
        output: made where it does not exist; files of the same names are replaced.
        sources: events to check on instead of the run's inputs.

    Raises:
        UsageError: no such format or model, or a model that the format cannot hold.
        DataError: there are no events to check on.
        ModelError: what was written disagrees with pidlab; nothing is left.
        OutputError: the files cannot be written.
    """
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}; {nearest(format, FORMATS)}")
    for name in models:
        if name not in bundle.contenders:
            raise UsageError(f"{run}: has no model {name!r}; {nearest(name, bundle.contenders)}")
    write: Writer = importlib.import_module(FORMATS[format]).write
    events = parity_events(bundle, sources=sources)
    beside = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        beside.mkdir(parents=True)
        exported = write(bundle, list(models) or list(bundle.contenders), beside, events, run)
        for each in exported:
            if each.largest_difference > LIMIT:
                raise ModelError(f"{each.path.name}: differs from pidlab by {each.largest_difference:.3g}")
        moved = _moved(exported, beside, output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    _note(run, bundle.fingerprint, moved)
    return moved


def _moved(exported: Sequence[Exported], beside: Path, output: Path) -> list[Exported]:
    """Every file of the folder `beside` into `output`."""
    for path in sorted(p for p in beside.rglob("*") if p.is_file()):
        target = output / path.relative_to(beside)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    return [replace(each, path=output / each.path.relative_to(beside)) for each in exported]


def _note(run: Path, fingerprint: str, exported: Sequence[Exported]) -> None:
    """Put the exports into the run's manifest, in place of earlier ones of the same format and models."""
    path = run / "manifest.json"
    manifest = read_json(path)
    entries: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {
        (old["format"], tuple(old["models"])): old for old in manifest.get("exports", [])
    }
    fresh: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
    for each in exported:
        key = (each.format, each.models)
        files = [*fresh.get(key, {}).get("files", []), each.path.name]
        worst = max(each.largest_difference, fresh.get(key, {}).get("largest_difference") or 0.0)
        fresh[key] = {
            "format": each.format,
            "files": files,
            "models": list(each.models),
            "largest_difference": None if math.isnan(each.largest_difference) else worst,
            "n_events": each.n_events,
            "fingerprint": fingerprint,
        } | ({"note": each.note} if each.note else {})
    manifest["exports"] = list((entries | fresh).values())
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        beside.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        beside.unlink(missing_ok=True)
