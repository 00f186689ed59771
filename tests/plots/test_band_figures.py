"""Figures of bands: what is drawn, what their tables hold, and how they are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.lines import Line2D

from band_values import band_values
from example_results import example
from pidlab.evaluate.bands import band_variable
from pidlab.evaluate.results import Results
from pidlab.plots.gallery import catalogue, chosen, drawn
from pidlab.plots.on_request import Plots


def _results(groups: tuple[int, ...] = (1,), side: str = "both") -> Results:
    values, sample = band_values(groups=groups, side=side)
    if len(groups) == 1:
        values = values._replace(groups={groups[0]: ""})
    band = band_variable(values, sample, {"sigma3_5": 3.5, "eff90": 1.7, "eff99": 2.6})
    results = example()
    return replace(
        results,
        signal="electron",
        models={**results.models, "mlp": replace(results.models["mlp"], bands=(band,))},
        labels={"p": "$p$ [GeV]"},
    )


def _black(ax) -> dict[str, list[Line2D]]:
    """Line style to the lines of the band in some axes."""
    lines = [line for line in ax.lines if line.get_color() == "black" and len(line.get_xdata()) > 50]
    return {"full": [x for x in lines if x.get_linestyle() == "-"], "all": lines}


def test_a_run_without_groups_has_three_figures_a_variable_and_the_first_look_has_one():
    results = _results()
    own = {name: sheet for name, sheet in catalogue(results).items() if sheet.section == "bands"}
    assert list(own) == ["band_mlp", "pulls_mlp", "pulls_mlp_against_p"]
    assert [sheet.kind for sheet in own.values()] == ["band", "pulls", "pull_trend"]
    assert [name for name in chosen(results, "quick") if name in own] == ["band_mlp"]
    assert "3.5 widths (sigma3.5) and 1.7 widths (eff90)" in own["band_mlp"].alt
    assert "within 1 widths 68" in own["pulls_mlp"].alt
    assert not any(sheet.section == "bands" for sheet in catalogue(example()).values())


@pytest.mark.parametrize(
    ("side", "factors"), [("both", (-3.5, 3.5, -1.7, 1.7)), ("low", (-3.5, -1.7)), ("high", (3.5, 1.7))]
)
def test_mean_and_limits_lie_where_the_curves_say(side, factors):
    results = _results(side=side)
    curve = results.models["mlp"].bands[0].panels[0].curve
    figure = drawn(catalogue(results)["band_mlp"], "band_mlp")
    assert len(figure.axes) == 2
    for ax, title in zip(figure.axes, ("electron", "pion"), strict=True):
        assert ax.get_title() == title
        assert ax.get_xlabel() == "$p$ [GeV]"
        expected = [curve.mean, *(curve.mean + n * (curve.above if n > 0 else curve.below) for n in factors)]
        found = [line.get_ydata() for line in _black(ax)["all"]]
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other)


def test_with_groups_each_class_has_a_figure_with_a_panel_a_group():
    results = _results(groups=(1, 2, 3))
    names = [name for name, sheet in catalogue(results).items() if sheet.kind == "band"]
    assert names == ["band_mlp", "band_mlp_pion"]
    for name, particle in zip(names, ("electron", "pion"), strict=True):
        figure = drawn(catalogue(results)[name], name)
        assert [ax.get_title() for ax in figure.axes] == [f"{particle}, sector = {i}" for i in (1, 2, 3)]
    assert [name for name in chosen(results, "quick") if name in names] == ["band_mlp"]


def test_tables_hold_what_is_drawn():
    results = _results()
    band = results.models["mlp"].bands[0]
    sheets = catalogue(results)
    tables = {name: sheets[name].numbers() for name in ("band_mlp", "pulls_mlp", "pulls_mlp_against_p")}
    curve, trend = band.panels[0].curve, band.trends[0]
    np.testing.assert_allclose([row[2] for row in tables["band_mlp"].rows], curve.mean)
    assert len(tables["pulls_mlp"].rows) == 2 * (len(band.pulls["electron"].edges) - 1)
    np.testing.assert_allclose([row[4] for row in tables["pulls_mlp_against_p"].rows], trend.width)
    width = drawn(sheets["pulls_mlp_against_p"], "x").axes[1]
    points = [line for line in width.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points[0].get_ydata(), trend.width)


def test_the_gaussian_has_as_many_candidates_within_one_width():
    results = _results()
    band = results.models["mlp"].bands[0]
    ax = drawn(catalogue(results)["pulls_mlp"], "pulls_mlp").axes[0]
    [gaussian] = _black(ax)["all"]
    x, y = (np.asarray(values) for values in gaussian.get_data())
    near = np.abs(x) <= 1
    counts, edges = band.pulls["electron"].sumw[1:-1], band.pulls["electron"].edges
    inside = np.abs((edges[1:] + edges[:-1]) / 2) < 1
    assert np.trapezoid(y[near], x[near]) == pytest.approx(counts[inside].sum() / counts.sum(), rel=0.01)


def test_figures_of_bands_are_asked_for_by_methods():
    plots = Plots(_results(groups=(1, 2)))
    assert plots.band("mlp").axes[0].get_title() == "electron, sector = 1"
    assert plots.band(particle="pion", xlim=(1, 2)).axes[1].get_title() == "pion, sector = 2"
    assert plots.pulls(variable="dedx").axes.get_ylabel() == "density"
    assert len(plots.pull_trend(against="p").axes) == 2
    assert {"band", "pulls", "pull_trend"} <= set(dir(plots))
