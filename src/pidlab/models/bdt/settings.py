"""The parameters of xgboost that a user may set: their names, constraints by feature name, and the device."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pidlab.errors import ModelError, UsageError, nearest

_OWN_ARGUMENTS = {
    **dict.fromkeys(("n_estimators", "num_boost_round", "num_round"), "n_estimators"),
    **dict.fromkeys(("learning_rate", "eta"), "learning_rate"),
    **dict.fromkeys(("seed", "random_state"), "seed"),
    **dict.fromkeys(("nthread", "n_jobs"), "n_jobs"),
    **dict.fromkeys(("device", "gpu_id"), "device"),
    **{name: name for name in ("max_depth", "early_stopping_rounds", "subsample", "colsample_bynode")},
}
_FIXED = frozenset({"objective", "num_class", "process_type", "updater", "multi_strategy"})
_TREE_PARAMETERS = frozenset(
    {
        *("alpha", "base_score", "booster", "colsample_bylevel", "colsample_bytree", "eval_metric"),
        *("gamma", "grow_policy", "interaction_constraints", "lambda", "max_bin", "max_cached_hist_node"),
        *("max_delta_step", "max_leaves", "min_child_weight", "min_split_loss", "monotone_constraints"),
        *("num_parallel_tree", "reg_alpha", "reg_lambda", "sampling_method", "scale_pos_weight"),
        *("tree_method", "verbosity"),
    }
)
_DART_PARAMETERS = frozenset({"sample_type", "normalize_type", "rate_drop", "one_drop", "skip_drop"})


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Checks the names in `parameters` against those of xgboost's trees.

    Raises:
        UsageError: xgboost's trees do not have the parameter, or it is set by an argument of `BDT`.
    """
    dart = parameters.get("booster") == "dart"
    known = _TREE_PARAMETERS | (_DART_PARAMETERS if dart else frozenset())
    for name in parameters:
        if name in _OWN_ARGUMENTS:
            raise UsageError(f"{name!r} is said by the BDT's own {_OWN_ARGUMENTS[name]!r}")
        if name in _FIXED:
            raise UsageError(f"{name!r} follows from the classes and cannot be set")
        if name in _DART_PARAMETERS and not dart:
            raise UsageError(f"{name!r} has a meaning only with booster: dart")
        if name not in known:
            raise UsageError(f"xgboost's trees have no parameter {name!r}: {nearest(name, known | {*_OWN_ARGUMENTS})}")
    if parameters.get("booster", "gbtree") not in ("gbtree", "dart"):
        raise UsageError(f"booster: {parameters['booster']!r} makes no trees; gbtree and dart do")


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


def cuda_present() -> bool:
    """Returns whether xgboost was built for CUDA and the driver finds a device."""
    import xgboost

    if not xgboost.build_info().get("USE_CUDA"):
        return False
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


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
