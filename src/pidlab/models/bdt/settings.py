"""The parameters of xgboost that a user may set: their names, constraints by feature name, and the device."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pidlab.config.tree_parameters import wrong_parameters
from pidlab.errors import ModelError, UsageError, nearest
from pidlab.models.gpu import gpu_present


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Checks the names in `parameters` against those of xgboost's trees.

    Raises:
        UsageError: xgboost's trees do not have the parameter, or it is set by an argument of `BDT`.
    """
    for _, message in wrong_parameters(parameters):
        raise UsageError(message)


def training_device(asked: str) -> str:
    """Returns xgboost's name of the device; auto means cuda if xgboost supports it and a device is present.

    Raises:
        UsageError: the device has another name.
        ModelError: a CUDA device is requested and there is none.
    """
    if asked == "cpu":
        return asked
    if asked != "auto" and not re.fullmatch(r"cuda(:\d+)?", asked):
        raise UsageError(f"device: {asked!r} is none of auto, cpu, cuda, cuda:N")
    if cuda_present():
        return "cuda" if asked == "auto" else asked
    if asked == "auto":
        return "cpu"
    raise ModelError(f"device: {asked} was asked for, but xgboost finds no CUDA device here; say auto or cpu")


def scoring_device(asked: str) -> str:
    """Returns xgboost's name of the device that scores: a GPU only if it was asked for by name, and is there.

    The compiled leaf tables of the CPU give the same bits on every machine, so that `auto` means them. A model that was
    trained on a GPU is scored on the CPU where there is none.
    """
    return asked if str(asked).startswith("cuda") and cuda_present() else "cpu"


def cuda_present() -> bool:
    """Returns whether xgboost was built for CUDA and the driver finds a device."""
    import xgboost

    return bool(xgboost.build_info().get("USE_CUDA")) and gpu_present()


def feature_index(name: Any, names: Sequence[Any]) -> int:
    """Returns the index of a feature, given by name or by index."""
    if name in names:
        return names.index(name)
    if isinstance(name, int) and 0 <= name < len(names):
        return name
    raise UsageError(
        f"a constraint names the feature {name!r}, which is not one: {nearest(str(name), map(str, names))}"
    )


def monotone_signs(constraints: Mapping[Any, int] | Sequence[int], names: Sequence[Any]) -> str:
    """Returns xgboost's text for monotone constraints, one sign for each feature."""
    signs = [0] * len(names)
    if isinstance(constraints, Mapping):
        for name, sign in constraints.items():
            signs[feature_index(name, names)] = sign
    elif isinstance(constraints, str) or len(constraints) != len(names):
        raise UsageError(f"monotone_constraints: {constraints!r} is not one number for each of {len(names)} features")
    else:
        signs = list(constraints)
    if any(sign not in (-1, 0, 1) for sign in signs):
        raise UsageError(f"monotone_constraints: {constraints!r} holds other values than -1, 0 and 1")
    return f"({','.join(str(int(sign)) for sign in signs)})"


def reason_of(error: Exception) -> str:
    """Returns the sentence of xgboost's error, without time, source line and stack trace."""
    text = str(error).split("Stack trace:")[0].strip()
    return re.sub(r"^\[[\d:]+\] \S+?:\d+: ", "", text)
