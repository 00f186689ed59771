"""Numbers in sentences and tables: a value and its bounds have the same digits, as many as the errors support."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pidlab.measured import Measured
from pidlab.rounding import format_alike, format_interval, format_measured, format_rate, format_compact


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1.1418, 1.0, 1.3, "1.14 [1.00, 1.30]"),
        (3.0, 2.47, 3.65, "3.00 [2.47, 3.65]"),
        (0.988, 0.759, 1.29, "0.99 [0.76, 1.29]"),
        (24.9, 15.2, 40.9, "24.9 [15.2, 40.9]"),
        (350.0, 270.0, 450.0, "350 [270, 450]"),
        (math.inf, 5.0, math.inf, "∞ [5, ∞]"),
        (12.34, 8.2, math.inf, "12.3 [8.2, ∞]"),
        (0.5, 0.5, 0.5, "0.5 [0.5, 0.5]"),
    ],
)
def test_an_interval_has_as_many_places_as_its_number(value, low, high, text):
    assert format_interval(value, low, high) == text


numbers = st.floats(1e-6, 1e6)


@given(numbers, st.floats(1e-3, 0.5), st.floats(1e-3, 0.5))
def test_the_places_of_an_interval_are_alike_and_keep_two_digits_of_the_narrower_arm(value, below, above):
    low, high = value * (1 - below), value * (1 + above)
    shown = re.findall(r"[\d.]+", format_interval(value, low, high))
    assert len({len(number.partition(".")[2]) for number in shown}) == 1
    narrow = max(min(value - low, high - value), 0.1 * max(value - low, high - value))
    for text, number in zip(shown, (value, low, high), strict=True):
        assert abs(float(text) - number) <= 0.051 * narrow * 10 or narrow < 1e-9


@given(numbers, st.floats(1e-3, 0.5))
def test_a_symmetric_error_is_the_larger_side(value, share):
    text = format_compact(Measured(value, value * (1 - share), value * (1 + share / 2), 1.0))
    number, error = (float(part) for part in text.split(" ± "))
    assert abs(error - share * value) <= 0.15 * share * value
    assert abs(number - value) <= 0.55 * share * value


def test_numbers_in_per_cent_and_undefined_ones():
    rate = Measured(0.0054, 0.0045, 0.0065, 900)
    assert format_compact(rate, 100.0) == "0.54 ± 0.11"
    assert format_compact(Measured(math.nan, math.nan, math.nan, 0)) == "–"
    assert format_compact(Measured(0.25, 0.25, 0.25, 9)) == "0.25"
    assert format_alike((0.123456, 12.0), math.nan) == ["0.123", "12"]
    assert format_measured(rate) == "0.0054 +0.0011 −0.0009"


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (1.23e6, "1.2 M"),
        (52e6, "52 M"),
        (999_999.0, "1.0 M"),
        (21_400.0, "21 k"),
        (850.0, "850"),
        (0.0, "–"),
        (0.2, "0.2"),
    ],
)
def test_rates_have_two_digits_and_a_letter(rate, text):
    assert format_rate(rate) == text
