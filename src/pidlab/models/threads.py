"""How many threads the libraries may use: one each while several workers score side by side, and then as before."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_THREADED = ("lightgbm", "numpy", "onnxruntime", "scipy", "sklearn", "torch", "xgboost")
_lock = threading.Lock()
_n_inside = 0
_torch_before: int | None = None


def allowed_threads() -> int:
    """Threads that a model may score with: one inside `one_thread`, else as many as this process may run on."""
    return 1 if _n_inside else len(os.sched_getaffinity(0))


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for BLAS, OpenMP, torch and the trees in this block, and then as many as before.

    Several threads may be in such blocks at once, inside one of the thread that started them: OpenMP counts for each
    thread by itself, BLAS listens to the first one only.
    """
    loaded = frozenset(name for name in _THREADED if name in sys.modules)
    with _libraries(loaded).limit(limits=1), _one_for_all():
        yield


@contextmanager
def _one_for_all() -> Iterator[None]:
    global _n_inside, _torch_before
    torch = sys.modules.get("torch")
    with _lock:
        if not _n_inside and torch:
            _torch_before = torch.get_num_threads()
            torch.set_num_threads(1)
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if not _n_inside and torch and _torch_before:
                torch.set_num_threads(_torch_before)
                _torch_before = None


@cache
def _libraries(loaded: frozenset[str]) -> Any:
    """The libraries with threads of their own; to look for them takes long, so it is done once for those `loaded`."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # comes with scikit-learn

    return ThreadpoolController()
