"""Functions that numba compiles, and where their machine code is kept: nothing fails where it cannot be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numba
from numba.core import caching

from pidlab.process import private_folder


def compiled(**options: Any) -> Callable[[Any], Any]:
    """A decorator: numba's `njit` with `options`, the machine code kept for the next process wherever that is possible.

    numba keeps it beside the source, in `NUMBA_CACHE_DIR` or below the home folder; by itself it refuses the function
    where none of them can be written, as on the nodes of a batch system. Here it is then kept in a folder of the user's
    own below the temporary folder, so that processes on one machine share it, and where that is not possible either the
    function is compiled in each process anew.
    """

    def decorate(function: Any) -> Any:
        dispatcher = numba.njit(**options)(function)
        cache = _cache_of(function)
        if cache is not None:
            dispatcher._cache = cache
        return dispatcher

    return decorate


_numba_config: Any = numba.config  # its names are made while it is imported


class _Cache(caching.FunctionCache):
    """A cache whose files may be damaged, vanish or find no room: the function is then compiled again."""

    @contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        with suppress(Exception):  # what is damaged may be anything
            yield


_made: Any = _Cache  # numba has no types


def _cache_of(function: Any) -> Any:
    with suppress(RuntimeError):  # numba's word for "there is no place that can be written"
        return _made(function)
    folder = private_folder()
    if folder is None:
        return None
    before = _numba_config.CACHE_DIR
    _numba_config.CACHE_DIR = str(folder)  # read while the cache is made, and not after
    try:
        return _made(function)
    except (RuntimeError, OSError):
        return None
    finally:
        _numba_config.CACHE_DIR = before
