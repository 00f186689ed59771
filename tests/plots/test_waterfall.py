"""The waterfall of a single event: bars that lead from the reference to the margin."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pidlab.errors import UsageError
from pidlab.evaluate.results import Contribution, EventExplanation, ModelExplanation
from pidlab.plots.canvas.style import context
from pidlab.plots.exploring.waterfall import event_figure


def event(n=3, **changes):
    parts = tuple(Contribution(f"f{i}", 0.1 * i if i else np.nan, (-1) ** i * (n - i)) for i in range(n))
    one = ModelExplanation("mlp", "mlp", {"electron": 0.9}, {"eff90": True}, parts, -1.0, "the middle of the classes")
    whole = EventExplanation(
        "new.root:T", 12, None, {"run": 1}, None, "electron", {p.feature: p.value for p in parts}, {}, {"f1": "$p$"},
        (one,),
    )  # fmt: skip
    return dataclasses.replace(whole, **changes)


def test_a_waterfall_carries_the_reference_to_the_margin():
    with context():
        figure = event_figure(event())
        (ax,) = figure.axes
        bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    assert bars == [(-1.0, 2.0), (2.0, 0.0), (0.0, 1.0)]
    assert event()["mlp"].margin == 1.0
    assert [t.get_text() for t in ax.get_yticklabels()] == ["f0 = missing", "$p$ = 0.1", "f2 = 0.2"]
    assert [t.get_text() for t in ax.texts if t.get_text()[0] in "+−"] == ["+3", "−2", "+1"]
    assert "score 0.9, margin 1, reference −1" in ax.get_title(loc="left")


def test_a_long_waterfall_ends_in_one_bar_of_all_others():
    with context():
        (ax,) = event_figure(event(20)).axes
    assert len(ax.patches) == 13
    assert ax.get_yticklabels()[-1].get_text() == "8 others"
    last = ax.patches[-1]
    assert last.get_x() + last.get_width() == pytest.approx(event(20)["mlp"].margin)


def test_an_event_without_contributions_has_no_figure():
    bare = ModelExplanation("own", "score", {"electron": 1.0}, {}, note="It has none.")
    with pytest.raises(UsageError, match="no model has contributions to draw: own: It has none"):
        event_figure(event(models=(bare,)))
