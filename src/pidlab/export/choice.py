"""Which models of a run a format can hold, and how its files describe them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pidlab import __version__
from pidlab.config.schema import Predicting
from pidlab.errors import UsageError
from pidlab.evaluate.results import json_value
from pidlab.export.run import FORMATS
from pidlab.models.fold import FoldModel
from pidlab.models.model import Model
from pidlab.models.registry import MODEL_TYPES
from pidlab.runs.bundle import Bundle


def choose(bundle: Bundle, models: Sequence[str], format: str) -> tuple[list[str], str]:
    """Returns those among `models` that a format can hold, and a sentence about the others, empty if there are none.

    If `models` are all models of the configuration, those that the format cannot hold are left out.

    Raises:
        UsageError: fewer models were named and the format cannot hold one of them, or it can hold none.
    """
    loaded = bundle.models
    is_regression = bundle.recipe.target is not None
    kinds = {
        name: kind.type
        for name, kind in MODEL_TYPES.items()
        if format in kind.exports and issubclass(kind.section, Predicting) == is_regression
    }
    fits = [name for name in models if loaded[name].kind in kinds and not loaded[name].per_point_cuts]
    if FORMATS[format].needs_features:
        fits = [name for name in fits if _is_plain(loaded[name])]
    others = [name for name in models if name not in fits]
    if not others:
        return fits, ""
    reasons = "; ".join(_reason(bundle, name) for name in others)
    if not fits or set(models) != set(bundle.recipe.loaded.config.models):
        raise UsageError(f"{format} takes models of type {', '.join(sorted(kinds.values()))}: {reasons}")
    return fits, f"Left out: {', '.join(others)} ({format} takes {', '.join(sorted(kinds.values()))})."


def choose_for_header(bundle: Bundle, models: Sequence[str]) -> tuple[list[str], str]:
    """Returns those among `models` that a C++ header can hold, and a sentence about the others, as `choose` does.

    Raises:
        UsageError: fewer models than all were named and one has no C++, or none has.
    """
    loaded = bundle.models
    others = [name for name in models if loaded[name].fitted and "header" not in MODEL_TYPES[loaded[name].kind].exports]
    if not others:
        return list(models), ""
    if len(others) == len(models) or set(models) != set(bundle.recipe.loaded.config.models):
        reasons = [
            f"{name!r} is of type {loaded[name].type}, which has no C++; {elsewhere(loaded[name], 'header')}"
            for name in others
        ]
        raise UsageError(f"header: {'; '.join(reasons)}")
    types = ", ".join(sorted({loaded[name].type for name in others}))
    return [name for name in models if name not in others], f"Left out: {', '.join(others)} (no C++ for {types})."


def _is_plain(model: Model) -> bool:
    """Returns whether a model reads features of the configuration only, and is one for all candidates."""
    return all(isinstance(fitted, FoldModel) and not fitted.band_columns for fitted in model.fitted)


def _reason(bundle: Bundle, name: str) -> str:
    model = bundle.models[name]
    if not model.fitted:
        return f"{name!r} is an expression (type {model.type}), {elsewhere(model)}"
    if model.per_point_cuts:
        return f"{name!r} has no score but a box for each working point, {elsewhere(model)}"
    if not _is_plain(model):
        return f"{name!r} has categories or reads numbers of sigmas of a band, {elsewhere(model)}"
    return f"{name!r} is of type {model.type}"


def elsewhere(model: Model, refused: str = "") -> str:
    """Returns the advice in which format but the one that `refused` a model to export it, or where its scores are."""
    held = [name for name in ("onnx", "header") if name in MODEL_TYPES[model.kind].exports]
    if not model.fitted or model.per_point_cuts:
        held = ["cuts", "header"] if model.fixed_cut or model.per_point_cuts else ["header"]
    held = [name for name in held if name != refused]
    return (
        f"export it as {' or '.join(held)}"
        if held
        else "no format holds it; its scores are in friend trees (pidlab apply)"
    )


def description(bundle: Bundle, name: str) -> dict[str, Any]:
    """Returns what a reader of a model needs besides the model, in types of JSON. It decides by score > threshold."""
    recipe, decisions, calibration = bundle.recipe, bundle.decisions[name], bundle.models[name].calibration
    return {
        "model": name,
        "type": bundle.models[name].kind,
        "features": [
            {"name": feature.name, "expression": located.expression.text, "missing": feature.missing}
            for feature, located in recipe.features
        ]
        + [{"name": text, "expression": text, "missing": []} for text, _ in recipe.conditions],
        **({} if recipe.target is None else {"target": recipe.target.expression.text}),
        "classes": list(recipe.classes),
        "signal": recipe.classes[recipe.signal],
        "thresholds": {d.name: d.threshold for d in decisions},
        "flat_thresholds": {d.name: json_value(d.flat) for d in decisions if d.flat is not None},
        "calibration": calibration.to_json() if calibration else None,
        "fingerprint": bundle.fingerprint,
        "pidlab": __version__,
    }
