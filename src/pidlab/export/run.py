"""Runs an export: writes files in a temporary folder, checks them, moves them to their place, notes them in the run."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pidlab.atomic import write_text
from pidlab.errors import OutputError, UsageError, nearest
from pidlab.export.parity import Exported, ParityEvents, parity_events
from pidlab.read import Source
from pidlab.runs.bundle import Bundle
from pidlab.runs.manifest import FILE, read_manifest
from pidlab.runs.whole import filled_folder

Writer = Callable[[Bundle, Sequence[str], Path, ParityEvents, Path], list[Exported]]


class Format(NamedTuple):
    """A format of exports.

    Attributes:
        module: its `write` makes the files; it is imported when the format is asked for.
        holds_selection: whether the files hold the cuts of the selection.
        needs_features: whether it takes only models of the features of the configuration, without categories.
    """

    module: str
    holds_selection: bool = False
    needs_features: bool = False


FORMATS = {
    "header": Format("pidlab.export.cpp.check", holds_selection=True),
    "onnx": Format("pidlab.export.onnx.graph"),
    "xgboost": Format("pidlab.export.xgboost_json", needs_features=True),
    "cuts": Format("pidlab.export.cut_strings", holds_selection=True),
    "correctionlib": Format("pidlab.export.correctionlib.document"),
}
"""The formats by the name that `pidlab export --format` takes."""


def export(
    bundle: Bundle,
    run: Path,
    format: str,
    models: Sequence[str],
    output: Path,
    sources: Sequence[Source] | None = None,
) -> list[Exported]:
    """Writes models of a run in another format into the folder `output`, after checking them on events.

    Args:
        bundle: holds the models.
        run: the folder of the run; the export is noted in its `manifest.json`.
        format: a key of `FORMATS`.
        models: names; empty for all models of the bundle.
        output: created if it does not exist; files of the same names are replaced.
        sources: events to check on instead of the run's inputs.

    Raises:
        UsageError: there is no such format or model, or the format cannot hold a model.
        DataError: there are no events to check on.
        ModelError: an exported model disagrees with pidlab; no file is written then.
        OutputError: the files cannot be written.
    """
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}; {nearest(format, FORMATS)}")
    for name in models:
        if name not in bundle.models:
            raise UsageError(f"{run}: has no model {name!r}; {nearest(name, bundle.models)}")
    write: Writer = importlib.import_module(FORMATS[format].module).write
    events = parity_events(bundle, sources=sources)
    with filled_folder(output, into_a_run=True) as folder:
        exported = write(bundle, list(models) or list(bundle.models), folder, events, run)
        if bundle.recipe.best is not None and FORMATS[format].holds_selection:
            exported = [_with_note(each, _BEST.format(bundle.recipe.best)) for each in exported]
    moved = [replace(each, path=output / each.path.name) for each in exported]
    return _noted(run, bundle.fingerprint, moved)


def _noted(run: Path, fingerprint: str, exported: list[Exported]) -> list[Exported]:
    """Puts the exports into the run's manifest, in place of earlier ones of the same format and models.

    If the manifest cannot be written, as in a read-only folder, the notes of the exports say so.
    """
    path = run / FILE
    manifest = read_manifest(run)
    entries: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {
        (old["format"], tuple(map(str, old["models"]))): old
        for old in manifest.get("exports", [])
        if isinstance(old, dict) and isinstance(old.get("format"), str) and isinstance(old.get("models"), list)
    }
    for key in dict.fromkeys((each.format, each.models) for each in exported):
        files = [each for each in exported if (each.format, each.models) == key]
        worst = max(each.largest_difference for each in files)
        entries[key] = {
            "format": files[0].format,
            "files": [each.path.name for each in files],
            "models": list(files[0].models),
            "largest_difference": None if math.isnan(worst) else worst,
            "n_events": files[0].n_events,
            "fingerprint": fingerprint,
        } | ({"note": files[-1].note} if files[-1].note else {})
    manifest["exports"] = list(entries.values())
    try:
        write_text(path, json.dumps(manifest, indent=1) + "\n")
    except OutputError as error:
        why = str(error.__cause__.strerror) if isinstance(error.__cause__, OSError) else str(error)
        note = f"not noted in {path} ({why})"
        return [_with_note(each, note) for each in exported]
    return exported


_BEST = "holds the cuts alone: that the candidate is the one of its event with {} is left to you"


def _with_note(exported: Exported, note: str) -> Exported:
    return replace(exported, note="; ".join(filter(None, [exported.note, note])))
