"""How many threads the libraries may use: one each while several workers score at the same time."""

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
    """Returns how many threads a model may score with: one inside `one_thread`, else all that this process may use."""
    return 1 if _n_inside else len(os.sched_getaffinity(0))


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits BLAS, OpenMP, torch and the trees to one thread in this block, and restores their numbers afterwards.

    Several threads may be in such blocks at once, inside a block of the thread that started them: OpenMP counts for
    each thread separately, while BLAS obeys the first thread only.
    """
    global _n_inside, _torch_before
    torch = sys.modules.get("torch")
    with _libraries(frozenset(name for name in _THREADED if name in sys.modules)).limit(limits=1):
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
    """Finds the loaded libraries that have threads of their own, once for each set of libraries, because it is slow."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # comes with scikit-learn

    return ThreadpoolController()
