"""Tree parameters: the names of xgboost's parameters that a section of type bdt may hold besides its own keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pidlab.errors import nearest

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
_LARGEST = 3.4e38
"""xgboost holds these numbers in single precision."""
XGBOOST_NAMES = {"gamma": ("min_split_loss",), "lambda": ("reg_lambda",), "alpha": ("reg_alpha",)}
"""By which other names xgboost speaks of a parameter."""
_DART_PARAMETERS = frozenset({"sample_type", "normalize_type", "rate_drop", "one_drop", "skip_drop"})


def _are_signs(value: Any) -> bool:
    signs = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict | list | tuple | str) and all(isinstance(sign, int | str) for sign in signs)


def _are_groups(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(group, list | tuple) and all(isinstance(name, str | int) for name in group) for group in value
    )


def _are_metrics(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(name, str) for name in value))


_SHAPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "monotone_constraints": (_are_signs, "-1, 0 or 1 for features, as in {FEATURE: 1}"),
    "interaction_constraints": (_are_groups, "a list of groups of features, as in [[FEATURE, FEATURE], [FEATURE]]"),
    "eval_metric": (_are_metrics, "the name of a metric of xgboost, or a list of names"),
}
"""Parameters that are no single numbers or words: what their values must be, and how it is told."""


def wrong_parameters(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields each parameter that cannot be set, and why.

    It is one that xgboost's trees do not have, or that the BDT sets by an argument of its own; or it is a number that
    no finite float holds.
    """
    dart = parameters.get("booster") == "dart"
    known = _TREE_PARAMETERS | (_DART_PARAMETERS if dart else frozenset())
    for name, value in parameters.items():
        if isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:
            yield name, f"{name!r} must be a finite number of single precision"
        if name in _SHAPES and not _SHAPES[name][0](value):
            yield name, f"{name!r} must be {_SHAPES[name][1]}, not {value!r}"
        if name in _OWN_ARGUMENTS:
            yield name, f"{name!r} is said by the BDT's own {_OWN_ARGUMENTS[name]!r}"
        elif name in _FIXED:
            yield name, f"{name!r} follows from the classes and cannot be set"
        elif name in _DART_PARAMETERS and not dart:
            yield name, f"{name!r} has a meaning only with booster: dart"
        elif name not in known:
            yield name, f"xgboost's trees have no parameter {name!r}: {nearest(name, known | {*_OWN_ARGUMENTS})}"
    if parameters.get("booster", "gbtree") not in ("gbtree", "dart"):
        yield "booster", f"booster: {parameters['booster']!r} makes no trees; gbtree and dart do"
