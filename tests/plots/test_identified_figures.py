"""Figures and ROOT objects of what a working point accepts: which are drawn, and that they show what was counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.patches import StepPatch
from matplotlib.transforms import Bbox

from evaluate_samples import both_features, evaluated, gaussians, hand_cuts, three_samples
from pidlab.config.schema import Evaluate
from pidlab.errors import UsageError
from pidlab.evaluate.histograms import input_histograms
from pidlab.evaluate.points.identified import identified
from pidlab.evaluate.ranking import signal_score
from pidlab.evaluate.results import Results
from pidlab.plots.gallery import catalogue, chosen, drawn
from pidlab.plots.on_request import Plots
from pidlab.rootio.results.run import named_objects


def results_with(n_features: int, n_spectators: int) -> Results:
    """Results of a network and of cuts by hand on a sample with so many features and spectators."""
    rng = np.random.default_rng(8)
    test = gaussians(2_000, rng)
    x = np.concatenate([test.x, rng.normal(size=(2_000, n_features - 2)).astype(np.float32)], axis=1)
    test = replace(
        test, x=x, features=tuple(f"f{i}" for i in range(n_features)),
        spectators={f"s{i}": rng.uniform(size=2_000) for i in range(n_spectators)},
    )  # fmt: skip
    samples = three_samples() | {"test": test}
    options = Evaluate(working_points=[0.8, 0.9])
    models = {
        "mlp": evaluated(both_features, samples=samples, options=options),
        "hand": evaluated(hand_cuts, samples=samples, options=options, fixed_cut=True),
    }
    models = {name: replace(model, name=name) for name, model in models.items()}
    scores = {"mlp": both_features(test), "hand": hand_cuts(test)}
    inputs = input_histograms(test)
    decided = {n: [(p, signal_score(scores[n], test)) for p in m.working_points] for n, m in models.items()}
    return Results(
        signal="electron", classes=test.classes, features=test.features, n={}, cutflow=(), models=models,
        comparisons=(), robustness={}, inputs=inputs, correlation={}, identified=identified(test, decided, inputs),
    )  # fmt: skip


@pytest.fixture(scope="module")
def results() -> Results:
    return results_with(2, 1)


def test_a_run_draws_the_first_point_of_the_best_model_and_all_others_are_there_on_request(results: Results) -> None:
    everything = [name for name in catalogue(results) if name.startswith("identified")]
    assert everything == ["identified_mlp_eff80", "identified_mlp_eff90", "identified_hand_hand"]
    assert [name for name in chosen(results, "all") if name.startswith("identified")] == ["identified_mlp_eff80"]
    assert not [name for name in chosen(results, "quick") if name.startswith("identified")]
    older = replace(results, identified=None)
    assert not [name for name in catalogue(older) if name.startswith("identified")]
    alone = replace(results, models={"hand": results.models["hand"]})  # which has no AUC
    assert [name for name in chosen(alone, "all") if name.startswith("identified")] == ["identified_hand_hand"]


def test_of_many_variables_spectators_stand_on_the_first_page() -> None:
    sheets = catalogue(results_with(14, 3))
    pages = [sheet for name, sheet in sheets.items() if name.startswith("identified_mlp_eff80")]
    first, second = ([row[0] for row in sheet.numbers().rows] for sheet in pages if sheet.numbers is not None)
    assert list(dict.fromkeys(first)) == [*(f"f{i}" for i in range(9)), "s0", "s1", "s2"]
    assert list(dict.fromkeys(second)) == [f"f{i}" for i in range(9, 14)]


def test_lines_are_what_is_accepted(results: Results) -> None:
    found = results.identified
    assert found is not None
    drawn = Plots(results).identified("hand", variables="s0")
    above, below = drawn.axes
    steps = [patch.get_data().values for patch in above.patches if isinstance(patch, StepPatch)]
    sums = found.accepted["hand"]["hand"].sums["s0"].sumw[:, 1:-1]
    for line, expected in zip(steps, [found.total["s0"].sumw[0, 1:-1], sums.sum(axis=0), *sums], strict=True):
        np.testing.assert_array_equal(np.nan_to_num(line), expected)
    assert below.get_xlabel() == "s0"
    with pytest.raises(UsageError, match=r"no feature or spectator 's9'"):
        Plots(results).identified("hand", variables="s9")
    with pytest.raises(UsageError, match=r"identified: choose model=, one of 'mlp', 'hand'"):
        Plots(results).identified()


def test_root_objects_hold_the_same_numbers(results: Results) -> None:
    found, objects = results.identified, dict(named_objects(results))
    assert found is not None
    accepted = found.accepted["mlp"]["eff90"]
    whole, part = objects["mlp/identified/eff90/f0"], objects["mlp/identified/eff90/f0_pion"]
    np.testing.assert_array_equal(whole.values(flow=True), accepted.sums["f0"].sumw.sum(axis=0))
    np.testing.assert_array_equal(part.values(flow=True), accepted.sums["f0"].sumw[1])
    assert part.member("fEntries") == accepted.n["pion"]
    np.testing.assert_array_equal(objects["identified/s0_electron"].values(flow=True), found.total["s0"].sumw[0])
    purity = objects["mlp/identified/eff90/f0_purity"]
    x, y = purity.member("fX"), purity.member("fY")
    edges, sums = found.edges["f0"], accepted.sums["f0"].sumw[:, 1:-1]
    filled = sums.sum(axis=0) > 0
    np.testing.assert_allclose(x, ((edges[1:] + edges[:-1]) / 2)[filled], rtol=1e-12)
    np.testing.assert_allclose(y, (sums[0] / np.where(filled, sums.sum(axis=0), 1))[filled], rtol=1e-12)


def test_the_labels_of_contents_and_shares_do_not_meet_where_bins_have_different_widths(results: Results) -> None:
    assert results.identified is not None
    edges = {
        name: np.append(0.9, 0.9 + np.cumsum(np.linspace(0.0031, 0.009, len(old) - 1)))
        for name, old in results.identified.edges.items()
    }
    sheet = catalogue(replace(results, identified=replace(results.identified, edges=edges)))["identified_mlp_eff80"]
    figure = drawn(sheet, "identified")
    figure.canvas.draw()
    boxes: dict[str, list[Bbox]] = {}
    for ax in figure.axes:
        boxes.setdefault(ax.get_ylabel(), []).append(ax.yaxis.label.get_window_extent())
    contents, shares = boxes["candidates / 0.0031"], boxes["share"]
    assert not any(one.overlaps(other) for one in contents for other in shares)
