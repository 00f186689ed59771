"""Figures to explore a sample and its models: pairs of features, ratios, contributions, trees, partial dependence."""

from __future__ import annotations

import dataclasses
from fnmatch import fnmatchcase

import numpy as np
import pytest
import uproot
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFT, CARETRIGHT
from matplotlib.patches import PathPatch

from example_results import FEATURES, example
from explored_sample import TREE, explored
from pidlab.evaluate.histograms import density_ratio
from pidlab.evaluate.results import Exploration, TreeNode, read_results, write_results
from pidlab.plots import gallery
from pidlab.plots.canvas.style import class_styles, context
from pidlab.plots.exploring.contributions import contributions
from pidlab.plots.exploring.dependence import dependence
from pidlab.plots.exploring.ratio import signal_ratio
from pidlab.plots.exploring.scatter import scatter
from pidlab.plots.exploring.trees import tree
from pidlab.plots.inputs import mark_flows
from pidlab.plots.sheets import exploration, importance
from pidlab.plots.sheets.sheet import columns_of, grid, root_key
from pidlab.report.page import render
from pidlab.rootio import write_results as write_root

RESULTS = explored(example())
STYLES = class_styles(RESULTS.classes, RESULTS.signal)
NEW = (
    "signal_ratio", "scatter", "scatter_2", "inputs_scaled", "contributions_mlp", "trees_mlp", "dependence_mlp",
)  # fmt: skip


@pytest.fixture
def ax():
    with context():
        yield Figure(figsize=(6, 4)).subplots()


def errorbars(ax):
    return [np.asarray(container.lines[0].get_xydata()) for container in ax.containers]


def test_results_and_figures_have_them_and_older_results_do_not(tmp_path):
    names = gallery.catalogue(RESULTS)
    assert set(NEW) <= set(names)
    write_results(tmp_path / "results.json", RESULTS)
    assert list(gallery.catalogue(read_results(tmp_path / "results.json"))) == list(names)
    older = gallery.catalogue(dataclasses.replace(RESULTS, exploration=Exploration()))
    assert set(names) - set(older) == set(NEW) - {"signal_ratio"}


def test_each_has_a_table_and_a_place_in_the_report():
    sheets = gallery.catalogue(RESULTS)
    some = dataclasses.replace(RESULTS, robustness={}, comparisons=(), models={}, cutflow=(), correlation={}, inputs={})
    pictures = [gallery.picture(name, sheets[name], b"<svg/>") for name in NEW]
    page = render(some, title="t", config_yaml="", manifest={}, figures=pictures)
    for name, picture in zip(NEW, pictures, strict=True):
        assert sheets[name].section in ("inputs", "importance", "learning")
        assert picture.table is not None
        assert picture.table.rows
        assert sheets[name].title in page


def test_a_scatter_fills_the_cells_with_candidates_and_its_profile_is_that_of_the_results(ax):
    pair = RESULTS.exploration.pairs[0]
    scatter(pair, "pion", ax, style=STYLES["pion"])
    plane = pair.planes["pion"]
    filled = sum(patch.get_path().contains_point((x, y)) for x, y in _centres(pair) for patch in _paths(ax))
    assert filled == np.count_nonzero(plane.sumw)
    (points,) = errorbars(ax)
    np.testing.assert_array_equal(points[:, 1], plane.mean)
    darkest = _paths(ax)[-1].get_path()
    i, j = np.unravel_index(plane.sumw.argmax(), plane.sumw.shape)
    assert darkest.contains_point(((pair.x_edges[i : i + 2]).mean(), pair.y_edges[j : j + 2].mean()))


def _paths(ax):
    return [artist for artist in ax.get_children() if isinstance(artist, PathPatch)]


def _centres(pair):
    x, y = ((e[1:] + e[:-1]) / 2 for e in (pair.x_edges, pair.y_edges))
    return [(a, b) for a in x for b in y]


def test_ratios_are_those_of_the_densities_with_their_errors_on_a_log_axis(ax):
    by_class = RESULTS.inputs[FEATURES[1]]
    signal_ratio(FEATURES[1], by_class, ax, signal="electron", styles=STYLES)
    ratio, _ = density_ratio(by_class["electron"], by_class["pion"])
    (points,) = errorbars(ax)
    np.testing.assert_array_equal(points[:, 1], ratio)
    assert ax.get_yscale() == "log"
    rows = gallery.catalogue(RESULTS)["signal_ratio"].numbers().rows
    found = [row[4] for row in rows if row[0] == FEATURES[1]]
    np.testing.assert_array_equal(found, ratio)


def test_a_swarm_has_a_point_for_each_candidate_where_it_contributes_and_none_overlap_much(ax):
    table = RESULTS.exploration.explained["mlp"]
    contributions(table, [1], ax, quantity="the margin of electron")
    corners = np.concatenate([patch.get_path().vertices.reshape(-1, 5, 2) for patch in _paths(ax)])
    places = (corners[:, 0] + corners[:, 2]) / 2
    assert len(places) == len(table.particle)
    np.testing.assert_allclose(np.sort(places[:, 0]), np.sort(table.contribution[:, 1]), rtol=1e-9, atol=1e-12)
    assert np.abs(places[:, 1]).max() <= 0.4
    assert len(np.unique(places.round(9), axis=0)) == len(places)


