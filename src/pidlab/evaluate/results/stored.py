"""Results in JSON: `results.json` holds every value of a run's `Results` and is read back into the same values."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.errors import DataError
from pidlab.evaluate.results.regression import RegressionResults
from pidlab.evaluate.results.run import Results
from pidlab.jsonfile import strict_json
from pidlab.measured import Measured

SCHEMA = 1
_REGRESSION = "regression"
AnyResults = Results | RegressionResults
"""The results of a run: of a classification, or of a regression."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


def write_results(path: Path, results: AnyResults) -> None:
    """Writes `results` as JSON, with exact floats, and NaN and infinities as strings."""
    kind = {"kind": _REGRESSION} if isinstance(results, RegressionResults) else {}
    content = {"schema": SCHEMA, **kind, "results": json_value(results, exact=True)}
    path.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Returns the `Results` of a classification, as `read_any_results` reads them.

    Raises:
        DataError: The file is missing, damaged, or of a newer version, or holds a regression.
    """
    results = read_any_results(path)
    if isinstance(results, RegressionResults):
        raise DataError(f"{path}: holds the results of a regression (of {results.target}), and this needs classes")
    return results


def read_any_results(path: Path) -> AnyResults:
    """Returns what `write_results` wrote; fields that an older version did not have take their default.

    Raises:
        DataError: The file is missing, damaged, or of a newer version.
    """
    try:
        content = strict_json(path.read_text(encoding="utf-8"))
        schema, results = content["schema"], content["results"]
        kind = RegressionResults if content.get("kind") == _REGRESSION else Results
    except (AttributeError, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read as the results of a run ({error}); make the run again") from error
    if schema != SCHEMA:
        raise DataError(f"{path}: written by another version of pidlab (schema {schema}); make the run again")
    try:
        decoded: AnyResults = _decoded(results, kind)
        _check_names(decoded)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise DataError(f"{path}: does not hold the results of a run ({error}); make the run again") from error
    return decoded


def json_value(value: Any, *, exact: bool = False) -> Any:
    """Returns `value` in JSON's own types.

    A `Measured` becomes an object of its four numbers, and NaN and infinities become null. With `exact`, for a file
    that is read back into the same values, a `Measured` becomes the list of its four numbers, and NaN and infinities
    become strings. The name of a field is the `saved_as` of its metadata, by default its own name.
    """
    if value is None or isinstance(value, str | int):  # first, since results are numbers above all
        return value
    if isinstance(value, float):
        finite = math.isfinite(value)
        return float(value) if finite else str(float(value)) if exact else None
    if isinstance(value, Measured):
        numbers = {name: json_value(number, exact=exact) for name, number in value._asdict().items()}
        return list(numbers.values()) if exact else numbers
    if isinstance(value, np.ndarray):
        numeric = value.dtype.kind in "biu" or (value.dtype.kind == "f" and bool(np.isfinite(value).all()))
        return value.tolist() if numeric else json_value(value.tolist(), exact=exact)
    if isinstance(value, list | tuple):
        return [json_value(v, exact=exact) for v in value]
    if isinstance(value, np.generic):
        return json_value(value.item(), exact=exact)
    if isinstance(value, Mapping):
        return {str(k): json_value(v, exact=exact) for k, v in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {saved_name(f): json_value(getattr(value, f.name), exact=exact) for f in dataclasses.fields(value)}
    return value


def saved_name(f: dataclasses.Field[Any]) -> str:
    """Returns the name of a field in files, which keep the old name of a field that was renamed."""
    name: str = f.metadata.get("saved_as", f.name)
    return name


def _check_names(results: AnyResults) -> None:
    """Refuses names that the configuration refuses, since they become names of branches, functions and files.

    Raises:
        ValueError: The file holds such a name.
    """
    names = [*results.models, *(m.name for m in results.models.values())]
    if isinstance(results, Results):
        names += [*results.classes, *(p.name for m in results.models.values() for p in m.working_points)]
        if results.signal not in results.classes:
            raise ValueError("the signal is no class")
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a class, model or working point")
    if any(name != m.name for name, m in results.models.items()):
        raise ValueError("a model has two names")


def _decoded(value: Any, kind: Any) -> Any:
    """Returns a value of JSON as the annotated type `kind`."""
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
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = {f.name: saved_name(f) for f in dataclasses.fields(kind)}
        return kind(**{f: _decoded(value[name], hints[f]) for f, name in names.items() if name in value})
    if kind in (int, str, bool) and type(value) is not kind:
        raise TypeError(f"{str(value)[:40]!r} is no {kind.__name__}")
    if kind is float and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    return float(value) if kind is float else value


def _numbers(value: Any) -> Any:
    """Returns nested lists of numbers, with the names of non-finite ones replaced by numbers."""
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    return float(value) if isinstance(value, str) else value
