"""Given: arrays, labels or a target, and models of a Python session as a configuration with its table in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor

from pidlab.config.load import LoadedConfig, check_config
from pidlab.config.schema import BdtModel
from pidlab.errors import DataError, ExpressionError, UsageError, nearest
from pidlab.expressions import parse
from pidlab.models.base import Classifier, Estimator
from pidlab.models.external.sklearn.given import import_path
from pidlab.models.registry import MODEL_TYPES, GivenEstimator
from pidlab.models.regressors.base import Regressor
from pidlab.read.memory import as_values, column_of, names_of

LABEL, WEIGHT, EVENT, SCORE = "pidlab_class", "pidlab_weight", "pidlab_event", "pidlab_score"
TARGET = "pidlab_target"
"""Names of the columns that hold what is given beside the features; scores end in their model's name. A target is
called `target`, or as its column of a data frame, where no column of X is called so."""
FILE = "arrays.root"
"""The file of the table in the folder of a saved comparison."""

_PLACE = "pidlab.compare"
_ARGUMENTS = {"seed": "seed", "device": "device", "n_jobs": "jobs"}
"""Parameters of estimators that are one for all models of a comparison, and the arguments that set them."""
_NAME = re.compile(r"[^A-Za-z0-9_]+")
_MOST_CLASSES = 100  # by default; more labels than that are rather a number that was meant as a target


@dataclass(frozen=True, slots=True)
class Given:
    """A comparison as it was asked for.

    Attributes:
        loaded: the configuration, with the table in memory.
        objects: the estimators that were given as objects, by the name of their model.
    """

    loaded: LoadedConfig
    objects: Mapping[str, GivenEstimator]


def given(
    X: Any,
    y: Any = None,
    *,
    target: Any = None,
    models: Mapping[str, Any],
    weight: Any = None,
    event: Any = None,
    spectators: Any = None,
    classes: Mapping[str, Any] | Sequence[Any] | None = None,
    features: Sequence[Any] | None = None,
    settings: Mapping[str, Any],
) -> Given:
    """Returns the configuration of a comparison; the arguments are those of `pidlab.compare`.

    Raises:
        UsageError: an argument cannot be used.
        DataError: an array cannot be used, or arrays differ in length.
        ConfigError: the configuration has mistakes.
    """
    given_beside = {"y": y, "target": target, "weight": weight, "event": event, "spectators": spectators}
    _check_indexes(X, given_beside | _scores(models))
    table, own_features = _table(X, features)
    n = len(next(iter(table.values())))
    _add_spectators(table, spectators)
    columns = dict(table)
    names: dict[str, Any] = {}
    _refuse_other_than_one(y, target, classes)
    if target is None:
        names, columns[LABEL] = _labels(as_values(_array(y), "y"), n, classes)
        learned: dict[str, Any] = {"classes": {name: f"{LABEL} == {i}" for i, name in enumerate(names)}}
    else:
        learned = {"target": _target(target, columns, n, () if features is not None else own_features)}
    content: dict[str, Any] = {
        **settings,
        "data": {**settings.get("data", {}), "files": FILE},
        **learned,
        "features": [_feature(each) for each in own_features],
    }
    if spectators is not None:
        named = spectators if isinstance(spectators, list | tuple) else names_of(spectators)
        content["spectators"] = [
            _expression(name) for name in named if getattr(table.get(name), "dtype", np.dtype(float)).kind != "T"
        ]
    if weight is not None:
        content["data"]["weight"] = weight if isinstance(weight, str) else WEIGHT
        if not isinstance(weight, str):
            columns[WEIGHT] = as_values(_array(weight), "weight")
    if event is not None:
        content["data"]["event_id"] = _event_columns(columns, event)
    sections: dict[str, Any] = {}
    objects: dict[str, GivenEstimator] = {}
    if not isinstance(models, Mapping):
        raise UsageError('models: give a dict of names to models, such as {"bdt": pidlab.BDT()}')
    for name, model in models.items():
        sections[name] = _section(name, model, columns, n, predicts=target is not None)
        if sections[name].get("object"):
            objects[name] = GivenEstimator(model, tuple(names.values()))
    content["models"] = sections
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key} {length:,}" for key, length in lengths.items())
        raise DataError(f"the arrays differ in length: {listed}")
    loaded = check_config(content, {(): _PLACE}, Path.cwd() / "comparison.yaml")
    return Given(replace(loaded, arrays=columns), objects)


def _scores(models: Any) -> dict[str, Any]:
    return {f"models.{name}": model for name, model in models.items()} if isinstance(models, Mapping) else {}


def _check_indexes(X: Any, others: Mapping[str, Any]) -> None:
    """Checks that data frames and series of pandas have the same index, since their rows are taken in order.

    Raises:
        DataError: the index of one is not that of X.
    """
    if not hasattr(X, "iloc"):
        return
    for name, values in others.items():
        if hasattr(values, "iloc") and len(values) == len(X) and not X.index.equals(values.index):
            what = f"X and {name} have different indexes, by which pandas would match their rows"
            raise DataError(f"{what}; here rows are taken in order: give {name}.loc[X.index], or to_numpy() of both")


def _array(values: Any) -> Any:
    """Returns a list as an array; arrays and columns of data frames as they are."""
    return np.asarray(values) if isinstance(values, list | tuple) else values


def _table(X: Any, features: Sequence[Any] | None) -> tuple[dict[str, Any], list[Any]]:
    """Returns the columns of X by name, and its features: those that are asked for, by default all columns."""
    X = _array(X)
    if names := names_of_table(X):
        table = {name: column_of(X, name) for name in names}
        return table, list(names if features is None else features)
    if getattr(X, "ndim", 0) != 2:
        shape = getattr(X, "shape", type(X).__name__)
        raise DataError(
            f"X is {shape}; give n rows of d features, or a table with names (a record array, dict, pandas)"
        )
    matrix = np.asarray(X)
    n_features = matrix.shape[1]
    called = [f"x{j}" for j in range(n_features)] if features is None else [str(name) for name in features]
    if len(called) != n_features:
        raise UsageError(f"features: {len(called)} names are given for {n_features} columns of X")
    return {name: as_values(matrix[:, j], name) for j, name in enumerate(called)}, list(called)


def names_of_table(X: Any) -> tuple[str, ...]:
    """Returns the names of the columns of a table, in its order; empty for an array without names."""
    is_table = isinstance(X, Mapping) or hasattr(X, "columns") or hasattr(X, "fields")
    return names_of(X) if is_table or getattr(getattr(X, "dtype", None), "names", None) else ()


def _add_spectators(table: dict[str, Any], spectators: Any) -> None:
    """Adds the spectators that are arrays to the columns of X.

    Raises:
        UsageError: a spectator is given both as an array and as another column of X.
    """
    if spectators is None or isinstance(spectators, list | tuple):
        return
    for name in names_of(spectators):
        values = column_of(spectators, name)
        if name in table and not (
            len(values) == len(table[name]) and np.array_equal(values, table[name], equal_nan=values.dtype.kind == "f")
        ):
            raise UsageError(f"spectators: X has a column {name!r} with other values; give the array another name")
        table[name] = values


def _refuse_other_than_one(y: Any, target: Any, classes: Any) -> None:
    """Refuses a comparison that has neither classes nor a target, or both.

    Raises:
        UsageError: it is one of these.
    """
    if y is None and target is None:
        raise UsageError(f"{_PLACE}: give y, the class of each row, or target=, the number to predict of each row")
    if target is not None and (y is not None or classes is not None):
        both = "y" if y is not None else "classes"
        raise UsageError(f"{_PLACE}: target= is for a regression, and {both} for classes; give one of them")


def _target(target: Any, columns: dict[str, Any], n: int, features: Sequence[Any]) -> Any:
    """Returns the section `target` of the configuration, and adds what is given as arrays to the columns.

    Args:
        target: (n,) numbers, an expression of columns, or a dict of `value` and `cut`, each of which is one of these.
        columns: the table.
        n: its number of rows.
        features: the features if none were chosen: all columns of X; empty if `features` says which are some.

    Raises:
        UsageError: a feature by default is a column that the target reads, or the dict has other keys.
        DataError: an array has another shape, or holds no numbers.
    """
    if isinstance(target, Mapping):
        if "value" not in target or not set(target) <= {"value", "cut"}:
            raise UsageError(f"target: has the keys {', '.join(map(str, target))}; give value, and cut if need be")
        asked = {"value": _target(target["value"], columns, n, features)}
        cut = target.get("cut", "1")
        if not isinstance(cut, str):
            columns[f"{TARGET}_cut"] = _of_each_row(cut, "target.cut", n)
        return {**asked, "cut": cut if isinstance(cut, str) else f"{TARGET}_cut"}
    if isinstance(target, str):
        try:
            read = sorted(parse(target).branches & set(map(str, features)))
        except ExpressionError:
            read = []  # the check of the configuration says what is wrong
        if read:
            raise UsageError(
                f"target: {target!r} reads {', '.join(map(repr, read))} of X, and by default all columns of X are "
                "features; say which are by features=[…]"
            )
        return target
    values = _of_each_row(target, "target", n)
    own = getattr(target, "name", None)
    name = next(each for each in (own, "target", TARGET) if isinstance(each, str) and each and each not in columns)
    columns[name] = values
    return _expression(name)


def _of_each_row(values: Any, what: str, n: int) -> Any:
    """Returns numbers or truths, one for each row.

    Raises:
        DataError: they have another shape, or are no numbers.
    """
    found = as_values(_array(values), what)
    if np.ndim(found) != 1 or len(found) != n:
        raise DataError(f"{what} has the shape {np.shape(found)}; give one number for each of the {n:,} rows of X")
    if found.dtype.kind not in "biuf":
        raise DataError(f"{what} holds texts; give numbers, or classes as y")
    return found


def _labels(y: Any, n: int, classes: Mapping[str, Any] | Sequence[Any] | None) -> tuple[dict[str, Any], Any]:
    """Returns the label in y of each class by its name, the signal first, and y (n,) as class numbers, -1 for none.

    Raises:
        DataError: y has another shape, or a class has no row.
    """
    if np.ndim(y) != 1 or len(y) != n:
        raise DataError(f"y has the shape {np.shape(y)}; give one label for each of the {n:,} rows of X")
    found = np.unique(y)
    if classes is None:
        if len(found) > _MOST_CLASSES:
            raise DataError(
                f"y holds {len(found):,} different labels, too many for classes; a number that is to be predicted is "
                f"given as {_PLACE}(X, target=…), and classes=[…] chooses some labels"
            )
        if set(found.tolist()) in ({0, 1}, {-1, 1}):
            named = {"signal": found[1], "background": found[0]}
        else:
            values = sorted(found.tolist(), key=lambda value: value != "signal") if y.dtype.kind == "T" else found
            named = _named(values)
    else:
        named = dict(classes) if isinstance(classes, Mapping) else _named(classes)
    if len(named) < 2:
        what = f"y holds {len(found)} class" if len(found) < 2 else "classes: one class is named"
        raise DataError(f"{what}; two or more are needed")
    numbers = np.full(n, -1, np.int64)
    for i, (name, value) in enumerate(named.items()):
        rows = np.asarray(y == value)
        if rows.shape != (n,) or not rows.any():
            raise DataError(f"classes: no row of y is {value!r}, the label of {name!r}; y holds {found[:10].tolist()}")
        numbers[rows] = i
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in named.items()}, numbers


def _named(values: Any) -> dict[str, Any]:
    """Returns labels by the names of their classes.

    Raises:
        DataError: two labels have the same name.
    """
    named: dict[str, Any] = {}
    for value in values:
        name = _class_name(value)
        if name in named:
            what = f"the labels {named[name]!r} and {value!r} in y would both be the class {name!r}"
            raise DataError(f"{what}; name the classes, as in classes={{'signal': {value!r}}}")
        named[name] = value
    return named


def _class_name(value: Any) -> str:
    """Returns a label as a name: class_11 for 11, class_m11 for -11."""
    text = _NAME.sub("_", re.sub(r"^-(?=\d)", "m", str(value))).strip("_") or "class"
    return text if not text.removeprefix("m")[:1].isdigit() else f"class_{text}"


def _expression(name: Any) -> Any:
    """Returns a column's name as an expression; in backquotes if it would mean something else without."""
    if not isinstance(name, str):
        return name
    try:
        if parse(name).branches == {name}:
            return name
    except ExpressionError:
        return f"`{name}`" if "`" not in name else name
    return name if parse(name).branches else f"`{name}`"


