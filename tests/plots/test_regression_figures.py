"""The figures of a regression: each is drawn, shows what its table says, and can be asked for by itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from test_readable import Texts

from pidlab.errors import UsageError
from pidlab.evaluate.results import RegressionResults, write_results
from pidlab.plots.canvas.style import context
from pidlab.plots.gallery import catalogue, chosen, drawn, write
from pidlab.plots.on_request import Plots
from pidlab.plots.regression.residuals import merged
from regression_samples import toy_results

mpl.use("Agg")

RESULTS = toy_results(1200)
SHEETS = catalogue(RESULTS)


def test_there_is_a_figure_of_everything_that_was_measured() -> None:
    kinds = {sheet.kind for sheet in SHEETS.values()}
    assert kinds == {
        "inputs", "target", "profiles", "correlation", "training", "residuals", "prediction", "resolution", "pulls",
        "quantiles", "metrics", "comparison", "train_and_test", "cutflow", "importance", "contributions",
        "partial_dependence",
    }  # fmt: skip
    axes = [sheet.about["against"] for sheet in SHEETS.values() if sheet.kind == "resolution"]
    assert axes == [RESULTS.target, "P", "theta"]
    assert set(chosen(RESULTS, "quick")) == {"residuals", *(f"prediction_{name}" for name in RESULTS.models)}


@pytest.mark.parametrize("name", SHEETS)
def test_each_figure_is_drawn_with_numbers_and_words(name: str) -> None:
    sheet = SHEETS[name]
    figure = drawn(sheet, name)
    assert figure.axes
    with context(name):
        assert Texts(figure).overlapping() == []
    assert sheet.alt.endswith(".")
    assert sheet.numbers is not None
    table = sheet.numbers()
    assert table.rows
    assert all(len(row) == len(table.header) for row in table.rows)


def test_the_same_figures_are_written_from_the_saved_results(tmp_path: Path) -> None:
    """A worker process reads results.json and draws the same bytes."""
    from pidlab.evaluate.results import read_any_results

    write_results(tmp_path / "results.json", RESULTS)
    read = read_any_results(tmp_path / "results.json")
    names = ["residuals", "resolution_P", "importance_linear", "dependence_mlp", "contributions_linear"]
    before = {p.name: p.svg for p in write(RESULTS, tmp_path, formats=(), only=names)}
    after = {p.name: p.svg for p in write(read, tmp_path, formats=(), only=names)}
    assert before.keys() == set(names)
    assert before == after


def test_residuals_of_all_models_are_drawn_with_unit_area() -> None:
    figure = drawn(SHEETS["residuals"], "residuals")
    for ax in figure.axes:
        stairs = [patch.get_data() for patch in ax.patches]
        assert len(stairs) == len(RESULTS.models)
        for values, edges, _ in stairs:
            assert np.sum(values * np.diff(edges)) == pytest.approx(1)
    core, whole = (ax.get_xlim()[1] for ax in figure.axes)
    assert core < whole


def test_merged_bins_hold_the_same_sums() -> None:
    histogram = RESULTS.models["mlp"].residuals["test"]
    coarse = merged(histogram, 4)
    assert coarse.sumw.sum() == pytest.approx(histogram.sumw.sum())
    assert coarse.sumw[1] == pytest.approx(histogram.sumw[1:5].sum())
    assert coarse.sumw[-1] == histogram.sumw[-1]


def test_the_points_of_a_trend_are_those_of_the_results() -> None:
    figure = drawn(SHEETS["resolution_P"], "resolution_P")
    bias, sigma68 = figure.axes
    for ax, quantity in ((bias, "bias"), (sigma68, "sigma68")):
        for container, model in zip(ax.containers, RESULTS.models.values(), strict=True):
            (trend,) = (t for t in model.trends if t.x == "P")
            assert np.array_equal(container.lines[0].get_ydata(), getattr(trend, quantity))


def test_figures_on_request_show_some_models_and_refer_to_one() -> None:
    plots = Plots(RESULTS)
    _, axes = plots.residuals(models=["mlp", "bdt"])
    assert all(len(ax.patches) == 2 for ax in axes)
    _, axes = plots.comparison(reference="linear")
    names = [text.get_text() for text in axes[0].get_yticklabels()]
    assert names == ["constant − linear", "bdt − linear", "mlp − linear"]
    pair = next(c for c in RESULTS.comparisons if (c.a, c.b) == ("constant", "linear"))
    rms = pair.quantity("rms")
    assert rms is not None
    assert axes[0].containers[0].lines[0].get_xdata()[0] == -rms.difference.value
    _, ax = plots.prediction("mlp")
    assert ax.get_ylabel() == "prediction of mlp"
    _, axes = plots.profiles(features=["x1"])
    assert axes.get_xlabel() == "x1"
    _, axes = plots.resolution()
    assert axes[1].get_xlabel().startswith(RESULTS.target)
    _, axes = plots.resolution("P", labels={"P": "momentum"})
    assert axes[1].get_xlabel() == "momentum"


def test_what_a_regression_does_not_have_is_refused_in_a_sentence() -> None:
    plots = Plots(RESULTS)
    for ask in (plots.roc, plots.efficiency, plots.scatter, plots.band, plots.response):
        with pytest.raises(UsageError, match="the run has nothing to draw for"):
            ask()
    assert "residuals" in dir(plots)
    assert "roc" not in dir(plots)
    for sheet in SHEETS.values():
        assert callable(getattr(Plots, sheet.kind))


def _without_widths(results: RegressionResults) -> RegressionResults:
    models = {
        name: dataclasses.replace(
            model,
            pulls=None,
            samples={s: dataclasses.replace(m, pulls=None, quantiles=()) for s, m in model.samples.items()},
        )
        for name, model in results.models.items()
    }
    return dataclasses.replace(results, models=models)


def test_models_without_widths_have_no_figure_of_pulls() -> None:
    names = catalogue(_without_widths(RESULTS))
    assert "pulls" not in names
    assert "quantiles" not in names


def test_weights_of_both_signs_can_be_drawn() -> None:
    for name, sheet in catalogue(toy_results(900, weights="signed")).items():
        drawn(sheet, name)
