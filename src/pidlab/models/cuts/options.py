"""What a user asked of the cuts, checked: sides, ranges and widths by feature, the scan, the labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets

from pidlab.errors import ModelError, nearest
from pidlab.models.base import TrainingDataError
from pidlab.models.cuts.boxes import Allowed, Array, Side
from pidlab.models.cuts.search import BoxScan
from pidlab.sample import IntArray

SIDES = ("auto", "min", "max", "both")

# every 0.2 % of the signal, every 0.05 % where the cuts are loose and the background changes fast
SCAN = np.round(np.concatenate([np.arange(0.30, 0.95, 0.002), np.arange(0.95, 0.9995, 0.0005)]), 4)


def choice(option: str, value: object, known: Iterable[str]) -> str:
    """`value`, which must be one of the known words.

    Raises:
        ModelError: it is not.
    """
    known = tuple(known)
    if value not in known:
        raise ModelError(f"cuts: {option} is {value!r}; {nearest(str(value), known)} It is one of {', '.join(known)}")
    return str(value)


def allowed_windows(
    names: Sequence[str],
    sides: Mapping[int | str, str] | None,
    ranges: Mapping[int | str, tuple[float, float]] | None,
    min_width: Mapping[int | str, float] | None,
) -> list[Allowed]:
    """What each of d features is allowed.

    Raises:
        ModelError: a key is no feature, or a value is no side, range or width.
    """
    side = {k: cast(Side, choice(f"sides[{names[k]}]", v, SIDES)) for k, v in _by_index("sides", names, sides).items()}
    span = {k: _range(names[k], v) for k, v in _by_index("ranges", names, ranges).items()}
    width = {k: _width(names[k], v) for k, v in _by_index("min_width", names, min_width).items()}
    everywhere = (-math.inf, math.inf)
    return [Allowed(side.get(j, "auto"), *span.get(j, everywhere), width.get(j, 0.0)) for j in range(len(names))]


def by_name(names: Sequence[str], values: Mapping[int | str, Any] | None) -> dict[str, Any] | None:
    """The same options with names for keys, as JSON needs them."""
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
    """The signal efficiencies to search: the standard scan, and what was asked for.

    Raises:
        ModelError: one is not in (0, 1], or there is none.
    """
    if efficiencies is None:
        return BoxScan(SCAN, np.empty(0))
    wanted = np.unique(np.asarray(efficiencies, dtype=np.float64))
    if len(wanted) == 0 or not np.all((wanted > 0) & (wanted <= 1)):
        raise ModelError(f"cuts: efficiencies is {efficiencies!r}; it must be numbers above 0 and at most 1")
    return BoxScan(np.union1d(SCAN, wanted), wanted)


def labels(y: NDArray[Any], weight: Array) -> tuple[NDArray[Any], IntArray]:
    """The classes (k,), sorted, and y as index into them (n,).

    Raises:
        TrainingDataError: there is one class only, or one without weight.
    """
    check_classification_targets(y)
    classes, index = np.unique(y, return_inverse=True)
    present = np.bincount(index, weights=weight, minlength=len(classes)) > 0
    if len(classes) < 2 or not present.all():
        lacking = ", ".join(map(str, classes[~present]))
        found = f"class {lacking} has none" if lacking else f"there is one class only, {classes[0]}"
        raise TrainingDataError(
            f"cuts: training needs at least two classes with weight; {found}; "
            "check the class expressions and the weights"
        )
    return classes, index
