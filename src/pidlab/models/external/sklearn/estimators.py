"""Returns the class of an estimator for an import path; only packages that are allowed are imported."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from pidlab.errors import nearest
from pidlab.models.external.columns import ModelMismatchError

PACKAGES = ("sklearn", "xgboost", "lightgbm")
_PATH = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")
_NOT_FOR_USE = frozenset({"tests", "testing", "conftest", "setup"})
_LONGEST = 200
# Parameters that a class takes by keyword without naming them.
_FURTHER = {"lightgbm": frozenset({"verbosity", "max_bin", "deterministic", "force_row_wise", "force_col_wise"})}


@dataclass(frozen=True, slots=True)
class EstimatorKind:
    """What an estimator must be.

    Attributes:
        name: what it is called.
        mixin: the class of scikit-learn that it has among its bases.
        example: an import path.
        has: what its class has, as a hint in the message about another class.
        method: that scores, and what comes of it.
    """

    name: str
    mixin: type[Any]
    example: str
    has: str
    method: tuple[str, str]

    def includes(self, value: Any) -> bool:
        """Returns whether a value is a class of this kind that is meant for use."""
        return (
            isinstance(value, type)
            and issubclass(value, self.mixin)
            and issubclass(value, BaseEstimator)
            and not value.__name__.startswith("_")
        )


CLASSIFIER = EstimatorKind(
    "classifier",
    ClassifierMixin,
    "sklearn.ensemble.RandomForestClassifier",
    "has classes to tell apart",
    ("predict_proba", "class probabilities"),
)
REGRESSOR = EstimatorKind(
    "regressor",
    RegressorMixin,
    "sklearn.ensemble.RandomForestRegressor",
    "predicts a number",
    ("predict", "predictions"),
)


def named_class(path: str, allowed: Collection[str] = (), kind: EstimatorKind = CLASSIFIER) -> type[Any]:
    """Returns the class that `package.module.Class` names.

    Only modules of `PACKAGES`, and of the packages `allowed`, are imported, and the class must be of this kind and of
    such a package.

    Raises:
        ModelMismatchError: the path is invalid, of another package, or does not name such a class.
    """
    if len(path) > _LONGEST or not _PATH.fullmatch(path):
        raise ModelMismatchError(f"{path[:_LONGEST]!r} is no import path such as {kind.example}", key="estimator")
    *modules, name = path.split(".")
    packages = {*PACKAGES, *allowed}
    if modules[0] not in packages:
        raise ModelMismatchError(
            f"{path!r} is not of {', '.join(PACKAGES)}, and importing a package runs its code; if you trust it, say "
            f"so on the command line: pidlab run --allow-import {modules[0]}",
            key="estimator",
        )
    if _NOT_FOR_USE & set(modules):
        raise ModelMismatchError(f"{path!r} is for testing its package", key="estimator")
    known = vars(_module(".".join(modules), path))
    found = known.get(name)
    if found is None:
        near = nearest(name, [n for n, value in known.items() if kind.includes(value)])
        raise ModelMismatchError(f"{'.'.join(modules)} has no {name!r}; {near}", key="estimator")
    if not kind.includes(found) or found.__module__.split(".")[0] not in packages:
        raise ModelMismatchError(
            f"{path!r} is no {kind.name} of that package; name a class that {kind.has}", key="estimator"
        )
    return found  # type: ignore[no-any-return]  # a class, as was just checked


def _module(name: str, path: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name + ".").startswith(error.name + "."):
            what = f"pip install {error.name}" if "." not in error.name else "look up where the class is documented"
            raise ModelMismatchError(f"{path!r}: there is no module {error.name!r}; {what}", key="estimator") from None
        raise ModelMismatchError(f"{path!r} needs what is not installed ({error})", key="estimator") from error
    except Exception as error:  # importing a package may raise anything
        raise ModelMismatchError(
            f"{name} cannot be imported ({type(error).__name__}: {error})", key="estimator"
        ) from error


def build(
    path: str, parameters: Mapping[str, Any], allowed: Collection[str] = (), kind: EstimatorKind = CLASSIFIER
) -> Any:
    """Returns the untrained estimator with these parameters.

    Raises:
        ModelMismatchError: the class, a parameter's name, or its value is refused.
    """
    cls = named_class(path, allowed, kind)
    known = parameter_names(cls)
    for name in parameters:
        if name not in known:
            raise ModelMismatchError(
                f"{cls.__name__} has no parameter {name!r}; {nearest(name, known)}", key="parameters"
            )
    try:
        estimator = cls(**parameters)
        if hasattr(estimator, "_parameter_constraints"):  # scikit-learn's own check, which it makes in fit
            estimator._validate_params()
    except Exception as error:  # a constructor may raise anything
        said = " ".join(str(error).split())[:400]
        raise ModelMismatchError(f"{cls.__name__} refuses its parameters ({said})", key="parameters") from error
    method, result = kind.method
    if not hasattr(estimator, method):
        raise ModelMismatchError(f"{cls.__name__} gives no {result} ({method}) with these parameters", key="estimator")
    return estimator


def parameter_names(cls: type[Any]) -> set[str]:
    """Returns the names of a class's parameters, including those that it passes on by keyword (xgboost)."""
    further = _FURTHER.get(cls.__module__.split(".")[0], frozenset())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {*cls().get_params(), *further}
    except TypeError:  # a parameter that must be given
        return {*cls._get_param_names(), *further}
