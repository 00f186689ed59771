"""A measured number with its interval, of which all results consist, and how it is written with its error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LOPSIDED = 4 / 3
"""The ratio of the two sides of an interval from which both are printed in a table."""
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Measured(NamedTuple):
    """A number with its 68.3 % interval and the effective number of events that it was measured with."""

    value: float
    low: float
    high: float
    n: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


UNDEFINED = Measured(math.nan, math.nan, math.nan, 0.0)


def bounds(numbers: Sequence[Measured]) -> tuple[Array, Array, Array]:
    """Returns the (m,) values, lower bounds and upper bounds of m numbers."""
    table = np.array([number[:3] for number in numbers], dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def format_number(value: float | None, digits: int = 4) -> str:
    """Returns `value` with `digits` significant digits; "–" for None and NaN."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}g}".replace("-", "−")


def format_measured(measured: Measured) -> str:
    """Returns a number with its error as the Particle Data Group rounds (Review of Particle Physics, intro, 5.3).

    Examples are "0.9912 ± 0.0005", "0.9912 +0.0005 −0.0006", "(3.1 ± 0.2)×10⁻⁴", "> 830" if there is only a lower
    bound, and "–" if the number is undefined.
    """
    value, low, high, _ = measured
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return f"> {format_number(low, 3)}" if value > 0 and math.isfinite(low) else format_number(value)
    if not (math.isfinite(low) and math.isfinite(high)) or low > value or high < value:
        return format_interval(value, low, high)
    up, down = high - value, value - low
    if up == 0 and down == 0:
        return format_number(value)
    power = _power(max(abs(value), up, down))
    text = _with_errors(value / 10.0**power, up / 10.0**power, down / 10.0**power)
    return f"({text})×10{str(power).translate(_SUPERSCRIPTS)}" if power else text


def format_compact(measured: Measured, factor: float = 1.0) -> str:
    """Returns a number and its error, both times `factor`, in few characters, as in "0.99898 ± 0.00020".

    The error is the larger side of the interval. Where the sides differ by more than a third, or the number is within
    an error of 0, both are given, as in "0.28 +0.13 −0.09".
    """
    value, low, high, _ = (factor * part for part in measured)
    up, down = high - value, value - low
    error = max(up, down)
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return format_number(value)
    if min(up, down) >= 0 and (up > _LOPSIDED * down or down > _LOPSIDED * up or abs(value) <= error):
        smaller = min(up, down) or error
        places = decimal_places(max(smaller, 0.1 * error), error)
        plus, minus = fixed(up, places), fixed(down, places)
        if plus != minus:
            return f"{fixed(value, places)} +{plus} −{minus}"
    places = decimal_places(error, error)
    return f"{fixed(value, places)} ± {fixed(error, places)}"


def format_percent(measured: Measured) -> str:
    """Returns a fraction with its error in per cent, without the sign, as `format_measured` writes numbers."""
    value, low, high, n = measured
    return format_measured(Measured(100 * value, 100 * low, 100 * high, n))


def format_share(fraction: float) -> str:
    """Returns a fraction in per cent, without the sign, to a tenth; more digits if it would read as 0 or 100."""
    if not math.isfinite(fraction):
        return format_number(fraction)
    if fraction in (0, 1):
        return format_number(100 * fraction)
    places = 1
    while places < 4 and round(100 * fraction, places) in (0, 100):
        places += 1
    return fixed(100 * fraction, places)


def format_factor(ratio: float) -> str:
    """Returns a positive number to three significant digits without a power of ten, as in "3.06" and "1,370,000"."""
    if not math.isfinite(ratio) or ratio <= 0:
        return format_number(ratio)
    places = 2 - math.floor(math.log10(ratio))
    return f"{round(ratio, places):,.0f}" if places <= 0 else format_number(ratio, 3)


def format_interval(value: float, low: float, high: float) -> str:
    """Returns a number and its bounds with the same number of decimal places, as in "1.14 [1.00, 1.30]"."""
    texts = format_alike((value, low, high), _narrowest(value, low, high))
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def format_alike(numbers: tuple[float, ...], error: float) -> list[str]:
    """Returns numbers to two digits of `error`; to three significant digits each if `error` is undefined."""
    if not (math.isfinite(error) and error > 0):
        return [format_number(number, 3) for number in numbers]
    places = min(1 - math.floor(math.log10(error)), 10)
    return [fixed(number, places) if math.isfinite(number) else format_number(number) for number in numbers]


def _narrowest(value: float, low: float, high: float) -> float:
    lengths = [length for length in (high - value, value - low) if math.isfinite(length) and length > 0]
    return max(min(lengths), 0.1 * max(lengths)) if lengths else math.nan


def _power(size: float) -> int:
    """Returns the power of ten to factor out, 0 for sizes that are written without one."""
    return 0 if 1e-3 <= size < 1e6 else math.floor(math.log10(size))


def _with_errors(value: float, up: float, down: float) -> str:
    places = decimal_places(up, down)
    plus, minus = fixed(up, places), fixed(down, places)
    central = fixed(value, places)
    return f"{central} ± {plus}" if plus == minus else f"{central} +{plus} −{minus}"


def decimal_places(up: float, down: float) -> int:
    """Returns the decimal places that show two digits of the smaller error, or one if these are above 3.54.

    The smaller error counts as at least a tenth of the larger, so that a tiny error does not add digits.
    """
    error = max(min(up, down), 0.1 * max(up, down))
    exponent = math.floor(math.log10(error))
    return min((1 if error / 10.0**exponent <= 3.54 else 0) - exponent, 10)


def fixed(value: float, places: int) -> str:
    """Returns `value` rounded to a number of decimal places, which may be negative."""
    rounded = round(value, places) + 0.0
    return f"{rounded:.{max(places, 0)}f}".replace("-", "−")


def format_rate(rate: float) -> str:
    """Returns a rate to two digits, as in "850", "21 k" and "1.4 M"."""
    if not math.isfinite(rate) or rate <= 0:
        return "–"
    for factor, suffix in ((1e6, " M"), (1e3, " k"), (1.0, "")):
        if rate >= 0.995 * factor:
            scaled = rate / factor
            return f"{scaled:.1f}{suffix}" if scaled < 9.95 else f"{scaled:.0f}{suffix}"
    return f"{rate:.2g}"
