"""Compiled: functions that numba compiles, and a cache of their machine code that never makes them fail."""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pidlab.process import private_folder

if TYPE_CHECKING:  # numba takes half a second, and is imported when the first compiled function is called
    from numba.core import caching


def compiled(**options: Any) -> Callable[[Any], Compiled]:
    """Returns a decorator: numba's `njit` with `options`, which caches the machine code if that is possible.

    numba caches it next to the source, in `NUMBA_CACHE_DIR` or below the home folder, and raises an error if none of
    them can be written, as on the nodes of a batch system. In that case the code is cached in a private folder below
    the temporary folder, or, if that is impossible too, the function is compiled in each process.
    """
    return lambda function: Compiled(function, options)


def compiled_module(name: str) -> ModuleType:
    """Returns the module `name` of a library whose functions numba compiles while the module is imported.

    Such a module cannot be imported if numba can write its cache neither beside the library nor below the home folder.
    In that case the cache is in the private folder below the temporary folder.

    Raises:
        ImportError: the library is not installed.
    """
    try:
        return importlib.import_module(name)
    except RuntimeError:  # numba raises it if no folder can be written
        folder = private_folder()
        if folder is None:
            raise
        import numba

        config: Any = numba.config  # mypy does not see its names, which are made during the import
        before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
        try:
            return importlib.import_module(name)
        finally:
            config.CACHE_DIR = before


class Compiled:
    """A function that numba compiles. numba itself is imported at the first call, and not with the module.

    Compiled functions may call each other: `_know_compiled` tells numba how.
    """

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._function, self._options = function, options
        self._dispatcher: Any = None
        self._lock = threading.RLock()  # reentrant, since a compilation reaches the functions that are called

    def __call__(self, *arguments: Any) -> Any:
        """Calls the compiled function; the first call compiles it, or loads its machine code."""
        return self.dispatcher(*arguments)

    @property
    def dispatcher(self) -> Any:
        """numba's own object for the function."""
        if self._dispatcher is None:
            with self._lock:
                if self._dispatcher is None:
                    import numba

                    _know_compiled()
                    dispatcher = numba.njit(**self._options)(self._function)
                    dispatcher._compilation_chain_init_hook = lambda: None  # imports numba's extensions too
                    dispatcher.compile = _without_extensions(dispatcher.compile)
                    cache = _cache_of(self._function)
                    if cache is not None:
                        dispatcher._cache = cache
                    self._dispatcher = dispatcher
        return self._dispatcher


def _without_extensions(compile_for: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns numba's `compile`, which then imports no packages that teach numba types of their own.

    Such packages, for example vector, which imports sympy, take longer to import than numba itself. Compiled functions
    of pidlab take arrays and numbers only; numba imports the packages when it compiles a function of another package.
    """

    def compile_without(signature: Any) -> Any:
        from numba.core import entrypoints
        from numba.core.compiler_lock import global_compiler_lock

        with global_compiler_lock:
            before = entrypoints._already_initialized
            entrypoints._already_initialized = True
            try:
                return compile_for(signature)
            finally:
                entrypoints._already_initialized = before

    return compile_without


@functools.cache
def _know_compiled() -> None:
    """Tells numba that a `Compiled` function which compiled code calls has the type of its dispatcher."""
    from numba.extending import typeof_impl

    @typeof_impl.register(Compiled)
    def type_of(value: Compiled, context: Any) -> Any:
        return typeof_impl(value.dispatcher, context)


@functools.cache
def _cache_class() -> type[caching.FunctionCache]:
    from numba.core import caching

    class Cache(caching.FunctionCache):
        """A cache whose files may be damaged, deleted or too large; the function is then compiled again."""

        @contextmanager
        def _guard_against_spurious_io_errors(self) -> Iterator[None]:
            with suppress(Exception):  # a damaged file can raise any class of error
                yield

    return Cache


def _cache_of(function: Any) -> Any:
    import numba

    make: Any = _cache_class()  # numba has no types
    config: Any = numba.config  # mypy does not see its names, which are made during the import
    with suppress(RuntimeError):  # numba raises it if no folder can be written
        return make(function)
    folder = private_folder()
    if folder is None:
        return None
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)  # it is only read while the cache is made
    try:
        return make(function)
    except (RuntimeError, OSError):
        return None
    finally:
        config.CACHE_DIR = before
