"""Compiled: functions that numba compiles, and a cache of their machine code that never makes them fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numba
from numba.core import caching

from pidlab.process import private_folder


def compiled(**options: Any) -> Callable[[Any], Any]:
    """Returns a decorator: numba's `njit` with `options`, which caches the machine code if that is possible.

    numba caches it next to the source, in `NUMBA_CACHE_DIR` or below the home folder, and raises an error if none of
    them can be written, as on the nodes of a batch system. In that case the code is cached in a private folder below
    the temporary folder, or, if that is impossible too, the function is compiled in each process.
    """

    def decorate(function: Any) -> Any:
        dispatcher = numba.njit(**options)(function)
        cache = _cache_of(function)
        if cache is not None:
            dispatcher._cache = cache
        return dispatcher

    return decorate


_numba_config: Any = numba.config  # mypy does not see its names, which are made during the import


class _Cache(caching.FunctionCache):
    """A cache whose files may be damaged, deleted or too large for the disk; the function is then compiled again."""

    @contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        with suppress(Exception):  # a damaged file can raise any class of error
            yield


def _cache_of(function: Any) -> Any:
    make: Any = _Cache  # numba has no types
    with suppress(RuntimeError):  # numba raises it if no folder can be written
        return make(function)
    folder = private_folder()
    if folder is None:
        return None
    before = _numba_config.CACHE_DIR
    _numba_config.CACHE_DIR = str(folder)  # it is only read while the cache is made
    try:
        return make(function)
    except (RuntimeError, OSError):
        return None
    finally:
        _numba_config.CACHE_DIR = before
