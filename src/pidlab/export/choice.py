"""Which of a run's models a format can hold, and what its files say of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pidlab import __version__
from pidlab.errors import UsageError
from pidlab.evaluate.results import json_value
from pidlab.runs.bundle import Bundle


def choose(bundle: Bundle, models: Sequence[str], kinds: Collection[str], what: str) -> tuple[list[str], str]:
    """Those among `models` that have a score and a type in `kinds`, and a sentence about others, empty without them.

    All the models of the configuration stand for "whatever can be"; fewer were named, and are taken at their word.

    Args:
        bundle: holds the models.
        models: names.
        kinds: types of the configuration.
        what: the format, as the subject of the sentence.

    Raises:
        UsageError: a named model is of another type, or none can be taken.
    """
    loaded = bundle.models
    fits = [name for name in models if loaded[name].kind in kinds and not loaded[name].boxes]
    others = [name for name in models if name not in fits]
    if not others:
        return fits, ""
    reasons = "; ".join(_reason(bundle, name) for name in others)
    if not fits or set(models) != set(bundle.recipe.loaded.config.models):
        raise UsageError(f"{what} takes models of type {', '.join(sorted(kinds))}: {reasons}")
    return fits, f"Left out: {', '.join(others)} ({what} takes {', '.join(sorted(kinds))})."


def _reason(bundle: Bundle, name: str) -> str:
    contender = bundle.models[name]
    if not contender.fitted:
        return f"{name!r} is an expression (type {contender.kind}), export it as cuts or header"
    if contender.boxes:
        return f"{name!r} has no score but a box for each working point, export it as cuts or header"
    return f"{name!r} is of type {contender.kind}"


def description(bundle: Bundle, name: str) -> dict[str, Any]:
    """What a reader of a model needs besides the model, in JSON's types; a decision is score > threshold, strictly."""
    recipe, decisions, calibration = bundle.recipe, bundle.decisions[name], bundle.models[name].calibration
    return {
        "model": name,
        "type": bundle.models[name].kind,
        "features": [
            {"name": feature.name, "expression": stated.expression.text, "missing": feature.missing}
            for feature, stated in recipe.features
        ],
        "classes": list(recipe.classes),
        "signal": recipe.classes[recipe.signal],
        "thresholds": {d.name: d.threshold for d in decisions},
        "flat_thresholds": {d.name: json_value(d.flat) for d in decisions if d.flat is not None},
        "calibration": calibration.to_json() if calibration else None,
        "fingerprint": bundle.fingerprint,
        "pidlab": __version__,
    }