def test_the_colour_of_a_swarm_is_the_rank_of_the_value_and_grey_where_it_is_missing(ax):
    table = RESULTS.exploration.explained["mlp"]
    contributions(table, [2], ax, quantity="the margin of electron")
    *ranks, grey = _paths(ax)
    assert len(grey.get_path().vertices) == 5 * np.isnan(table.value[:, 2]).sum() > 0
    middles = [np.median(patch.get_path().vertices[:, 0]) for patch in ranks]
    assert middles == sorted(middles), "contributions rise with the value"


def test_the_feature_that_contributes_most_is_on_top():
    figure = gallery.drawn(gallery.catalogue(RESULTS)["contributions_mlp"], "contributions_mlp")
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(FEATURES)


def test_a_tree_shows_conditions_gains_leaves_and_where_it_goes_on(ax):
    tree(TREE, ax, title="mlp")
    texts = [text.get_text() for text in ax.texts]
    assert texts == [
        "P.cal.etottracknorm\n< 0.79; gain 6110", "log_npe\n< 2.5 or missing; gain 43", "−0.12", "+0.0884",
        "100%_x\n< −1.25; gain 0.412 …",
    ]  # fmt: skip
    (root, holds, fails, *_) = (text.get_position() for text in ax.texts)
    assert holds[1] < root[1] < fails[1]  # y grows downwards
    assert holds[0] == fails[0] > root[0]


def test_the_boxes_of_the_largest_tree_do_not_overlap():
    long = "P.cal.etottracknorm_and_more"
    inner = [TreeNode(long, -123.4, True, 6110.0, 2 * i + 1, 2 * i + 2) for i in range(7)]
    ends = [TreeNode(long, -123.4, True, 6110.0) for _ in range(8)]
    results = dataclasses.replace(RESULTS, exploration=Exploration(trees={"mlp": (("pion", (*inner, *ends)),) * 3}))
    figure = gallery.drawn(gallery.catalogue(results)["trees_mlp"], "trees_mlp")
    with context():
        figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = [text.get_bbox_patch().get_window_extent() for text in ax.texts]
        for i, box in enumerate(boxes):
            assert box.width > 50
            assert not any(box.overlaps(other) for other in boxes[:i])
            assert box.y1 < ax.bbox.y1, "the title stands above"


def test_root_objects_are_the_planes_profiles_ratios_and_scaled_features(tmp_path):
    some = dataclasses.replace(RESULTS, models={}, comparisons=(), robustness={})
    write_root(tmp_path / "results.root", some, "{}")
    pair = RESULTS.exploration.pairs[0]
    stem = "inputs/P_cal_etottracknorm_log_npe_pion"
    with uproot.open(tmp_path / "results.root") as file:
        np.testing.assert_array_equal(file[stem].values(), pair.planes["pion"].sumw)
        np.testing.assert_allclose(file[stem].variances(), pair.planes["pion"].sumw2, rtol=1e-12)
        finite = np.isfinite(pair.planes["pion"].mean)
        np.testing.assert_array_equal(file[f"{stem}_profile"].member("fY"), pair.planes["pion"].mean[finite])
        ratio, _ = density_ratio(*RESULTS.inputs["log_npe"].values())
        np.testing.assert_array_equal(file["inputs/log_npe_ratio_pion"].member("fY"), ratio[np.isfinite(ratio)])
        scaled = RESULTS.exploration.scaled["log_npe"]["electron"]
        np.testing.assert_array_equal(file["inputs/log_npe_scaled_electron"].values(), scaled.sumw[1:-1])


def test_many_features_and_classes_go_on_several_pages():
    results = explored(example(("electron", "pion", "kaon", "proton")))
    pages = list(exploration.scatters(results))
    assert [sheet.name for sheet in pages] == ["scatter", *(f"scatter_{i}" for i in range(2, 7))]
    figure = gallery.drawn(pages[0], "scatter")
    assert [ax.get_title() for ax in figure.axes] == list(results.classes)


def test_a_feature_that_moves_no_score_has_no_panel_of_its_dependence():
    """A hand-made cut reads some features only; panels of flat lines would say nothing."""
    some = RESULTS.exploration.dependence["mlp"]
    still = dataclasses.replace(some[0], mean=np.full_like(some[0].mean, 0.4), curves=np.full_like(some[0].curves, 0.3))
    kept = dataclasses.replace(RESULTS.exploration, dependence={"mlp": (still, *some[1:]), "cuts": (still,)})
    (sheet,) = importance.dependences(dataclasses.replace(RESULTS, exploration=kept))
    assert sheet.name == "dependence_mlp"
    texts = [ax.get_xlabel() for ax in gallery.drawn(sheet, sheet.name).axes]
    assert len(texts) == len([one for one in some[1:] if np.ptp(one.mean[~np.isnan(one.mean)]) > 0])


