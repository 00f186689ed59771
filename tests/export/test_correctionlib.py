"""correctionlib: every measured efficiency and every threshold is what the file answers, and nothing else."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import correctionlib
import numpy as np
import pytest
from correctionlib import schemav2
from hypothesis import given, settings
from hypothesis import strategies as st

from example_results import example
from exported_runs import FAST, config, make_run, write_table
from pidlab.errors import DataError, ModelError, UsageError
from pidlab.evaluate.points.flat import thresholds_at
from pidlab.evaluate.results import FlatThreshold, Results, read_results, write_results
from pidlab.export import parity_events
from pidlab.export.correctionlib import document as correctionlib_json
from pidlab.export.correctionlib.content import corrections
from pidlab.export.correctionlib.document import write
from pidlab.runs.bundle import Bundle

EVALUATE = {
    "robustness": None,
    "working_points": [0.8, 0.95],
    "maps": [{"x": "p", "bins": [1, 2, 4.5, 5, 7]}, {"x": "p", "bins": 3, "y": "theta", "y_bins": [-1, 0, 1.5]}],
    "flat": [{"x": "p", "bins": 4}, {"x": "p", "bins": 3, "y": "theta", "y_bins": 2}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("correctionlib")
    write_table(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    models = {name: FAST[name] for name in ("hand", "fisher")}
    return make_run(folder, config(3, models, evaluate=EVALUATE))


@pytest.fixture(scope="module")
def results(bundle: Bundle, folder: Path) -> Results:
    return read_results(folder / "run" / "results.json")


@pytest.fixture(scope="module")
def written(bundle: Bundle, folder: Path) -> Path:
    (folder / "out").mkdir()
    (exported,) = write(bundle, ["hand", "fisher"], folder / "out", parity_events(bundle, 300), folder / "run")
    assert (exported.path, exported.models) == (folder / "out" / "corrections.json", ("hand", "fisher"))
    assert exported.largest_difference < 1e-12
    assert exported.n_events > 300
    return exported.path


@pytest.fixture(scope="module")
def answers(written: Path) -> Any:
    return correctionlib.CorrectionSet.from_file(str(written))


def test_the_file_is_valid_and_holds_every_working_point_map_and_threshold(written: Path, results: Results) -> None:
    valid = schemav2.CorrectionSet.model_validate_json(written.read_text())
    names = {c.name for c in valid.corrections}
    points = ["eff80", "eff95", "eff80_flat_p", "eff95_flat_p", "eff80_flat_p_theta", "eff95_flat_p_theta"]
    assert [p.name for p in results.models["fisher"].working_points] == points
    whole = {f"fisher_{p}" for p in points} | {"hand_hand"}
    maps = {f"{name}[{axes}]" for name in whole for axes in ("p", "theta", "p, theta")}
    assert names >= whole | {f"fisher_{p}:threshold" for p in points[2:]}
    assert names - whole - {f"fisher_{p}:threshold" for p in points[2:]} <= maps
    assert {f"fisher_eff80[{axes}]" for axes in ("p", "theta", "p, theta")} <= names
    json.loads(written.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_integrated_rates_with_their_bounds(answers: Any, results: Results) -> None:
    for model in results.models.values():
        for point in model.working_points:
            for c in results.classes:
                rate = point.efficiency if c == results.signal else point.misid[c]
                found = [answers[f"{model.name}_{point.name}"].evaluate(c, s) for s in ("nominal", "low", "high")]
                np.testing.assert_allclose(found, rate[:3], rtol=1e-14, atol=0)


def test_every_bin_edges_included_as_in_the_map(answers: Any, results: Results) -> None:
    """Looked up by numpy's own search, the last bin with its upper edge."""
    for m in results.models["fisher"].maps:
        axes = [np.concatenate([e, (e[1:] + e[:-1]) / 2, e[1:] - 1e-13]) for e in m.edges]
        bins = [
            np.minimum(np.searchsorted(e, x, side="right") - 1, len(e) - 2) for e, x in zip(m.edges, axes, strict=True)
        ]
        correction = answers[f"fisher_{m.working_point}[{', '.join(m.names)}]"]
        for place in itertools.product(*(range(len(x)) for x in axes)):
            x = [float(axis[i]) for axis, i in zip(axes, place, strict=True)]
            index = tuple(int(b[i]) for b, i in zip(bins, place, strict=True))
            for systematic, bound in (("nominal", m.value), ("low", m.low), ("high", m.high)):
                if np.isnan(bound[index]):
                    with pytest.raises(IndexError, match="not available in Category"):
                        correction.evaluate(m.particle, *x, systematic)
                else:
                    assert correction.evaluate(m.particle, *x, systematic) == pytest.approx(
                        bound[index], rel=1e-14, abs=0
                    )


