"""What a reader must be able to read off a figure: numbers in their bins, legends beside no data, every point drawn."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.transforms import Affine2D, Bbox
from test_quality_output import results_of

from example_results import example, histogram, measured
from pidlab.evaluate.results import EfficiencyMap, Roc
from pidlab.measured import Measured
from pidlab.plots import gallery
from pidlab.plots.canvas import style
from pidlab.plots.canvas.recording import Recorder
from pidlab.plots.comparison import delta_auc, delta_misid
from pidlab.plots.efficiency import efficiency
from pidlab.plots.inputs import feature
from pidlab.plots.matrices import efficiency_map
from pidlab.plots.response import response
from pidlab.plots.roc import roc, roc_pairs, roc_ratio
from pidlab.plots.sheets.points import rocs

TWO = example()
FOUR = example(("electron", "pion", "kaon", "proton"))


@pytest.fixture
def ax():
    with style.context():
        yield style.new_figure(6.8, 5.2).subplots()


class Texts(Recorder):
    """Keeps the boxes of texts, in points, that do not stand aslant."""

    def __init__(self, figure):
        super().__init__(*(figure.get_size_inches() * 72))
        self.boxes = []
        figure.set_dpi(72)
        figure.draw(self)

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        if s.strip() and angle % 90 == 0:
            width, height, descent = self.get_text_width_height_descent(s, prop, ismath)
            box = Bbox.from_bounds(0, -descent, width, height)
            self.boxes.append((s, Affine2D().rotate_deg(angle).translate(x, y).transform_bbox(box)))
        super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)

    def overlapping(self):
        """Pairs of texts that cover each other by more than a point."""
        return [(a, b) for (a, one), (b, other) in itertools.combinations(self.boxes, 2) if _shared(one, other) > 1]


def _shared(one, other):
    width, height = (min(one.max[i], other.max[i]) - max(one.min[i], other.min[i]) for i in (0, 1))
    return min(width, height)


@pytest.mark.slow
@pytest.mark.parametrize("results", [TWO, FOUR, results_of(2), results_of(4)], ids=["two", "four", "q2", "q4"])
def test_no_text_of_any_figure_covers_another(results):
    """Of the figures that cuts and the network both have, those of the network: only the curves and numbers differ."""
    sheets = gallery.catalogue(results)
    for name, sheet in sheets.items():
        if name.endswith("_cuts") and f"{name.removesuffix('cuts')}mlp" in sheets:
            continue
        with style.context(name):
            assert (name, Texts(gallery.drawn(sheet, name)).overlapping()) == (name, [])


@pytest.mark.slow
def test_nor_in_the_wider_letters_that_every_machine_has(monkeypatch):
    monkeypatch.setattr(style, "_FONTS", {"sans-serif": ("DejaVu Sans",), "serif": ("DejaVu Serif",)})
    style.families.cache_clear()
    try:
        for name in ("roc", "compare", "inputs", "robustness_scale", "map_P_gtr_p_P_gtr_th_mlp", "response_mlp"):
            with style.context(name):
                drawn = Texts(gallery.drawn(gallery.catalogue(TWO)[name], name))
            assert (name, drawn.overlapping()) == (name, [])
    finally:
        style.families.cache_clear()


# legends


@pytest.mark.parametrize("names", [("e", "pi", "K", "p"), ("electron", "pion", "kaon"), ("B0_to_K_mu_mu", "pi", "K")])
@pytest.mark.parametrize("arms", [(0.006, 0.006), (0.0014, 0.0012)])
def test_the_legend_of_pairs_stands_between_the_ends_of_the_axes_and_hides_no_auc(ax, names, arms):
    curve = TWO.models["mlp"].roc["pion"]
    curve = dataclasses.replace(curve, auc=Measured(0.942, 0.942 - arms[0], 0.942 + arms[1], 900.0))
    pairs = {a: dict.fromkeys(names[i + 1 :], curve) for i, a in enumerate(names[:-1])}
    n = len(names) * (len(names) - 1) // 2
    roc_pairs(dataclasses.replace(TWO.models["mlp"], roc_pairs=pairs), ax, styles=style.pair_styles(n))
    drawn = Texts(ax.figure)
    assert drawn.overlapping() == []
    legend = [box for text, box in drawn.boxes if "AUC" in text]
    assert len(legend) == n
    assert all(ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 + 1 and box.y0 >= ax.bbox.y1 for box in legend)


def test_a_legend_has_the_columns_that_fit(ax):
    for texts, columns in ((["a"] * 4, 4), (["a name of thirty characters ..."] * 4, 2), (["x" * 56] * 4, 1)):
        made = style.legend(ax, [(ax.plot([], [])[0], text) for text in texts])
        assert made._ncols == columns


# maps


def map_of(x_edges, y_edges, value=0.0007):
    shape = len(x_edges) - 1, len(y_edges) - 1
    values = np.full(shape, value)
    values[0, 0] = 0.5
    full = np.full(shape, 1000.0)
    return EfficiencyMap(
        "eff90", "pion", ("p", "q"), (np.asarray(x_edges, float), np.asarray(y_edges, float)),
        values * 1000, full, values * 1000, full, values, values * 0.5, values * 1.5, full,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.linspace(2, 10, 6), np.linspace(0, 1, 4)), ([1, 1.3, 2, 3, 4, 6], np.linspace(-1, 1, 6)),
        (np.linspace(0, 1, 13), np.linspace(0, 1, 4)), (np.linspace(0, 1, 21), np.linspace(0, 1, 6)),
        ([1, 1.8, 2.0, 2.6, 4.1, 4.3], [0, 1, 10]),
    ],
)  # fmt: skip
def test_every_bin_of_a_map_has_its_number_inside_and_no_tick_beside_it(x, y):
    with style.context():
        ax = style.new_figure(4.2, 3.4).subplots()
        efficiency_map(map_of(x, y), ax)
        drawn = Texts(ax.figure)
    assert len(ax.texts) == (len(x) - 1) * (len(y) - 1)
    boxes = [box for text, box in drawn.boxes if text in ("0.07", "50.0")]
    assert len(boxes) == len(ax.texts)
    corners = ax.collections[0].get_coordinates()
    low = ax.transData.transform(corners[:-1, :-1].reshape(-1, 2))
    high = ax.transData.transform(corners[1:, 1:].reshape(-1, 2))
    inside = [[np.all(box.min >= a) and np.all(box.max <= b) for a, b in zip(low, high, strict=True)] for box in boxes]
    assert np.sum(inside, axis=1).tolist() == [1] * len(boxes)
    for axis in (ax.xaxis, ax.yaxis):
        assert {tick.get_tickdir() for tick in axis.get_major_ticks()} == {"out"}
        assert not any(tick.tick2line.get_visible() for tick in axis.get_major_ticks())


def test_a_map_without_room_for_numbers_says_so(ax):
    efficiency_map(map_of(np.linspace(0, 1, 61), np.linspace(0, 1, 41)), ax)
    assert len(ax.texts) == 0
    assert "too narrow for numbers" in ax.get_title()


# inputs


def test_features_of_whole_numbers_have_ticks_at_whole_numbers_only(ax):
    counts = np.random.default_rng(1).poisson(2.0, 1000).astype(float)
    one = histogram(counts, np.arange(-0.5, counts.max() + 1))
    feature("n_hits", {"pion": one}, ax, styles=style.class_styles(("pion",), "pion"))
    ax.figure.draw_without_rendering()
    ticks = ax.get_xticks()
    np.testing.assert_array_equal(ticks, np.rint(ticks))


# responses


def narrow(model, low, high):
    """The model with responses on [0, 1] whose candidates all lie between low and high."""
    rng = np.random.default_rng(2)
    edges = np.linspace(0, 1, 101)
    spread = {s: {c: histogram(rng.uniform(low, high, 500), edges) for c in by} for s, by in model.response.items()}
    points = tuple(dataclasses.replace(p, threshold=high + 0.02) for p in model.working_points[:1])
    return dataclasses.replace(model, response=spread, working_points=points)


def test_a_response_that_fills_little_of_its_axis_is_enlarged_with_its_thresholds_in_sight(ax):
    response(narrow(TWO.models["mlp"], 0.42, 0.55), ax, signal="electron", styles=class_styles(TWO))
    left, right = ax.get_xlim()
    assert 0.38 < left < 0.42
    assert 0.57 <= right < 0.62
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"] == [0.55 + 0.02]


def test_a_response_that_fills_its_axis_is_drawn_from_0_to_1(ax):
    response(narrow(TWO.models["mlp"], 0.1, 0.9), ax, signal="electron", styles=class_styles(TWO))
    assert ax.get_xlim()[0] < 0.0
    assert ax.get_xlim()[1] > 1.0


def class_styles(results):
    return style.class_styles(results.classes, results.signal)


def test_responses_of_more_than_two_classes_are_outlines_of_their_own_colour_and_dash(ax):
    styles = class_styles(FOUR)
    response(FOUR.models["mlp"], ax, signal="electron", styles=styles)
    assert [patch.get_fill() for patch in ax.patches] == [False] * 4
    expected = [to_rgba(styles[c].colour) for c in FOUR.classes]
    assert [patch.get_edgecolor() for patch in ax.patches] == expected
    assert len({str(patch.get_linestyle()) for patch in ax.patches}) == 4


def arrows(ax):
    """The containers of error bars whose bars are arrows: places and limits."""
    found = [c for c in ax.containers if any(line.get_marker() not in ("_", "|", "") for line in c.lines[1])]
    return [c.lines[0].get_data() for c in found]


def test_a_bin_that_train_lacks_has_an_upper_limit(ax):
    """68.3 % central interval of no event: 1.841 events, of the weight that the candidates have."""
    edges = np.linspace(0, 1, 11)
    test, train = histogram(np.array([0.15, 0.15, 0.55]), edges), histogram(np.array([0.55] * 8), edges, weight=3.0)
    model = dataclasses.replace(
        TWO.models["mlp"], response={"test": {"pion": test}, "train": {"pion": train}}, working_points=()
    )
    response(model, ax, signal="electron", styles=class_styles(TWO))
    ((x, limit),) = arrows(ax)
    np.testing.assert_allclose(x, [0.15], rtol=1e-12)
    np.testing.assert_allclose(limit, [-np.log(0.158655) * 3.0 / 24.0 / 0.1], rtol=1e-5)
    assert ax.get_ylim()[0] < limit[0] / 2
    assert ax.get_ylim()[1] > limit[0]


def test_a_bin_of_which_nothing_passes_has_the_upper_bound_as_a_limit(ax):
    value, high = np.array([0.0, 0.02, np.nan]), np.array([0.006, 0.03, np.nan])
    n = np.array([300.0, 300.0, 0.0])
    one = EfficiencyMap(
        "eff90", "pion", ("p",), (np.arange(4.0),), value * n, n, value * n, n, value, value * 0.7, high, n
    )
    efficiency([one], ax, styles=style.point_styles(["eff90"]), signal="electron")
    ((x, limit),) = arrows(ax)
    assert (list(x), list(limit)) == ([0.5], [0.006])
    assert ax.get_ylim()[0] < 0.003
    efficiency(
        [dataclasses.replace(one, particle="electron")], ax, styles=style.point_styles(["eff90"]), signal="electron"
    )
    assert len(arrows(ax)) == 1, "a linear axis shows the point itself"


def test_a_cut_that_no_background_passes_is_a_lower_limit_of_its_rejection(ax):
    hand = TWO.models["hand"]
    nothing, bound = Measured(0.0, 0.0, 0.0004, 4000.0), Measured(np.inf, 2500.0, np.inf, 4000.0)
    point = dataclasses.replace(hand.working_points[0], misid={"pion": nothing}, rejection={"pion": bound})
    hand = dataclasses.replace(hand, working_points=(point,))
    models = [hand, TWO.models["mlp"]]
    roc(models, "pion", ax, styles=style.model_styles(models))
    ((x, limit),) = arrows(ax)
    assert (list(x), list(limit)) == ([point.efficiency.value], [2500.0])
    assert ax.get_ylim()[1] > 5000
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["hand", "mlp"]


def test_a_cut_far_above_the_curves_is_inside_the_axes(ax):
    hand = TWO.models["hand"]
    far = dataclasses.replace(hand.working_points[0], rejection={"pion": Measured(1e6, 8e5, 1.5e6, 4000.0)})
    models = [dataclasses.replace(hand, working_points=(far,)), TWO.models["mlp"]]
    roc(models, "pion", ax, styles=style.model_styles(models))
    assert ax.get_ylim()[1] > 1.5e6


# ratio panel


def curve(misid):
    efficiency = np.array([0.2, 0.5, 0.9, 1.0])
    misid = np.asarray(misid, float)
    return Roc("pion", 1 - efficiency, *[efficiency] * 3, misid, misid * 0.8, misid * 1.2, measured(0.9, 100))


def ratio(ax, reference, *misids):
    hand = TWO.models["hand"]
    models = [
        dataclasses.replace(TWO.models["mlp"], name=f"m{i}", roc={"pion": curve(m)}) for i, m in enumerate(misids)
    ]
    by_name = {"hand": hand, **{m.name: m for m in models}}
    styles = style.model_styles(by_name.values())
    roc_ratio(list(by_name.values()), "pion", ax, reference=by_name[reference], styles=styles)
    return hand.working_points[0], [line for line in ax.lines if len(line.get_xdata()) == 4]


def test_a_single_cut_is_the_straight_lines_through_its_point(ax):
    point, (line,) = ratio(ax, "hand", [0.001, 0.004, 0.02, 1.0])
    at, cost = point.efficiency.value, point.misid["pion"].value
    assert 0.2 < at < 0.9
    by_hand = [
        cost * 0.2 / at, cost * 0.5 / at if at > 0.5 else cost + (1 - cost) * (0.5 - at) / (1 - at),
        cost + (1 - cost) * (0.9 - at) / (1 - at), 1.0,
    ]  # fmt: skip
    np.testing.assert_allclose(line.get_ydata(), np.divide(by_hand, [0.001, 0.004, 0.02, 1.0]), rtol=1e-12)
    (marker,) = ax.containers
    np.testing.assert_allclose(marker.lines[0].get_ydata(), [1.0], rtol=1e-12)
    assert ax.get_ylabel() == "ratio to hand\n(mixed at random)"


@pytest.mark.parametrize("worse", [0.001, 0.02, 0.7])
def test_nothing_in_the_ratio_panel_is_cut_off(ax, worse):
    good = np.array([0.02, 0.07, 0.5, 1.0])
    _, lines = ratio(ax, "m0", good, np.minimum(good / worse, 1.0))
    low, high = ax.get_ylim()
    (marker,) = ax.containers
    ends = [segment[:, 1] for bars in marker.lines[2] for segment in bars.get_segments()]
    values = np.concatenate([*(line.get_ydata() for line in lines), *ends])
    assert low < values.min()
    assert high > values.max()
    assert (ax.get_yscale() == "log") == (values.max() > 10 * values.min())


def test_the_ratio_is_to_the_chosen_model_or_hand_made_cuts_or_optimised_cuts_or_the_first():
    def references(results):
        return [sheet.alt.partition("ratio to ")[2].rstrip(".") for sheet in rocs(results)]

    without = dataclasses.replace(TWO, models={n: m for n, m in TWO.models.items() if n != "hand"})
    first = dataclasses.replace(TWO, models={"mlp": TWO.models["mlp"]})
    mixed = "hand, whose one decision is mixed at random with passing all or none to reach the other efficiencies"
    assert references(TWO) == [mixed]
    assert references(dataclasses.replace(TWO, reference="mlp")) == ["mlp"]
    assert (references(without), references(first)) == (["cuts"], ["mlp"])
    assert references(FOUR)[-1] == "cuts", "hand was not measured against the rest"


def test_the_efficiency_axis_begins_where_curves_do_and_holds_a_cut_that_all_signal_passes():
    def range_of(first, passing):
        low = dataclasses.replace(curve([0.0, 0.01, 0.1, 1.0]), efficiency=np.array([0.1, first, 0.95, 1.0]))
        hand = TWO.models["hand"]
        point = dataclasses.replace(
            hand.working_points[0], efficiency=Measured(passing, passing - 0.01, passing, 900.0)
        )
        models = {
            "hand": dataclasses.replace(hand, working_points=(point,)),
            "mlp": dataclasses.replace(TWO.models["mlp"], roc={"pion": low}),
        }
        (sheet,) = rocs(dataclasses.replace(TWO, models=models))
        with style.context():
            return sheet.draw().axes[1].get_xlim()

    assert range_of(0.3, 0.9) == (0.0, 1.0)
    np.testing.assert_allclose(range_of(0.8, 0.9), (0.78, 1.0), rtol=1e-12)
    assert range_of(0.3, 1.0)[1] > 1.01


# comparisons


def test_comparisons_say_by_name_who_is_better(ax):
    pair = TWO.comparisons[2]
    delta_auc([pair], ax)
    assert ax.get_xlabel() == "mlp better →"
    delta_misid([pair], "eff95", "pion", ax)
    assert ax.get_xlabel() == "← mlp better"
    delta_misid(TWO.comparisons, "eff95", "pion", ax)
    assert ax.get_xlabel() == "← first-named better"
    assert [label.get_text() for label in ax.get_yticklabels()][-1] == "mlp − cuts"
