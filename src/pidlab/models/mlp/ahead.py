"""Torch imported in a thread, while other models train."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import threading
from contextlib import suppress
from types import ModuleType

_SWITCH = 5e-4  # seconds; with Python's 5 ms each round of xgboost could wait so long for the thread that imports


class _WithTensor(importlib.abc.Loader):
    """Loads torch as `loader` does, into a module that has a class `Tensor` from the start.

    Scipy asks whether an array is a `torch.Tensor` if it finds torch in `sys.modules`, where a module is before it is
    whole: it would fail in the thread that trains.
    """

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Returns the empty module, with a class that no array has."""
        module = ModuleType(spec.name)
        module.Tensor = type("Tensor", (), {})  # type: ignore[attr-defined]  # until torch's own takes its place
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Fills the module."""
        self._loader.exec_module(module)


class _TorchWithTensor(importlib.abc.MetaPathFinder):
    """Finds torch where it is, to be loaded by `_WithTensor`."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Returns the place of torch; None for other modules, or if there is no torch."""
        spec = importlib.machinery.PathFinder.find_spec(name) if name == "torch" else None
        if spec is not None and spec.loader is not None:
            spec.loader = _WithTensor(spec.loader)
        return spec


def import_torch_ahead() -> threading.Thread | None:
    """Begins to import torch in a thread, which ends by itself; None if torch is there already.

    Half of the second that it takes is spent in loading libraries and the rest in Python, while models that train
    before a network compute in C and leave that to another core. Code that needs torch imports it as usual: an `import`
    waits for one that is under way in another thread, and says what is wrong if that one failed.
    """
    if "torch" in sys.modules:
        return None
    thread = threading.Thread(target=_import, name="import of torch")
    thread.start()
    return thread


def _import() -> None:
    before, finder = sys.getswitchinterval(), _TorchWithTensor()
    sys.setswitchinterval(_SWITCH)
    sys.meta_path.insert(0, finder)
    with suppress(Exception):
        import torch  # noqa: F401
    sys.meta_path.remove(finder)
    sys.setswitchinterval(before)
