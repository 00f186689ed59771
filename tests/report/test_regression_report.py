"""The report, the table and metrics.json of a regression say what the comparisons show, and nothing more."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from pidlab.cli.terminal.results import results_table, sentences
from pidlab.evaluate.regression.run import regression_results
from pidlab.evaluate.results import RegressionResults
from pidlab.measured import UNDEFINED
from pidlab.plots.gallery import write
from pidlab.plots.sheets.picture import Picture
from pidlab.report.page import render
from pidlab.report.regression import best_regression, regression_cautions, regression_headline, regression_table
from pidlab.report.tables import as_text
from pidlab.rootio.results.run import write_results
from pidlab.runs.record import metrics
from regression_samples import FEATURES, prediction, toy, toy_results


@pytest.fixture(scope="module")
def results() -> RegressionResults:
    return toy_results(20_000, seed=2)


def _of(predictions) -> RegressionResults:
    """The results of models of which a function gives the predictions for the mean and the width of the target."""
    rng = np.random.default_rng(7)
    samples, found = {}, {}
    for name in ("train", "test"):
        samples[name], mean, width = toy(rng, 3000)
        for model, each in predictions(mean, width, rng).items():
            found.setdefault(model, {})[name] = each
    kinds = {model: model.rstrip("2") for model in found}
    return regression_results(
        target="y", features=FEATURES, samples=samples, predictions=found, kinds=kinds, trainings={}
    )  # fmt: skip


def test_the_headline_names_the_best_model_and_its_lead(results: RegressionResults) -> None:
    said = regression_headline(results)
    assert said.startswith("mlp has the smallest RMS: 0.1")
    assert re.search(r"better than bdt, the next, by 0\.00\d+ ± 0\.0\d+ on the same candidates \(p [=<]", said)
    assert best_regression(results) == "mlp"


def test_level_models_are_called_level() -> None:
    def equal(mean, width, rng):
        return {name: prediction(mean + 0.05 * rng.normal(size=len(mean))) for name in ("bdt", "bdt2")}

    results = _of(equal)
    said = regression_headline(results)
    assert "are level in RMS on test" in said
    assert "none is shown to be the best" in said
    assert best_regression(results) == ""


def test_a_headline_says_where_the_best_is_beaten() -> None:
    """One model has a narrow core and outliers, another is wider without: the first wins σ68, the second the RMS."""

    def mixed(mean, width, rng):
        n = len(mean)
        outliers = np.where(rng.random(n) < 0.02, 2.0, 0.0)
        return {"bdt": prediction(mean + outliers), "mlp": prediction(mean + 0.15 * rng.normal(size=n))}

    results = _of(mixed)
    said = regression_headline(results)
    assert said.startswith("mlp has the smallest RMS")
    assert "bdt beats mlp in " in said
    assert "σ68" in said
    assert best_regression(results) == ""


def test_a_run_that_learns_nothing_is_said_to() -> None:
    def nothing(mean, width, rng):
        return {
            "constant": prediction(np.ones(len(mean))), "bdt": prediction(1 + 0.001 * rng.normal(size=len(mean))),
        }  # fmt: skip

    (said,) = regression_cautions(_of(nothing))
    assert said.startswith("No model is shown to be better than constant")


def test_wrong_widths_and_quantiles_are_said_first() -> None:
    def wrong(mean, width, rng):
        return {
            "mlp": prediction(mean, 0.5 * width),
            "bdt": prediction(mean, None, {0.16: mean - 0.2 * width, 0.5: mean}),
        }

    results = _of(wrong)
    too_small, shares = regression_cautions(results)
    assert re.match(r"mlp predicts widths that are too small: its pulls have a width of 2\.0\d+ ", too_small)
    assert re.search(r"bdt predicts quantiles .*: 4\d[.\d]* % for 16 %", shares)
    assert too_small in sentences(results)


def test_right_widths_are_not_complained_about(results: RegressionResults) -> None:
    assert list(regression_cautions(results)) == []


def test_no_rms_is_said_in_a_sentence(results: RegressionResults) -> None:
    models = {
        name: dataclasses.replace(model, samples={"test": dataclasses.replace(model.test, rms=UNDEFINED)})
        for name, model in results.models.items()
    }
    said = regression_headline(dataclasses.replace(results, models=models, comparisons=()))
    assert said == "No model has an RMS on test, so none can be called best."


def test_the_table_of_the_terminal_fits_and_holds_every_model(results: RegressionResults) -> None:
    table = regression_table(results)
    text = as_text(table)
    assert max(map(len, text.splitlines())) <= 100
    assert [row[0].text for row in table.rows] == list(results.models)
    mlp = table.rows[-1]
    assert mlp[2].strong
    assert mlp[2].text.startswith(f"{results.models['mlp'].rms.value:.4f} ± ")
    assert results_table(results).row_count == len(results.models)


def test_metrics_hold_every_number_with_its_interval(results: RegressionResults) -> None:
    content = json.loads(json.dumps(metrics(results), allow_nan=False))
    assert content["kind"] == "regression"
    assert content["target"] == results.target
    mlp = content["models"]["mlp"]
    assert mlp["test"]["rms"] == results.models["mlp"].rms._asdict()
    assert mlp["test"]["pulls"]["width"]["value"] == pytest.approx(1, abs=0.05)
    assert [t["against"] for t in mlp["trends"]] == [results.target, "P", "theta"]
    assert len(mlp["trends"][1]["sigma68"]["low"]) == len(mlp["trends"][1]["edges"]) - 1
    assert content["models"]["bdt"]["test"]["quantiles"][0]["probability"] == 0.16
    assert content["comparisons"][0]["quantities"][0]["name"] == "rms"
    first = content["importance"]["linear"]["features"][0]
    assert first["feature"] == "x0"
    assert first["delta_rms"]["low"] > 0
    assert first["contribution"]["value"] > 0


def test_the_page_shows_every_section_and_needs_nothing_else(tmp_path: Path, results: RegressionResults) -> None:
    write_results(tmp_path / "results.root", results, "{}")
    pictures = [
        Picture(name, name, name, "<svg/>", None, section)
        for name, section in (
            ("residuals", "first"),
            ("resolution_P", "resolution"),
            ("prediction_mlp", "predictions"),
            ("importance_mlp", "importance"),
        )
    ]
    page = render(
        results, title="energy", config_yaml="target: y\n", manifest={"pidlab": "1"}, figures=pictures,
        root_file=tmp_path / "results.root",
    )  # fmt: skip
    assert regression_headline(results) in html.unescape(page)
    sections = re.findall(r'<section id="(\w+)"', page)
    assert sections == [
        "models", "comparisons", "inputs", "predictions", "resolution", "widths", "overtraining", "importance",
        "learning", "cutflow", "objects", "configuration", "provenance",
    ]  # fmt: skip
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert f"How well is {results.target} predicted?" in page


def test_hostile_names_do_not_leave_their_place(tmp_path: Path) -> None:
    results = dataclasses.replace(toy_results(900), target="<script>alert(1)</script>", notes=("<b>bold</b>",))
    page = render(results, title="<i>", config_yaml="", manifest={}, figures=write(results, tmp_path, formats=()))
    assert "<script>alert" not in page
    assert "<b>bold" not in page
