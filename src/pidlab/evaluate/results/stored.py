"""Results as a file: every value of a run's `Results` in `results.json`, and the same `Results` back again."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.errors import DataError
from pidlab.evaluate.results.run import Results, plain, saved_name
from pidlab.jsonfile import strict_json
from pidlab.measured import Measured

SCHEMA = 1
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


def write_results(path: Path, results: Results) -> None:
    """Write `results` as JSON: floats exactly, NaN and infinities as strings."""
    content = {"schema": SCHEMA, "results": plain(results, exact=True)}
    path.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """The `Results` that `write_results` wrote; what an older version did not know of takes its default.

    Raises:
        DataError: the file is missing, damaged, or of a version to come.
    """
    try:
        content = strict_json(path.read_text(encoding="utf-8"))
        schema, results = content["schema"], content["results"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read as the results of a run ({error}); make the run again") from error
    if schema != SCHEMA:
        raise DataError(f"{path}: written by another version of pidlab (schema {schema}); make the run again")
    try:
        decoded: Results = _decoded(results, Results)
        _check_names(decoded)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise DataError(f"{path}: does not hold the results of a run ({error}); make the run again") from error
    return decoded


def _check_names(results: Results) -> None:
    """Refuse names that the configuration would have refused: they become names of branches, functions and files.

    Raises:
        ValueError: which.
    """
    models = results.models.values()
    points = [p.name for m in models for p in m.working_points]
    for name in (*results.classes, *results.models, *(m.name for m in models), *points):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a class, model or working point")
    if results.signal not in results.classes or any(name != m.name for name, m in results.models.items()):
        raise ValueError("the signal is no class, or a model has two names")


def _decoded(value: Any, kind: Any) -> Any:
    """`value` of JSON as the annotated type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        inner = next(a for a in arguments if a is not types.NoneType)
        return None if value is None else _decoded(value, inner)
    if origin is np.ndarray:
        return np.asarray(_numbers(value), arguments[1].__args__[0] if arguments[1].__args__ else np.float64)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _decoded(inner, arguments[1]) for key, inner in value.items()}
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_decoded(inner, each) for inner, each in zip(value, kinds, strict=True))
    if origin is list:
        return [_decoded(inner, arguments[0]) for inner in value]
    if kind is Measured:
        return Measured(*(_decoded(number, float) for number in value))
    if dataclasses.is_dataclass(kind):
        return _decoded_fields(value, kind)
    if kind in (int, str, bool) and type(value) is not kind:
        raise TypeError(f"{str(value)[:40]!r} is no {kind.__name__}")
    if kind is float and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    return float(value) if kind is float else value


def _decoded_fields(value: Mapping[str, Any], kind: Any) -> Any:
    hints = typing.get_type_hints(kind)
    names = {f.name: saved_name(f) for f in dataclasses.fields(kind)}
    return kind(**{f: _decoded(value[name], hints[f]) for f, name in names.items() if name in value})


def _numbers(value: Any) -> Any:
    """Nested lists of numbers, the non-finite ones back from their names."""
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    return float(value) if isinstance(value, str) else value