def _feature(feature: Any) -> Any:
    """Returns a feature as the configuration states it."""
    text = _expression(feature)
    return text if text == feature else {"name": feature, "expression": text}


def _event_columns(columns: dict[str, Any], event: Any) -> list[str]:
    """Adds the columns that identify an event, and returns their names."""
    if isinstance(event, list | tuple) and event and all(isinstance(name, str) for name in event):
        return list(event)
    if isinstance(event, str):
        return [event]
    if names := names_of_table(event):
        held = {name: column_of(event, name) for name in names}
    else:
        keys = np.stack([np.asarray(each) for each in event], axis=1) if isinstance(event, tuple) else _array(event)
        if np.ndim(keys) == 1:
            held = {EVENT: as_values(keys, "event")}
        else:
            held = {f"{EVENT}_{j}": as_values(np.asarray(keys)[:, j], "event") for j in range(np.shape(keys)[1])}
    columns |= held
    return list(held)


def _section(name: str, model: Any, columns: dict[str, Any], n: int, *, predicts: bool) -> Any:
    """Returns the section of the configuration for a model of any kind, of a regression if it `predicts` a target.

    Raises:
        UsageError: it is no model, or one of the other kind.
    """
    if isinstance(model, str):
        return {"type": "score", "expression": model} if predicts else {"type": "expression", "cut": model}
    if isinstance(model, Mapping):
        return dict(model)
    if isinstance(model, type):
        raise UsageError(f"models.{name}: {model.__name__} is a class; give an object, {model.__name__}()")
    if isinstance(model, Estimator):
        if isinstance(model, Regressor if predicts else Classifier):
            return _own_section(name, model)
        raise UsageError(f"models.{name}: {_of_other_kind(model, predicts)}")
    if hasattr(model, "fit") or hasattr(model, "predict_proba"):
        _check_scores(name, model, predicts)
        return {"type": "sklearn", "estimator": import_path(model), "scaled": False, "object": True}
    values = as_values(_array(model), f"models.{name}")
    what = "prediction" if predicts else "signal's score"
    if np.ndim(values) != 1 or len(values) != n:
        shape = f"{'predictions' if predicts else 'scores'} have the shape {np.shape(values)}"
        raise UsageError(f"models.{name}: {shape}; give the {what} of each of the {n:,} rows")
    column = f"{SCORE}_{name}"
    columns[column] = values
    is_cut = values.dtype == bool and not predicts
    return {"type": "expression", "cut": column} if is_cut else {"type": "score", "expression": column}