def test_four_small_panels_stand_in_a_square():
    assert [columns_of(n) for n in (1, 3, 4, 5, 6, 7, 12)] == [3, 3, 2, 3, 3, 4, 4]
    _, axes = grid(4, columns_of(4), 3.3, 2.7)
    assert {ax.get_subplotspec().get_geometry()[:2] for ax in axes} == {(2, 2)}


def test_scaled_inputs_have_the_labels_of_the_features():
    (sheet,) = exploration.scaled_inputs(dataclasses.replace(RESULTS, labels={FEATURES[0]: "$E_{tot}/p$"}))
    first, *others = [ax.get_xlabel() for ax in gallery.drawn(sheet, sheet.name).axes]
    assert first == "$E_{tot}/p$, scaled"
    assert all(text.endswith(", scaled") for text in others)


def test_triangles_of_what_lies_beyond_stand_inside_the_frame_and_point_out(ax):
    mark_flows([np.array([1.0, 0, 0, 1.0])], ax)
    # The tip of a caret lies at its point, and its body on the side that it does not point to.
    assert [(*line.get_xdata(), line.get_marker()) for line in ax.lines] == [(0.0, CARETLEFT), (1.0, CARETRIGHT)]


def test_the_dependence_is_a_line_with_its_band_and_curves_that_begin_where_it_begins(ax):
    one = RESULTS.exploration.dependence["mlp"][0]
    entries = dependence(
        one, ax, classes=RESULTS.classes, style=STYLES["pion"], styles=STYLES, quantity="score for electron", labels={}
    )
    assert [text for _, text in entries] == ["mean, 68.3 %", "single electron, shifted", "single pion, shifted"]
    (mean,) = [line for line in ax.lines if line is entries[0][0]]
    np.testing.assert_array_equal(mean.get_xdata(), one.value)
    np.testing.assert_array_equal(mean.get_ydata(), one.mean)
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == one.low.min()
    assert corners[:, 1].max() == one.high.max()
    curves = np.array(entries[1][0].get_ydata()).reshape(-1, len(one.value) + 1)
    assert len(curves) == (one.particle == 0).sum()
    np.testing.assert_allclose(curves[:, 0], one.mean[0])
    np.testing.assert_allclose(np.diff(curves[:, :-1]), np.diff(one.curves[one.particle == 0]), atol=1e-12)


def test_a_missing_value_stands_to_the_right_of_all_others(ax):
    one = RESULTS.exploration.dependence["mlp"][2]
    assert np.isnan(one.value[-1])
    dependence(one, ax, classes=RESULTS.classes, style=STYLES["pion"], styles=STYLES, quantity="score for electron")
    (point,) = errorbars(ax)
    assert point[0, 0] > one.value[-2]
    assert point[0, 1] == one.mean[-1]
    assert [text.get_text() for text in ax.texts] == ["missing"]
    only = dataclasses.replace(
        one, value=one.value[-1:], mean=one.mean[-1:], low=one.low[-1:], high=one.high[-1:], curves=one.curves[:, -1:]
    )
    assert (
        dependence(
            only, ax, classes=RESULTS.classes, style=STYLES["pion"], styles=STYLES, quantity="score for electron"
        )
        == []
    )


def test_dependence_and_contributions_are_root_objects(tmp_path):
    some = dataclasses.replace(RESULTS, comparisons=(), robustness={})
    write_root(tmp_path / "results.root", some, "{}")
    one = RESULTS.exploration.dependence["mlp"][2]
    table = RESULTS.exploration.explained["mlp"]
    sheets = gallery.catalogue(RESULTS)
    with uproot.open(tmp_path / "results.root") as file:
        stem = f"mlp/dependence_{root_key(one.feature)}"
        graph = file[stem]
        np.testing.assert_array_equal(graph.member("fX"), one.value[:-1])
        np.testing.assert_array_equal(graph.member("fY"), one.mean[:-1])
        np.testing.assert_allclose(graph.member("fEYlow"), (one.mean - one.low)[:-1], rtol=1e-9)
        assert file[f"{stem}_missing"].values()[0] == one.mean[-1]
        cells = file[f"{stem}_candidates"]
        np.testing.assert_array_equal(cells.values(), one.curves[:, :-1].T)
        edges = cells.axis("x").edges()
        assert ((edges[:-1] < one.value[:-1]) & (one.value[:-1] < edges[1:])).all()
        signed = file[f"mlp/contribution_{root_key(FEATURES[0])}"]
        np.testing.assert_array_equal(signed.member("fY"), table.contribution[:, 0])
        names = [name for name in file.keys(cycle=False) if "dependence" in name or "/contribution_" in name]
        shown = [p for s in ("dependence_mlp", "contributions_mlp") for p in sheets[s].objects]
        assert all(any(fnmatchcase(name, pattern) for pattern in shown) for name in names)
        assert len(names) == 4 + 4 + 1 + 4
