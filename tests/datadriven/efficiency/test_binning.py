"""Bins are read from text, hold their lower edges and the last upper one, and mistakes are told."""

from __future__ import annotations

import numpy as np
import pytest

from pidlab.datadriven.efficiency.binning import parse_bins
from pidlab.errors import UsageError


def test_axes_are_expressions_with_edges() -> None:
    found = parse_bins("p: [1, 2, 3.5]; abs(eta) : [0, .8, 1.6];")
    assert found.names == ("p", "abs(eta)")
    assert found.edges[1].tolist() == [0, 0.8, 1.6]
    assert found.n_bins == 4
    assert found.title(1) == "p 1 to 2, abs(eta) 0.8 to 1.6"


def test_a_condition_may_hold_a_colon() -> None:
    assert parse_bins("p > 2 ? p : 2: [0, 1]").names == ("p > 2 ? p : 2",)


def test_a_bin_holds_its_lower_edge_and_the_last_one_both() -> None:
    found = parse_bins("x: [0, 1, 2]; y: [0, 10]")
    x = np.array([0.0, 1.0, 2.0, 2.0001, -1e-9, np.nan, 0.5])
    y = np.array([0.0, 10.0, 5.0, 5.0, 5.0, 5.0, np.nan])
    assert found.find([x, y]).tolist() == [0, 1, 1, -1, -1, -1, -1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p", "is no axis"),
        ("p: [1, x]", "no list of numbers"),
        ("p: [1]", "two finite edges"),
        ("p: [1, 1]", "ascend"),
        ("p: [1, inf]", "finite"),
        ("", "one to 3 different axes"),
        ("p: [1, 2]; p: [1, 2]", "different"),
    ],
)
def test_mistakes_are_told(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_bins(text)
