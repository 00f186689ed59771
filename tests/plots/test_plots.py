"""The figures draw the numbers that they are given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.text import Text

from example_results import FEATURES, example, measured
from pidlab.evaluate.results import CutStep, EfficiencyMap, Roc, Training
from pidlab.measured import UNDEFINED
from pidlab.plots.canvas import style
from pidlab.plots.comparison import delta_auc, delta_misid
from pidlab.plots.cutflow import cut_flow
from pidlab.plots.efficiency import efficiency
from pidlab.plots.inputs import feature
from pidlab.plots.matrices import confusion, correlation, efficiency_map
from pidlab.plots.response import response
from pidlab.plots.robustness import dropped, robustness
from pidlab.plots.roc import roc, roc_ratio
from pidlab.plots.training import learning_curve, quantities

TWO = example()
THREE = example(("electron", "pion", "kaon"))


@pytest.fixture
def ax():
    with style.context():
        yield style.new_figure(4, 3).subplots()


def texts(figure):
    return {text.get_text() for text in figure.findobj(Text)}


def legend_names(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def bar_ends(container):
    """(m, 2, 2) the ends of the error bars of an errorbar container, its last direction, where there is a bar."""
    return np.array([segment for segment in container.lines[2][-1].get_segments() if len(segment)])


def density(histogram):
    inside = histogram.sumw[1:-1]
    return inside / inside.sum() / np.diff(histogram.edges)


def flat(model, **changes):
    return dataclasses.replace(model, **changes)


# response


def test_response_draws_test_as_steps_and_train_as_points_of_unit_area(ax):
    model = TWO.models["mlp"]
    response(model, ax, signal="electron", styles=style.class_styles(TWO.classes, "electron"))
    steps = [patch.get_data() for patch in ax.patches]
    for drawn, particle in zip(steps, TWO.classes, strict=True):
        np.testing.assert_allclose(drawn.values, density(model.response["test"][particle]), rtol=1e-12)
        np.testing.assert_array_equal(drawn.edges, model.response["test"][particle].edges)
    for drawn, particle in zip(ax.containers, TWO.classes, strict=True):
        histogram = model.response["train"][particle]
        expected = density(histogram)
        shown = np.asarray(drawn.lines[0].get_ydata())
        np.testing.assert_allclose(shown, expected, rtol=1e-12)
        error = np.sqrt(histogram.sumw2[1:-1]) / histogram.sumw[1:-1].sum() / np.diff(histogram.edges)
        np.testing.assert_allclose(np.ptp(bar_ends(drawn)[:, :, 1], axis=1), 2 * error, rtol=1e-9)


def test_response_marks_each_threshold_within_the_axis_and_has_a_log_axis(ax):
    reachable = TWO.models["mlp"].working_points
    beyond = dataclasses.replace(reachable[0], name="eff100", threshold=float(np.finfo(np.float32).max))
    model = flat(TWO.models["mlp"], working_points=(*reachable, beyond))
    response(model, ax, signal="electron", styles=style.class_styles(TWO.classes, "electron"))
    dashed = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed == [point.threshold for point in reachable]
    assert ax.get_yscale() == "log"
    assert ax.get_xlim()[1] < 1.2
    assert legend_names(ax) == ["electron, test", "pion, test", "electron, train", "pion, train"]


# ROC


def roc_of(efficiency, misid, width=0.5):
    efficiency, misid = np.asarray(efficiency, dtype=float), np.asarray(misid, dtype=float)
    return Roc(
        "pion", 1 - efficiency, efficiency, efficiency - 0.01, efficiency + 0.01,
        misid, misid * (1 - width), misid * (1 + width), measured(0.9, 100),
    )  # fmt: skip


def test_roc_draws_efficiency_against_inverse_misid_and_leaves_out_zero_misid(ax):
    model = flat(TWO.models["mlp"], roc={"pion": roc_of([0.0, 0.5, 0.8, 1.0], [0.0, 0.01, 0.1, 1.0])})
    roc([model], "pion", ax, styles=style.model_styles([model]))
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x, [0.0, 0.5, 0.8, 1.0], rtol=1e-15)
    np.testing.assert_allclose(y, [np.nan, 100.0, 10.0, 1.0], rtol=1e-12)


def test_roc_marks_the_optimal_points_in_the_colour_of_the_curve_and_says_in_the_legend_what_they_are(ax):
    found = TWO.models["mlp"].working_points
    points = [dataclasses.replace(p, name=name) for p, name in zip(found, ("sweet_spot", "youden"), strict=False)]
    perfect = dataclasses.replace(points[1], rejection={"pion": measured(0.0, 10)._replace(value=np.inf)})
    models = [
        flat(TWO.models["mlp"], optimal_points={"pion": tuple(points)}),
        flat(
            TWO.models["cuts"], name="bdt", kind="bdt", optimal_points={"pion": (points[0], perfect)}
        ),  # no pion passes: no place on the axis
        flat(TWO.models["cuts"], optimal_points={}),  # of an older version
    ]
    styles = style.model_styles(models)
    roc(models, "pion", ax, styles=styles)
    marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert [line.get_markeredgecolor() for line in marks] == [styles[name].colour for name in ("mlp", "mlp", "bdt")]
    for line, point in zip(marks, [*points, points[0]], strict=True):
        assert line.get_xdata()[0] == point.efficiency.value
        assert line.get_ydata()[0] == point.rejection["pion"].value
    assert legend_names(ax) == ["mlp", "bdt", "cuts", "nearest to (0, 1)", "Youden"]


def test_roc_band_lies_between_the_inverse_bounds(ax):
    model = flat(TWO.models["mlp"], roc={"pion": roc_of([0.5, 0.8, 1.0], [0.01, 0.1, 1.0])})
    roc([model], "pion", ax, styles=style.model_styles([model]))
    corners = ax.collections[0].get_paths()[0].vertices
    heights = sorted(set(np.round(corners[corners[:, 0] == 0.8][:, 1], 9)))
    np.testing.assert_allclose(heights, [1 / 0.15, 1 / 0.05], rtol=1e-7)


def test_roc_band_is_open_above_where_the_lower_bound_is_zero(ax):
    curve = dataclasses.replace(roc_of([0.5, 1.0], [0.01, 1.0]), misid_low=np.array([0.0, 0.9]))
    roc([flat(TWO.models["mlp"], roc={"pion": curve})], "pion", ax, styles=style.model_styles(TWO.models.values()))
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[corners[:, 0] == 0.5][:, 1].max() > ax.get_ylim()[1]


@pytest.mark.parametrize(("results", "against"), [(TWO, "pion"), (THREE, "pion"), (THREE, "kaon"), (THREE, "rest")])
def test_roc_shows_all_models_in_one_figure(results, against, ax):
    models = list(results.models.values())
    roc(models, against, ax, styles=style.model_styles(results.models.values()))
    by_hand = [] if against == "rest" else ["hand"]
    assert legend_names(ax) == [*by_hand, "cuts", "mlp"]
    curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
    for line, model in zip(curves, models[1:], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), model.roc[against].efficiency)


def test_hand_cuts_are_one_point_with_both_error_bars(ax):
    hand = TWO.models["hand"]
    roc([hand], "pion", ax, styles=style.model_styles([hand]))
    point = hand.working_points[0]
    (container,) = ax.containers
    assert [float(v[0]) for v in container.lines[0].get_data()] == [
        point.efficiency.value,
        point.rejection["pion"].value,
    ]
    across, up = (collection.get_segments()[0] for collection in container.lines[2])
    np.testing.assert_allclose(across[:, 0], [point.efficiency.low, point.efficiency.high], rtol=1e-12)
    np.testing.assert_allclose(up[:, 1], [point.rejection["pion"].low, point.rejection["pion"].high], rtol=1e-12)


def test_ratio_is_one_for_the_reference_and_uses_equal_efficiency_for_the_others(ax):
    reference = flat(TWO.models["cuts"], roc={"pion": roc_of([0.4, 0.6, 1.0], [0.1, 0.3, 1.0])})
    model = flat(TWO.models["mlp"], roc={"pion": roc_of([0.2, 0.5, 1.0], [0.01, 0.05, 1.0])})
    roc_ratio([reference, model], "pion", ax, reference=reference, styles=style.model_styles([reference, model]))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [np.nan, 0.2 / 0.05, 1.0], rtol=1e-12)


# efficiency and maps


def test_efficiency_draws_each_bin_with_its_interval_and_leaves_empty_bins_out(ax):
    maps = [m for m in TWO.models["mlp"].maps if m.names == ("P.gtr.p",) and m.particle == "pion"]
    styles = style.point_styles([m.working_point for m in maps])
    efficiency(maps, ax, styles=styles, signal="electron", title="mlp")
    assert legend_names(ax) == ["eff90", "eff95", "eff99"]
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "misid of pion"
    for container, one in zip(ax.containers, maps, strict=True):
        np.testing.assert_array_equal(container.lines[0].get_ydata(), one.value)
        np.testing.assert_allclose(container.lines[0].get_xdata(), [2.5, 3.75, 5.25, 7.0, 9.0], rtol=1e-15)
        ends = bar_ends(container)[:, :, 1]
        np.testing.assert_allclose(ends, np.stack([one.low, one.high], axis=1)[:-1], rtol=1e-9)
    assert np.isnan(maps[0].value[-1])


def test_map_draws_the_values_and_writes_them_where_there_is_room(ax):
    one = next(m for m in TWO.models["mlp"].maps if len(m.names) == 2)
    efficiency_map(one, ax)
    np.testing.assert_allclose(np.ma.filled(ax.collections[0].get_array(), np.nan), 100 * one.value.T, rtol=1e-12)
    roomy = 100 * one.value[1:][np.isfinite(one.value[1:])]
    written = [float(text.get_text()) for text in ax.texts]
    assert all(any(abs(number - value) <= 0.05 for number in written) for value in roomy)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("P.gtr.p", "P.gtr.th")


def test_bins_of_a_map_too_uneven_to_read_are_drawn_alike_and_say_their_edges(ax):
    one = next(m for m in TWO.models["mlp"].maps if len(m.names) == 2)
    uneven = dataclasses.replace(one, edges=(np.array([2.0, 3, 4.5, 6, 8, 796]), one.edges[1]))
    efficiency_map(uneven, ax)
    assert ax.get_xlim() == (0.0, 5.0)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "3", "4.5", "6", "8", "796"]
    assert ax.get_ylim() == (one.edges[1][0], one.edges[1][-1])


@pytest.mark.parametrize(
    ("edges", "drawn", "remark"),
    [
        ([2, 4, 6, 8, 796], [2, 4, 6, 8, 10], "  (last bin to 796)"),
        ([-999, 1, 2, 3, 5], [0, 1, 2, 3, 5], "  (first bin from -999)"),
        ([0, 1, 2, 3, 8], [0, 1, 2, 3, 8], ""),
        ([0, 1, 100], [0, 1, 100], ""),
    ],
)
def test_an_outlier_does_not_flatten_the_other_bins(edges, drawn, remark):
    shown, said = style.visible_edges(np.array(edges, dtype=float))
    np.testing.assert_allclose(shown, drawn, rtol=1e-15)
    assert said == remark


# inputs


def test_inputs_have_unit_area_by_class_and_say_where_values_lie_beyond(ax):
    by_class = TWO.inputs[FEATURES[0]]
    feature(FEATURES[0], by_class, ax, styles=style.class_styles(TWO.classes, "electron"))
    for patch, histogram in zip(ax.patches, by_class.values(), strict=True):
        np.testing.assert_allclose(patch.get_data().values, density(histogram), rtol=1e-12)
    beyond = [any(h.sumw[flow] for h in by_class.values()) for flow in (0, -1)]
    assert len(ax.lines) == sum(beyond)
    assert ax.get_xlabel() == FEATURES[0]


def test_weights_do_not_change_the_shape(ax):
    plain = TWO.inputs[FEATURES[0]]["pion"]
    heavy = dataclasses.replace(plain, sumw=7 * plain.sumw, sumw2=49 * plain.sumw2)
    feature("x", {"pion": plain, "electron": heavy}, ax, styles=style.class_styles(TWO.classes, "electron"))
    np.testing.assert_allclose(ax.patches[0].get_data().values, ax.patches[1].get_data().values, rtol=1e-12)


# matrices


def test_correlation_colours_and_numbers_are_the_matrix_in_per_cent(ax):
    matrix = np.array([[1.0, -0.25, np.nan], [-0.25, 1.0, -0.001], [np.nan, -0.001, 1.0]])
    correlation(matrix, ("a", "b", "c"), ax)
    np.testing.assert_array_equal(np.ma.filled(ax.collections[0].get_array(), np.nan), matrix)
    assert [text.get_text() for text in ax.texts] == ["100", "−25", "", "−25", "100", "0", "", "0", "100"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]


def test_the_first_row_of_a_matrix_is_on_top(ax):
    correlation(np.eye(3), ("a", "b", "c"), ax)
    low, high = ax.get_ylim()
    assert (low, high) == (2.5, -0.5)
    cell = ax.collections[0].get_transform().transform((0.5, 0.5))
    np.testing.assert_allclose(cell, ax.transData.transform((0.0, 0.0)), rtol=1e-12)


def test_confusion_is_normalised_by_true_class_and_keeps_the_counts(ax):
    metrics = dataclasses.replace(
        TWO.models["mlp"].samples["test"], confusion=np.array([[90.0, 10.0], [500.0, 1500.0]])
    )
    confusion(metrics, ax)
    assert [text.get_text() for text in ax.texts] == ["90.0 %\n90", "10.0 %\n10", "25.0 %\n500", "75.0 %\n1,500"]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("true class", "decided")


# training, comparison, robustness, cut flow


def test_learning_curves_split_the_history_by_quantity_and_sample(ax):
    training = Training(1.0, 3, {"loss": [3.0, 2.0, 1.0], "validation_loss": [3.5, 2.5], "validation_auc": [0.7, 0.8]})
    assert quantities(training) == {
        "loss": {"train": "loss", "validation": "validation_loss"},
        "auc": {"validation": "validation_auc"},
    }
    learning_curve(training, "loss", ax)
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}
    assert drawn == {"train": ([1, 2, 3], [3.0, 2.0, 1.0]), "validation": ([1, 2], [3.5, 2.5])}


def test_norms_are_drawn_together_with_a_line_for_each_layer(ax):
    norms = {"gradient_norm_1": [0.1, 0.2], "gradient_norm_2": [0.3, 0.0], "gradient_norm_output": [0.5, 0.6]}
    training = Training(1.0, 2, {"loss": [2.0, 1.0], "learning_rate": [0.1, 0.1], "weight_norm_1": [1.0, 2.0], **norms})
    assert quantities(training) == {
        "loss": {"train": "loss"},
        "weight_norm": {"layer 1": "weight_norm_1"},
        "gradient_norm": {f"layer {i}": f"gradient_norm_{i}" for i in "12"} | {"output": "gradient_norm_output"},
    }
    learning_curve(training, "gradient_norm", ax)
    assert [list(line.get_ydata()) for line in ax.lines] == list(norms.values())
    assert legend_names(ax) == ["layer 1", "layer 2", "output"]
    assert len({line.get_color() for line in ax.lines}) == 3
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "gradient norm")


def test_of_many_layers_the_legend_names_three(ax):
    deep = Training(1.0, 1, {f"weight_norm_{layer}": [1.0] for layer in (*range(1, 9), "output")})
    learning_curve(deep, "weight_norm", ax)
    assert len(ax.lines) == 9
    assert legend_names(ax) == ["layer 1", "layer 5", "output"]


def test_comparison_draws_differences_with_intervals_and_a_zero_line(ax):
    pairs = TWO.comparisons
    delta_misid(pairs, "eff95", "pion", ax)
    expected = [next((p.delta_misid for p in c.working_points if p.name == "eff95"), UNDEFINED) for c in pairs]
    (container,) = ax.containers
    np.testing.assert_array_equal(container.lines[0].get_xdata(), [100 * m.value for m in expected])  # in per cent
    last = bar_ends(container)[-1, :, 0]
    np.testing.assert_allclose(last, [100 * expected[-1].low, 100 * expected[-1].high], rtol=1e-9)
    assert [line.get_xdata() for line in ax.lines if line.get_color() == style.GREY] == [[0.0, 0.0]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cuts − hand", "mlp − hand", "mlp − cuts"]


def test_delta_auc_of_a_single_point_is_left_out(ax):
    delta_auc(TWO.comparisons, ax)
    values = ax.containers[0].lines[0].get_xdata()
    assert list(np.isnan(values)) == [True, True, False]
    assert values[2] == TWO.comparisons[2].delta_auc.value


def test_robustness_starts_from_the_sample_as_it_is(ax):
    unchanged = {name: TWO.models[name].samples["test"].auc for name in TWO.robustness}
    styles = style.model_styles(TWO.models.values())
    robustness(TWO.robustness, "scale", "all", ax, styles=styles, unchanged=unchanged)
    x, y = ax.containers[1].lines[0].get_data()
    assert list(x) == [0.98, 1.0, 1.02]
    assert y[1] == unchanged["mlp"].value
    points = {p.size: p.auc.value for p in TWO.robustness["mlp"].points if (p.change, p.feature) == ("scale", "all")}
    assert [y[0], y[2]] == [points[0.98], points[1.02]]


def test_dropped_features_are_bars_from_the_full_auc(ax):
    without = {"a": measured(0.8, 1000), "b": measured(0.95, 1000), "c": UNDEFINED}
    dropped(without, measured(0.96, 1000), ax, style=style.LineStyle("#000000", "o", "-"))
    ends = [sorted((bar.get_x(), bar.get_x() + bar.get_width())) for bar in ax.patches]
    np.testing.assert_allclose(ends[:2], [[0.8, 0.96], [0.95, 0.96]], rtol=1e-12)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]


def test_cut_flow_bars_are_the_counts_and_carry_them(ax):
    steps = (CutStep("all", {"e": 1000, "pi": 20000}, {}), CutStep("p > 1", {"e": 900, "pi": 0}, {}))
    cut_flow(steps, ax, styles=style.class_styles(("e", "pi"), "e"))
    assert [bar.get_width() for bar in ax.patches] == [1000, 900, 20000, 0]
    assert {" 1,000", " 900", " 20,000", " 0"} <= texts(ax.figure)
    low, high = ax.get_ylim()
    assert low > high, "the first cut stands on top"


def test_values_beyond_their_interval_are_drawn(ax):
    """Weights of both signs give efficiencies above 1: the point stands, and the bar reaches to the bound."""
    one = EfficiencyMap(
        "eff90", "e", ("p",), (np.array([0.0, 1.0]),), *(np.ones(1),) * 4,
        np.array([1.02]), np.array([0.97]), np.array([1.0]), np.ones(1),
    )  # fmt: skip
    efficiency([one], ax, styles=style.point_styles(["eff90"]), signal="e")
    np.testing.assert_allclose(bar_ends(ax.containers[0])[0, :, 1], [0.97, 1.02], rtol=1e-12)
