"""Modules that were documented under another name: an import of the old name gives what the new one holds."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NEW_NAMES = {
    "pidlab.apply.arrays": "pidlab.pipeline.loaded",
    "pidlab.arrays": "pidlab.pipeline.loaded",
    "pidlab.bundle": "pidlab.runs.bundle",
    "pidlab.evaluate.results_numbers": "pidlab.measured",
    "pidlab.events": "pidlab.preprocess.events",
    "pidlab.models.contender": "pidlab.models.model",
    "pidlab.models.estimators": "pidlab.models.registry",
    "pidlab.recipe": "pidlab.preprocess.recipe",
}
"""Old module to new module."""

NEW_ATTRIBUTES = {
    ("pidlab.models.contender", "Contender"): ("pidlab.models.model", "Model"),
    ("pidlab.models.contender", "Resources"): ("pidlab.models.registry", "Resources"),
}
"""Old module and attribute to the new ones, where the attribute was renamed or is in another module than the rest."""


class MovedModules:
    """Finds the modules of `NEW_NAMES`; each is an empty module whose attributes are those of the new one.

    A finder and a loader without the base classes of `importlib.abc`, whose import takes longer than all else here.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the specification of a module that has moved, and None for every other module."""
        return ModuleSpec(fullname, self) if fullname in NEW_NAMES else None  # type: ignore[arg-type]  # see above

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Returns None: Python makes the empty module itself."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Lets the module of the old name look its attributes up in the module of the new name."""
        new = importlib.import_module(NEW_NAMES[module.__name__])
        module.__doc__ = f"Has moved to {new.__name__}."

        def attribute(name: str) -> Any:
            place, new_name = NEW_ATTRIBUTES.get((module.__name__, name), (new.__name__, name))
            return getattr(importlib.import_module(place), new_name)

        module.__dict__["__getattr__"] = attribute


def install() -> None:
    """Puts the finder behind Python's own, once: it is asked only for modules that do not exist."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
