"""The checks of the options of cuts: sides, ranges and widths by feature, efficiencies, and class labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets

from pidlab.errors import ModelError, nearest
from pidlab.models.base import TrainingDataError, choice, classes_and_labels
from pidlab.models.cuts.grid import Allowed, Array, Side
from pidlab.models.cuts.search import BoxScan
from pidlab.sample import IntArray

# every 0.2 % of the signal, every 0.05 % where the cuts are loose and the background changes fast
SCAN = np.round(np.concatenate([np.arange(0.30, 0.95, 0.002), np.arange(0.95, 0.9995, 0.0005)]), 4)


def allowed_windows(
    names: Sequence[str],
    sides: Mapping[int | str, str] | None,
    ranges: Mapping[int | str, tuple[float, float]] | None,
    min_width: Mapping[int | str, float] | None,
) -> list[Allowed]:
    """Returns the limits of the window of each of d features.

    Raises:
        ModelError: a key is not a feature, or a value is not a side, range or width.
    """
    side = {
        k: cast("Side", choice("cuts", f"sides[{names[k]}]", v, get_args(Side)))
        for k, v in _by_index("sides", names, sides).items()
    }
    span = {k: _range(names[k], v) for k, v in _by_index("ranges", names, ranges).items()}
    width = {k: _width(names[k], v) for k, v in _by_index("min_width", names, min_width).items()}
    everywhere = (-math.inf, math.inf)
    return [Allowed(side.get(j, "auto"), *span.get(j, everywhere), width.get(j, 0.0)) for j in range(len(names))]


def by_name(names: Sequence[str], values: Mapping[int | str, Any] | None) -> dict[str, Any] | None:
    """Returns the same options with feature names as keys, which JSON needs."""
    return None if values is None else {names[j]: value for j, value in _by_index("option", names, values).items()}


def _by_index(option: str, names: Sequence[str], values: Mapping[int | str, Any] | None) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for key, value in (values or {}).items():
        if isinstance(key, str) and key in names:
            found[list(names).index(key)] = value
        elif isinstance(key, int | np.integer) and 0 <= key < len(names):
            found[int(key)] = value
        else:
            raise ModelError(f"cuts: {option} speaks of a feature {key!r}; {nearest(str(key), names)}")
    return found


def _range(name: str, value: Any) -> tuple[float, float]:
    try:
        low, high = map(float, value)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not low < high:
        raise ModelError(f"cuts: ranges[{name}] is {value!r}; it must be two numbers, the lower first")
    return low, high


def _width(name: str, value: Any) -> float:
    if not isinstance(value, int | float | np.number) or not 0 <= value < math.inf:
        raise ModelError(f"cuts: min_width[{name}] is {value!r}; it must be a number, not negative")
    return float(value)


def scan(efficiencies: Sequence[float] | None) -> BoxScan:
    """Returns the signal efficiencies to search: the standard scan and the wanted efficiencies.

    Raises:
        ModelError: an efficiency is not in (0, 1], or the list is empty.
    """
    if efficiencies is None:
        return BoxScan(SCAN, np.empty(0))
    wanted = np.unique(np.asarray(efficiencies, dtype=np.float64))
    if len(wanted) == 0 or not np.all((wanted > 0) & (wanted <= 1)):
        raise ModelError(f"cuts: efficiencies is {efficiencies!r}; it must be numbers above 0 and at most 1")
    return BoxScan(np.union1d(SCAN, wanted), wanted)


def labels(y: NDArray[Any], weight: Array) -> tuple[NDArray[Any], IntArray]:
    """Returns the sorted classes (k,), and y as indices into them (n,).

    Raises:
        TrainingDataError: there is only one class, or a class has no weight.
    """
    check_classification_targets(y)
    classes, index = classes_and_labels(y)
    present = np.array([np.any(weight[index == each] > 0) for each in range(len(classes))])
    if len(classes) < 2 or not present.all():
        lacking = ", ".join(map(str, classes[~present]))
        found = f"class {lacking} has none" if lacking else f"there is one class only, {classes[0]}"
        raise TrainingDataError(
            f"cuts: training needs at least two classes with weight; {found}; "
            "check the class expressions and the weights"
        )
    return classes, index
