"""Numbers in sentences and tables: a value and its bounds have the same digits, as many as the errors support."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pidlab.measured import (
    Measured,
    format_alike,
    format_compact,
    format_factor,
    format_interval,
    format_measured,
    format_rate,
    format_share,
)


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


@given(numbers, st.floats(1e-3, 0.5), st.floats(0.76, 1.3))
def test_an_error_that_is_nearly_symmetric_is_its_larger_side(value, share, skew):
    text = format_compact(Measured(value, value * (1 - share), value * (1 + share * skew), 1.0))
    number, error = (float(part) for part in text.split(" ± "))
    larger = max(share, share * skew) * value
    assert abs(error - larger) <= 0.15 * larger
    assert abs(number - value) <= 0.55 * share * value


@given(numbers, st.floats(1e-3, 0.5), st.floats(1.4, 8.0), st.booleans())
def test_bounds_are_printed_asymmetric_where_they_are(value, share, skew, upwards):
    """The larger side was printed for both: "0.28 ± 0.11" for +0.11 −0.08."""
    up, down = (share * skew * value, share * value)[:: 1 if upwards else -1]
    text = format_compact(Measured(value, value - down, value + up, 1.0)).replace("−", "-")
    number, plus, minus = map(float, re.fullmatch(r"([\d.-]+) \+([\d.]+) -([\d.]+)", text).groups())
    np.testing.assert_allclose([plus, minus], [up, down], rtol=0.16, atol=0)
    assert abs(number - value) <= 0.06 * max(up, down) * 10


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.0028, 0.0020, 0.0039, "0.28 +0.11 −0.08"),
        (0.0, 0.0, 0.0005, "0.00 +0.05 −0.00"),
        (0.0001, 0.00002, 0.0002, "0.010 +0.010 −0.008"),
        (-0.0002, -0.00038, -0.00002, "−0.020 ± 0.018"),
        (1.0, 0.9984, 1.0, "100.00 +0.00 −0.16"),
    ],
)
def test_rates_in_few_characters(value, low, high, text):
    assert format_compact(Measured(value, low, high, 100.0), 100.0) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.963, "96.3"), (0.9997, "99.97"), (1.0, "100"), (0.0, "0"), (0.00012, "0.01"), (math.nan, "–")],
)
def test_a_fraction_in_per_cent_reads_as_all_or_nothing_only_if_it_is(fraction, text):
    assert format_share(fraction) == text


@given(st.floats(1e-3, 1e9))
def test_a_factor_has_three_digits_and_no_power_of_ten(ratio):
    text = format_factor(ratio)
    assert "e" not in text
    np.testing.assert_allclose(float(text.replace(",", "")), ratio, rtol=0.0051, atol=0)


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