def test_edges_of_any_digits_keep_the_events_on_them(bundle: Bundle, tmp_path: Path) -> None:
    """Quantiles of float32 values: an event stands on each edge, the smallest and largest at the ends."""
    rng = np.random.default_rng(2)
    results = example(kinds=["mlp"])
    model = results.models["mlp"]
    m = model.maps[0]
    n = 400
    for scale in (1e-30, 1e-9, 1.0, 1e7):
        edges = np.unique(scale * rng.normal(size=n).astype(np.float32)).astype(np.float64)
        value = np.linspace(0, 1, len(edges) - 1)
        fine = replace(m, edges=(edges,), value=value, low=value, high=value)
        run = stored(tmp_path, replace(results, models={"mlp": replace(model, maps=(fine,))}))
        (exported,) = write(bundle, ["mlp"], tmp_path, parity_events(bundle, 10), run)
        correction = correctionlib.CorrectionSet.from_file(str(exported.path))[f"mlp_{m.working_point}[P.gtr.p]"]
        found = correction.evaluate(m.particle, edges, "nominal")
        np.testing.assert_allclose(found, np.append(value, 1.0), rtol=0, atol=1e-12)


def test_an_empty_bin_has_no_number_and_says_so(answers: Any, results: Results, written: Path) -> None:
    (m,) = [
        m for m in results.models["fisher"].maps if (m.working_point, m.particle, m.names) == ("eff80", "pion", ("p",))
    ]
    assert np.isnan(m.value[-1])
    correction = answers["fisher_eff80[p]"]
    with pytest.raises(IndexError):
        correction.evaluate("pion", 6.0, "nominal")
    with pytest.raises(IndexError):
        correction.evaluate("pion", np.array([1.5, 6.0]), "low")
    assert "No candidates, so no number: pion in p 5 to 7; kaon in p 5 to 7" in correction.description
    assert "NaN" not in written.read_text()


@pytest.mark.parametrize("p", [0.99, 7.001, np.nan, np.inf])
def test_beyond_the_bins_there_is_no_number(answers: Any, p: float) -> None:
    with pytest.raises(RuntimeError, match="bounds"):
        answers["fisher_eff80[p]"].evaluate("pion", p, "nominal")


def test_a_class_or_systematic_that_is_none_is_refused(answers: Any) -> None:
    for words in (("muon", "nominal"), ("pion", "up")):
        with pytest.raises(IndexError):
            answers["fisher_eff80"].evaluate(*words)


def test_flat_thresholds_decide_as_pidlab(bundle: Bundle, answers: Any) -> None:
    events = parity_events(bundle, 1000)
    score = events.scores["fisher"][:, bundle.recipe.signal]
    flat = [d for d in bundle.decisions["fisher"] if d.flat is not None]
    assert len(flat) == 4
    for decision in flat:
        axes = [events.spectators[name] for name in decision.flat.names]
        threshold = answers[f"fisher_{decision.name}:threshold"].evaluate(*axes)
        assert len(np.unique(threshold)) > 100
        found = events.selected & (score > threshold.astype(np.float32))
        assert (found == events.passed["fisher"][decision.name]).mean() > 0.999
        np.testing.assert_allclose(threshold, thresholds_at(decision.flat, events.spectators), rtol=1e-12, atol=1e-12)


