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

from pidlab.errors import ModelError, OutputError, UsageError, nearest
from pidlab.export.parity import LIMIT, Exported, ParityEvents, parity_events
from pidlab.read import Source
from pidlab.runs.bundle import Bundle
from pidlab.runs.manifest import FILE, read_manifest
from pidlab.runs.whole import write_whole

Writer = Callable[[Bundle, Sequence[str], Path, ParityEvents, Path], list[Exported]]

FORMATS = {
    "header": "pidlab.export.cpp.check",
    "onnx": "pidlab.export.onnx.graph",
    "xgboost": "pidlab.export.xgboost_json",
    "cuts": "pidlab.export.cut_strings",
    "correctionlib": "pidlab.export.correctionlib.document",
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
        if name not in bundle.models:
            raise UsageError(f"{run}: has no model {name!r}; {nearest(name, bundle.models)}")
    write: Writer = importlib.import_module(FORMATS[format]).write
    events = parity_events(bundle, sources=sources)
    beside = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        beside.mkdir(parents=True)
        exported = write(bundle, list(models) or list(bundle.models), beside, events, run)
        for each in exported:
            if each.largest_difference > LIMIT:
                raise ModelError(f"{each.path.name}: differs from pidlab by {each.largest_difference:.3g}")
        moved = _moved(exported, beside, output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return _noted(run, bundle.fingerprint, moved)


def _moved(exported: Sequence[Exported], beside: Path, output: Path) -> list[Exported]:
    """Every file of the folder `beside` into `output`."""
    for path in sorted(p for p in beside.rglob("*") if p.is_file()):
        target = output / path.relative_to(beside)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    return [replace(each, path=output / each.path.relative_to(beside)) for each in exported]


def _noted(run: Path, fingerprint: str, exported: list[Exported]) -> list[Exported]:
    """Put the exports into the run's manifest, in place of earlier ones of the same format and models.

    The folder of a run may be read-only; the exports are as good without a note of them, and say that there is none.
    """
    path = run / FILE
    manifest = read_manifest(run)
    entries: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {
        (old["format"], tuple(map(str, old["models"]))): old
        for old in manifest.get("exports", [])
        if isinstance(old, dict) and isinstance(old.get("format"), str) and isinstance(old.get("models"), list)
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
    try:
        write_whole(path, json.dumps(manifest, indent=1) + "\n")
    except OutputError as error:
        why = str(error.__cause__.strerror) if isinstance(error.__cause__, OSError) else str(error)
        note = f"not noted in {path} ({why})"
        return [replace(each, note="; ".join(filter(None, [each.note, note]))) for each in exported]
    return exported
