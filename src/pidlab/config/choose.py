"""Choose: some of the models of a configuration, and nothing that refers to the others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pidlab.errors import UsageError, nearest


def without_model(content: dict[str, Any], name: str, asked: str) -> None:
    """Removes a model from the content of a configuration, with what `tune` and `style` say of it.

    Args:
        content: sections as dicts, which are changed.
        name: the model.
        asked: the option of the command that asked for it, for the message.

    Raises:
        UsageError: there is no such model.
    """
    models = _section(content, "models")
    if name not in models:
        raise UsageError(f"{asked}: the configuration has no model {name!r}; {nearest(name, models)}")
    content["models"] = {other: section for other, section in models.items() if other != name}
    _section(content, "tune").pop(name, None)
    style = _section(content, "style")
    if style.get("reference") == name:
        del style["reference"]


def only_models(content: dict[str, Any], names: Collection[str]) -> None:
    """Removes all other models than `names`, and than bands whose numbers of sigmas are features.

    Raises:
        UsageError: one of them is no model of the configuration.
    """
    models = _section(content, "models")
    for name in names:
        if name not in models:
            raise UsageError(f"--only {name}: the configuration has no model {name!r}; {nearest(name, models)}")
    features = content.get("features")
    listed = features if isinstance(features, list) else []
    bands = [feature.get("band") for feature in listed if isinstance(feature, dict)]
    for name in models:
        if name not in names and name not in bands:
            without_model(content, name, "--only")


def _section(content: dict[str, Any], key: str) -> dict[str, Any]:
    """Returns a section; an empty one if it is missing, or no section, which the check of the configuration reports."""
    section = content.get(key)
    return section if isinstance(section, dict) else {}