def nodes() -> st.SearchStrategy[list[float]]:
    return st.lists(st.integers(-(10**5), 10**5), min_size=1, max_size=5, unique=True).map(
        lambda numbers: [number / 97 for number in sorted(numbers)]
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(nodes(), st.none() | nodes(), st.integers(0, 2**31))
def test_any_flat_threshold_is_the_same_function(x: list[float], y: list[float] | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = (x,) if y is None else (x, y)
    grid = tuple(np.array(axis) for axis in axes)
    flat = FlatThreshold(("x", "sqrt(y)")[: len(axes)], grid, rng.uniform(size=tuple(map(len, grid))))
    results = example(("a", "b"), ["mlp"])
    model = results.models["mlp"]
    point = replace(model.working_points[0], flat=flat)
    content = corrections(results, [replace(model, working_points=(point,))], "")
    evaluators = schemav2.CorrectionSet.model_validate(content).to_evaluator()
    places = {
        n: np.concatenate([rng.choice(g, 20), rng.uniform(-1.1e3, 1.1e3, 20), [np.nan]])
        for n, g in zip(flat.names, grid, strict=True)
    }
    found = evaluators[f"mlp_{point.name}:threshold"].evaluate(*places.values())
    np.testing.assert_allclose(found, thresholds_at(flat, places), rtol=0, atol=1e-9)
    assert np.isnan(found[-1])


def stored(folder: Path, results: Results) -> Path:
    write_results(folder / "results.json", results)
    return folder


def test_two_binnings_of_one_spectator_are_two_corrections(bundle: Bundle, tmp_path: Path) -> None:
    results = example(kinds=["mlp"])
    model = results.models["mlp"]
    (pions,) = [m for m in model.maps if (m.working_point, m.particle, m.names) == ("eff90", "pion", ("P.gtr.p",))]
    wider = replace(pions, edges=(pions.edges[0] * 2,))
    run = stored(tmp_path, replace(results, models={"mlp": replace(model, maps=(*model.maps, wider))}))
    (exported,) = write(bundle, ["mlp"], tmp_path, parity_events(bundle, 10), run)
    content = correctionlib.CorrectionSet.from_file(str(exported.path))
    assert {"mlp_eff90[P.gtr.p]", "mlp_eff90[P.gtr.p] #2", "mlp_eff90[P.gtr.p, P.gtr.th]"} <= set(content)
    assert content["mlp_eff90[P.gtr.p]"].evaluate("pion", 5.0, "nominal") == pytest.approx(pions.value[2], rel=1e-14)
    assert content["mlp_eff90[P.gtr.p] #2"].evaluate("pion", 15.0, "nominal") == pytest.approx(
        pions.value[3], rel=1e-14
    )


def test_open_bins_reach_to_infinity(bundle: Bundle, tmp_path: Path) -> None:
    results = example(kinds=["mlp"])
    model = results.models["mlp"]
    (m, *_) = model.maps
    edges = np.concatenate([[-np.inf], m.edges[0][1:-1], [np.inf]])
    run = stored(tmp_path, replace(results, models={"mlp": replace(model, maps=(replace(m, edges=(edges,)),))}))
    (exported,) = write(bundle, ["mlp"], tmp_path, parity_events(bundle, 10), run)
    content = correctionlib.CorrectionSet.from_file(str(exported.path))
    assert content[f"mlp_{m.working_point}[P.gtr.p]"].evaluate(m.particle, -1e200, "nominal") == pytest.approx(
        m.value[0], rel=1e-14
    )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("shifted", "differs from pidlab by 1e-06"),
        ("edge", "differs from pidlab by"),
        ("answers", "gives a number for pion in a bin without candidates"),
    ],
)
def test_damage_is_found(
    damage: str, said: str, bundle: Bundle, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number of one bin, or an edge, that is a little off; a number where there is none."""

    def damaged(*given: Any) -> Any:
        content = corrections(*given)
        (data,) = [c["data"] for c in content["corrections"] if c["name"] == "fisher_eff80[p]"]
        nominal = data["content"][0]["value"]["content"][0]["value"]
        if damage == "answers":
            nominal["content"][-1] = 0.0
        elif damage == "shifted":
            nominal["content"][0] += 1e-6
        else:
            nominal["edges"][1] += 1e-14
        return content

    monkeypatch.setattr(correctionlib_json, "corrections", damaged)
    with pytest.raises(ModelError, match=said):
        write(bundle, ["fisher"], tmp_path, parity_events(bundle, 10), folder / "run")


def test_what_is_missing_is_named(
    bundle: Bundle, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = parity_events(bundle, 10)
    with pytest.raises(DataError, match="cannot be read"):
        write(bundle, ["fisher"], tmp_path, events, tmp_path)
    monkeypatch.setitem(sys.modules, "correctionlib", None)
    with pytest.raises(UsageError, match=r"pip install 'pidlab\[correctionlib\]'"):
        write(bundle, ["fisher"], tmp_path, events, folder / "run")


def test_maps_whose_bins_differ_beyond_the_digits_of_correctionlib_are_left_out(results: Results) -> None:
    """Edges of event numbers around 2^64 are one number in 15 digits; all other numbers are written."""
    fisher = results.models["fisher"]
    first = fisher.maps[0]
    far = replace(first, names=("number",), edges=(1.8e19 + 4096.0 * np.arange(len(first.edges[0])),))
    model = replace(fisher, maps=(far, *fisher.maps[1:]))
    names = {c["name"] for c in corrections(results, [model], "")["corrections"]}
    point = fisher.working_points[0].name
    assert f"fisher_{point}" in names
    assert any(name.startswith(f"fisher_{point}[p") for name in names)
    assert not any("number" in name for name in names)
    near = replace(far, edges=(1e14 + 1e5 * np.arange(len(first.edges[0])),))
    names = {c["name"] for c in corrections(results, [replace(model, maps=(near,))], "")["corrections"]}
    assert any("[number]" in name for name in names)
