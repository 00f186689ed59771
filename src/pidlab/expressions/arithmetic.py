"""Element-wise arithmetic on numpy arrays and scalars with ROOT's rules, without unnecessary copies.

Arguments are arrays of any number type, numpy float scalars, or Python integers (constants); callers silence
floating-point warnings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_INT64 = np.iinfo(np.int64)


def arithmetic(ufunc: Any) -> Callable[[Any, Any], Any]:
    """Returns the operation in double precision, as in ROOT: float32 gains digits, integers cannot overflow."""
    return lambda a, b: ufunc(a, b, dtype=np.float64)


def exact(ufunc: Any) -> Callable[[Any], Any]:
    """Returns a rounding or sign operation, which is exact in float32; integers become doubles first."""
    return lambda x: ufunc(x) if _is_float(x) else ufunc(x, dtype=np.float64)


def negative(x: Any) -> Any:
    """Returns -x; unsigned integers and bool become doubles."""
    return np.negative(x) if _is_float(x) else np.negative(x, dtype=np.float64)


def divide(a: Any, b: Any) -> Any:
    """Returns a / b, 0 where b is 0 (TTreeFormula's rule)."""
    try:
        with np.errstate(divide="raise", invalid="raise"):
            return np.divide(a, b, dtype=np.float64)
    except FloatingPointError:
        with np.errstate(all="ignore"):
            return np.where(np.equal(b, 0), 0.0, np.divide(a, b, dtype=np.float64))


def power(a: Any, b: Any) -> Any:
    """Returns a to the power b in double precision."""
    if np.ndim(b) == 0 and b == 2:
        return np.square(a, dtype=np.float64)
    result = np.power(a, b, dtype=np.float64)
    if np.ndim(b) == 0 and b == 0.5:  # numpy takes the square root, which is NaN of -inf; C's pow is inf
        return np.where(np.isneginf(a), np.inf, result)
    return result


def whole(x: Any) -> Any:
    """Returns x truncated towards zero to int64; integers are returned unchanged."""
    is_integer = isinstance(x, int) or np.asarray(x).dtype.kind in "iu"
    return x if is_integer else np.asarray(x).astype(np.int64)


def rounded(ufunc: Any) -> Callable[[Any], Any]:
    """Returns `ufunc` followed by C's conversion to int: NaN and numbers that do not fit become -2^31."""

    def apply(x: Any) -> Any:
        result = ufunc(x, dtype=np.float64)
        return np.where(np.abs(result) < 2.0**31, result, -(2.0**31)).astype(np.int64)

    return apply


def odd(x: Any) -> Any:
    """Returns True where the truncated number is odd."""
    return np.bitwise_and(whole(x), 1) != 0


def modulo(a: Any, b: Any) -> Any:
    """Returns the remainder of the truncated integers with the sign of a (C's rule); 0 where b is 0."""
    a, b = whole(a), whole(b)
    if isinstance(b, int) and not _fits(a, b):
        b = _strong(b)
    return np.fmod(a, b)


def bitwise_and(a: Any, b: Any) -> Any:
    """Returns a & b, in the type of the column if the other is a constant that fits into it, else as uint64."""
    if isinstance(b, int) and b >= 0 and _fits(a, b):
        return np.bitwise_and(a, b)
    return np.bitwise_and(_bits(a), _bits(b))


def bitwise_or(a: Any, b: Any) -> Any:
    """Returns a | b as uint64."""
    return np.bitwise_or(_bits(a), _bits(b))


def shift(ufunc: Any) -> Callable[[Any, Any], Any]:
    """Returns a shift of the bits as uint64; the distance is taken modulo 64, as processors do."""
    return lambda a, b: ufunc(_bits(a), np.bitwise_and(_bits(b), np.uint64(63)))


def invert(x: Any) -> Any:
    """Returns the complement of all 64 bits, as int64."""
    return np.invert(_bits(x)).astype(np.int64)


def choose(condition: Any, a: Any, b: Any) -> Any:
    """Returns a where the condition is not zero, else b."""
    truth = condition if np.asarray(condition).dtype == np.bool_ else np.not_equal(condition, 0)
    return np.where(truth, _strong(a), _strong(b))


def compare(ufunc: Any) -> Callable[[Any, Any], Any]:
    """Returns an exact comparison: a float32 column is compared in float32, with the equivalent threshold."""

    def apply(a: Any, b: Any) -> Any:
        if _is_float32_column(a) and np.ndim(b) == 0:
            return ufunc(a, _threshold(b, ufunc, constant_right=True))
        if _is_float32_column(b) and np.ndim(a) == 0:
            return ufunc(_threshold(a, ufunc, constant_right=False), b)
        return ufunc(a, b)

    return apply


def _threshold(constant: Any, ufunc: Any, constant_right: bool) -> np.float32:
    """Returns the float32 that compares with every float32 as the double `constant` does."""
    wanted = np.float64(constant)
    near = np.float32(wanted)
    if near == wanted or np.isnan(wanted):
        return near
    if ufunc in (np.equal, np.not_equal):
        return np.float32(np.nan)
    upwards = (ufunc in (np.less, np.greater_equal)) == constant_right
    if upwards:
        return near if near > wanted else np.nextafter(near, np.float32(np.inf))
    return near if near < wanted else np.nextafter(near, np.float32(-np.inf))


def root_of_magnitude(x: Any) -> Any:
    """Returns the square root of |x|."""
    return np.sqrt(np.abs(x, dtype=np.float64))


def bounded_exp(x: Any) -> Any:
    """Returns exp(x), 0 below -700 and exp(700) above 700."""
    result = np.exp(np.minimum(x, np.float64(700.0)))
    low = np.less(x, -700.0)
    return np.where(low, 0.0, result) if np.any(low) else result


def guarded(ufunc: Any, valid: Callable[[Any], Any], root: float) -> Callable[[Any], Any]:
    """Returns `ufunc` in double precision, but 0 where the argument is not `valid`; `root` is a root of `ufunc`."""

    def apply(x: Any) -> Any:
        inside = valid(x)
        return ufunc(x if np.all(inside) else np.where(inside, x, root), dtype=np.float64)

    return apply


def not_beyond_one(x: Any) -> Any:
    """Returns False where |x| > 1; NaN passes."""
    return ~(np.abs(x, dtype=np.float64) > 1)


def not_below_one(x: Any) -> Any:
    """Returns False where x < 1; NaN passes."""
    return ~np.less(x, 1)


def round_half_away(x: Any) -> Any:
    """Returns the nearest whole number, halves away from zero (C's rule; numpy rounds halves to even)."""
    if not _is_float(x):
        return exact(np.trunc)(x)
    towards_zero = np.trunc(x)
    away = towards_zero + np.copysign(np.ones_like(towards_zero), x)
    return np.where(np.abs(x - towards_zero) >= 0.5, away, towards_zero)


def angle(y: Any, x: Any) -> Any:
    """Returns the angle of (x, y) as TMath::ATan2 does: for x = 0 it depends only on the sign of y, NaN included."""
    result = np.arctan2(y, x, dtype=np.float64)
    on_axis = np.equal(x, 0)
    if not np.any(on_axis):
        return result
    upright = np.where(np.equal(y, 0), 0.0, np.where(np.greater(y, 0), np.pi / 2, -np.pi / 2))
    return np.where(on_axis, upright, result)


def into_turn(low: float) -> Callable[[Any], Any]:
    """Returns a shift of angles by multiples of 2 pi into [low, low + 2 pi); NaN if an angle is not finite."""

    def apply(x: Any) -> Any:
        return np.subtract(x, 2 * np.pi * np.floor(np.subtract(x, low) / (2 * np.pi)), dtype=np.float64)

    return apply


def _is_float(x: Any) -> bool:
    return getattr(x, "dtype", None) in (np.float64, np.float32)


def _is_float32_column(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.ndim > 0 and x.dtype == np.float32


def _fits(column: Any, constant: int) -> bool:
    """Returns True if the constant is a value of the integer column's type."""
    if isinstance(column, int) or column.dtype.kind not in "iu":
        return False
    limits = np.iinfo(column.dtype)
    return bool(limits.min <= constant <= limits.max)


def _bits(x: Any) -> Any:
    """Returns the 64 bits of an integer as uint64; whole doubles are converted as in C."""
    x = np.asarray(_strong(x))
    if x.dtype.kind != "f":
        return x.astype(np.uint64, copy=False)
    high = x >= 2.0**63
    return np.where(high, x - np.where(high, 2.0**63, 0.0), x).astype(np.int64).view(np.uint64) | (
        high.astype(np.uint64) << np.uint64(63)
    )


def _strong(x: Any) -> Any:
    """Returns a Python integer as numpy's, so that it is not converted to the narrower type of a column."""
    if isinstance(x, bool) or not isinstance(x, int):
        return x
    return np.int64(x) if _INT64.min <= x <= _INT64.max else np.uint64(x)