def _check_scores(name: str, model: Any, predicts: bool) -> None:
    """Refuses an estimator that does not give what is compared: class probabilities, or predictions of a target.

    Raises:
        UsageError: it is a classifier for a target, or an estimator without probabilities for classes.
    """
    if predicts:
        if is_classifier(model) or not hasattr(model, "predict"):
            raise UsageError(f"models.{name}: {_of_other_kind(model, predicts)}")
        return
    if is_regressor(model):
        raise UsageError(f"models.{name}: {_of_other_kind(model, predicts)}")
    if not hasattr(model, "predict_proba"):
        raise UsageError(
            f"models.{name}: {type(model).__name__} gives no class probabilities (predict_proba); wrap it in "
            "sklearn.calibration.CalibratedClassifierCV, or give its scores as an array"
        )


def _of_other_kind(model: Any, predicts: bool) -> str:
    """Returns what is wrong with a classifier for a target, or with a regressor for classes."""
    name = type(model).__name__
    if predicts:
        return f"{name} tells classes apart and predicts no number; give a regressor, such as pidlab.BDTRegressor()"
    return f"{name} predicts a number and no class; give a classifier, such as pidlab.BDT(), or target= in place of y"


def _own_section(name: str, model: Estimator) -> dict[str, Any]:
    """Returns the section of an estimator of pidlab's own, with the parameters that it was made with.

    Raises:
        UsageError: the estimator is no type of model, or a parameter is set that the comparison decides.
    """
    place = f"{type(model).__module__}:{type(model).__name__}"
    kind = next((row for row in MODEL_TYPES.values() if row.estimator == place), None)
    if kind is None:
        raise UsageError(
            f"models.{name}: {type(model).__name__} is no type of model; {nearest(type(model).__name__, MODEL_TYPES)}"
        )
    defaults, section = type(model)().get_params(deep=False), {"type": kind.type}
    for key, value in model.get_params(deep=False).items():
        known = key in kind.section.model_fields
        if key == "parameters" and issubclass(kind.section, BdtModel):
            section |= value or {}
        elif known and key != "type" and not _same(value, defaults[key]):
            section[key] = _plain(value)
        elif not known and key != "feature_names" and not _same(value, defaults[key]):
            advice = f"give {_ARGUMENTS[key]}= to pidlab.compare" if key in _ARGUMENTS else "leave it out"
            raise UsageError(f"models.{name}: {key} is one for all models of a comparison; {advice}")
    return section


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _plain(value: Any) -> Any:
    """Returns tuples and numbers of numpy as lists and numbers of Python, which a configuration holds."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value
