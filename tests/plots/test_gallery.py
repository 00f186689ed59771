"""A whole run's figures: their styles and names, what is there and what is absent, the same bytes each time."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from example_results import FEATURES, TARGETS, example, measured
from pidlab.config.schema import Predicting
from pidlab.errors import OutputError
from pidlab.evaluate.results import (
    Comparison,
    CutStep,
    EfficiencyMap,
    Histogram,
    ModelResult,
    Results,
    RobustnessPoint,
    RobustnessResult,
    Roc,
    Training,
    WorkingPoint,
)
from pidlab.measured import UNDEFINED, Measured
from pidlab.models.registry import MODEL_TYPES
from pidlab.plots import gallery
from pidlab.plots.canvas import style

TWO = example()
THREE = example(("electron", "pion", "kaon"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """All figures but those of maps of further models and working points, each of which is a grid of many panels."""
    directory = tmp_path_factory.mktemp("plots")
    mlp = TWO.models["mlp"]
    maps = dict.fromkeys(TWO.models, ()) | {"mlp": tuple(m for m in mlp.maps if m.working_point == "eff90")}
    models = {name: flat(model, maps=maps[name]) for name, model in TWO.models.items()}
    return gallery.write(dataclasses.replace(TWO, models=models), directory), directory


def figures(results, *only):
    """The name, title, description and figure of everything there is to draw, or of some figures by name."""
    for name, sheet in gallery.catalogue(results).items():
        if not only or name in only:
            yield name, sheet.title, sheet.alt, gallery.drawn(sheet, name)


def texts(figure):
    return {text.get_text() for text in figure.findobj(Text)}


def flat(model, **changes):
    return dataclasses.replace(model, **changes)


# styles


def test_colours_belong_to_models_and_classes_and_the_signal_comes_first():
    assert (
        style.class_styles(("pion", "electron"), "electron")["electron"]
        == style.class_styles(("electron", "pion"), "electron")["electron"]
    )


def of_types(*kinds):
    """Models of these types, each named by its type and its number among them."""
    return [flat(TWO.models["mlp"], name=f"{kind}{kinds[:i].count(kind)}", kind=kind) for i, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    "more",
    [
        ("cuts", "bdt", "fisher", "mlp"), ("expression", "score", "bdt", "onnx", "mlp", "sklearn"),
        ("bdt", "mlp", "mlp", "bdt", "bdt"), ("tmva", "logistic", "naive_bayes", "mlp", "bdt"),
    ],
)  # fmt: skip
def test_a_model_keeps_its_colour_and_dash_when_models_are_added_before_and_after_it(more):
    alone = style.model_styles(of_types("bdt", "mlp"))
    assert {name: style.model_styles(of_types(*more))[name] for name in alone} == alone


def lightness_and_hue(colour, cone_lost):
    """CIE L*a*b* (D65) of a colour as a reader sees it who lacks a kind of cones.

    Machado, Oliveira and Fernandes, IEEE Trans. Vis. Comput. Graph. 15 (2009) 1291.
    """
    seen = {
        "none": np.eye(3),
        "long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "medium": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }[cone_lost]
    rgb = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(seen) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.asarray(to_xyz) @ linear / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("cone_lost", ["none", "long", "medium"])
@pytest.mark.parametrize(
    "kinds",
    [
        ("expression", "cuts", "fisher", "bdt", "mlp", "score"), ("expression", "cuts", "bdt", "bdt", "mlp", "mlp"),
        ("cuts", "cuts", "bdt", "bdt", "bdt", "mlp", "mlp", "mlp"),
        ("constant", "linear", "bdt", "mlp", "score", "sklearn"),
    ],
)  # fmt: skip
def test_six_models_and_more_are_told_apart_by_colour_also_by_colour_blind_readers(kinds, cone_lost):
    """Ten units of CIE 1976 are four times what is just noticed side by side; dashes and markers come on top."""
    styles = list(style.model_styles(of_types(*kinds)).values())
    seen = [lightness_and_hue(each.colour, cone_lost) for each in styles]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(distances) > 10
    assert len({(each.colour, str(each.line)) for each in styles}) == len(kinds)


def test_every_type_of_model_has_a_colour_of_its_own():
    """Types that only a regression has look like types that no regression has."""
    every = dict.fromkeys(row.type for row in MODEL_TYPES.values())
    kinds = [kind for kind in every if kind not in style._LOOKS_LIKE]
    of_regression = {row.type for row in MODEL_TYPES.values() if issubclass(row.section, Predicting)}
    assert style._LOOKS_LIKE.keys() < of_regression
    assert not set(style._LOOKS_LIKE.values()) & of_regression
    styles = style.model_styles(of_types(*kinds))
    assert set(kinds) == set(style._MODEL_COLOURS)
    assert len({each.colour for each in styles.values()}) == len(kinds)
    many = style.model_styles(of_types(*kinds * 5)).values()
    assert len({(each.colour, str(each.line)) for each in many}) == 5 * len(kinds)


@pytest.mark.slow
def test_a_model_has_the_same_colour_in_every_figure():
    colour = style.model_styles(TWO.models.values())["mlp"].colour
    drawn = {name: figure for name, _, _, figure in figures(TWO, "roc", "robustness_smear")}
    heights = 1 / np.where(TWO.models["mlp"].roc["pion"].misid > 0, TWO.models["mlp"].roc["pion"].misid, np.nan)
    curve = next(line for line in drawn["roc"].axes[0].lines if np.allclose(line.get_ydata(), heights, equal_nan=True))
    smeared = drawn["robustness_smear"].axes[0].containers[1].lines[0]
    assert to_hex(curve.get_color()) == to_hex(smeared.get_color()) == colour


ODD = ("_hidden", "$x_{", "a$b$c", r"\frac{1}{2}", "100%", "x^2_i", "漢字 ε", "#1", "<b>&")


@pytest.fixture(scope="module")
def oddly_named():
    return {name: figure for name, _, _, figure in figures(with_odd_names(TWO.models["mlp"]))}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("figure", "names"),
    [
        ("inputs", (*ODD, "$e$")), ("correlation_e", ODD), ("roc", ("_m_",)), ("response_m", ("_m_", "$e$, test")),
        ("confusion_m", ("_m_", "$e$")), ("robustness_drop", (*ODD, "_m_")), ("cutflow", ("$p_T > 1$", "$e$")),
        ("efficiency_p_T_m", ("_m_", "efficiency of $e$", "$p_T$")), ("compare", ("_m_ − $a_{",)),
    ],
)  # fmt: skip
def test_names_are_drawn_verbatim(oddly_named, figure, names):
    drawn = oddly_named[figure]
    assert gallery.rendered(drawn, figure, "svg")
    assert set(names) <= texts(drawn)
    parsed = [t.get_text() for t in drawn.findobj(Text) if t.get_parse_math() and any(n in t.get_text() for n in names)]
    assert parsed == [], "read as mathematics"


def with_odd_names(model):
    """One model "_m_" of a class "$e$" against "pi", with the features ODD."""
    classes = {"electron": "$e$", "pion": "pi"}
    by_class = lambda by: {classes[c]: value for c, value in by.items()}  # noqa: E731 - a name for a one-line rule
    maps = [m for m in model.maps if len(m.names) == 1]
    model = flat(
        model, name="_m_", roc={"pi": model.roc["pion"]},
        response={s: by_class(by) for s, by in model.response.items()},
        samples={s: dataclasses.replace(m, classes=("$e$", "pi")) for s, m in model.samples.items()},
        maps=tuple(dataclasses.replace(m, names=("$p_T$",), particle=classes[m.particle]) for m in maps),
    )  # fmt: skip
    dropped = tuple(RobustnessPoint("drop", f, 1.0, measured(0.8, 1000), UNDEFINED, {}) for f in ODD)
    return Results(
        "$e$", ("$e$", "pi"), ODD, {}, (CutStep("$p_T > 1$", {"$e$": 3, "pi": 2}, {}),), {"_m_": model},
        (Comparison("$a_{", "_m_", measured(0.01, 100), ()),), {"_m_": RobustnessResult(dropped, {})},
        dict.fromkeys(ODD, by_class(TWO.inputs[FEATURES[0]])), {"$e$": np.eye(len(ODD))},
    )  # fmt: skip


@pytest.mark.slow
def test_robustness_starts_from_the_candidates_that_were_changed():
    """A large test sample is thinned for it: the AUC of the whole would be another number."""
    nominal = RobustnessPoint("nominal", "all", 0.0, measured(0.777, 1000), UNDEFINED, {})
    changed = {"mlp": dataclasses.replace(TWO.robustness["mlp"], nominal=nominal)}
    some = dataclasses.replace(TWO, robustness=changed)
    drawn = {name: figure for name, _, _, figure in figures(some, "robustness_smear", "robustness_drop")}
    assert drawn["robustness_smear"].axes[0].containers[0].lines[0].get_ydata()[0] == 0.777
    assert {bar.get_x() for bar in drawn["robustness_drop"].axes[0].patches} == {0.777}


def test_long_names_keep_their_ends():
    shown = style.shown("P.cal." + "x" * 80 + ".norm")
    assert len(shown) <= 40
    assert shown.startswith("P.cal.")
    assert shown.endswith(".norm")
    assert style.shown("two\nlines") == "two lines"


# the gallery


@pytest.mark.slow
def test_every_kind_of_figure_is_there(written):
    names = {picture.name for picture in written[0]}
    assert {
        "inputs", "correlation_electron", "correlation_pion", "learning_mlp", "roc", "response_cuts", "response_mlp",
        "confusion_hand", "confusion_cuts", "confusion_mlp", "efficiency_P_gtr_p_mlp", "map_P_gtr_p_P_gtr_th_mlp",
        "compare", "robustness_smear", "robustness_scale", "robustness_shift", "robustness_drop", "cutflow",
    } <= names  # fmt: skip
    assert "response_hand" not in names


def test_several_classes_have_a_roc_and_a_comparison_each():
    names = [*gallery.catalogue(THREE)]
    assert {"roc", "roc_pion", "roc_kaon", "compare", "compare_kaon"} <= set(names)
    assert len(names) == len({name.lower() for name in names})


@pytest.mark.slow
def test_each_picture_is_on_disk_as_png_and_pdf_and_described(written):
    pictures, directory = written
    assert sorted(p.name for p in directory.iterdir()) == sorted(
        f"{p.name}.{s}" for p in pictures for s in ("png", "pdf")
    )
    for picture in pictures:
        assert (directory / f"{picture.name}.png").read_bytes().startswith(b"\x89PNG")
        assert (directory / f"{picture.name}.pdf").read_bytes().startswith(b"%PDF")
        assert picture.svg.startswith("<?xml")
        assert len(picture.alt) > len("Cut flow")
        assert picture.title


@pytest.mark.slow
def test_no_file_holds_a_date(written):
    for path in written[1].iterdir():
        content = path.read_bytes()
        assert b"CreationDate" not in content
        assert b"tIME" not in content
    assert not any("<dc:date>" in picture.svg for picture in written[0])


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes():
    few = dataclasses.replace(TWO, models={"mlp": flat(TWO.models["mlp"], maps=())}, inputs={}, correlation={})
    few = dataclasses.replace(few, robustness={}, comparisons=())
    first, second = (
        [gallery.rendered(figure, name, "png", "pdf", "svg") for name, _, _, figure in figures(few)] for _ in range(2)
    )
    assert first == second
    assert len(first) == len(["learning", "roc", "response", "confusion", "cutflow"])


def test_matplotlib_is_left_as_it_was(tmp_path):
    before, open_before = dict(mpl.rcParams), pyplot.get_fignums()
    small = dataclasses.replace(TWO, models={}, comparisons=(), robustness={}, inputs={}, correlation={})
    for *_, figure in figures(small):
        assert dict(mpl.rcParams) == before
        assert isinstance(figure, Figure)
    assert [picture.name for picture in gallery.write(small, tmp_path)] == ["cutflow"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cutflow.pdf", "cutflow.png"]
    assert dict(mpl.rcParams) == before
    assert pyplot.get_fignums() == open_before


def test_the_readers_own_settings_do_not_change_the_figures(tmp_path):
    small = dataclasses.replace(TWO, models={}, comparisons=(), robustness={}, inputs={}, correlation={})
    plain = gallery.write(small, tmp_path, formats=())
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "text.parse_math": False}):
        assert gallery.write(small, tmp_path, formats=()) == plain


def test_what_has_no_content_is_absent():
    empty = Results("e", ("e", "pi"), ("x",), {}, (), {}, (), {}, {}, {})
    assert list(figures(empty)) == []


@pytest.mark.slow
def test_empty_and_undefined_content_does_not_fail():
    nothing = Histogram(np.linspace(0, 1, 5), np.zeros(6), np.zeros(6), 0, (0.0, 0.0, 0.0, 0.0))
    negative = dataclasses.replace(nothing, sumw=np.array([0.0, -2, 1, 0, 0, 0]))
    nan = np.full(2, np.nan)
    map_ = EfficiencyMap(
        "eff90", "pi", ("p",), (np.array([0.0, 1, 2]),), *(np.zeros(2),) * 4, nan, nan, nan, np.zeros(2)
    )
    column = nan[:, None]
    edges = (np.array([0.0, 1, 2]), np.array([0.0, 1]))
    map_2d = dataclasses.replace(map_, names=("p", "q"), edges=edges, value=column, low=column, high=column)
    flat_roc = Roc("pi", *(np.array([0.0, 0.0]),) * 7, UNDEFINED)
    metrics = dataclasses.replace(
        TWO.models["mlp"].samples["test"], auc=UNDEFINED, classes=("e", "pi"), confusion=np.zeros((2, 2))
    )
    point = WorkingPoint("eff90", 0.9, np.nan, UNDEFINED, {"pi": UNDEFINED}, {"pi": UNDEFINED}, UNDEFINED)
    model = ModelResult(
        "m", "mlp", False, {"test": metrics}, (point,), {"test": {"e": nothing, "pi": negative}}, {"pi": flat_roc},
        (map_, map_2d), None, Training(0.0, 0, {"loss": [np.nan], "validation_loss": []}),
    )  # fmt: skip
    points = tuple(RobustnessPoint(c, "x", 0.1, UNDEFINED, UNDEFINED, {}) for c in ("smear", "drop"))
    results = Results(
        "e", ("e", "pi"), ("x", "y"), {}, (CutStep("none", {"e": 0, "pi": 0}, {}),), {"m": model},
        (Comparison("m", "m", UNDEFINED, ()),), {"m": RobustnessResult(points, {})},
        {"x": {"e": nothing, "pi": negative}},
        {"e": np.full((2, 2), np.nan)},
    )  # fmt: skip
    names = [name for name, _, _, figure in figures(results) if gallery.rendered(figure, name, "svg")]
    assert not any(name.startswith("robustness") for name in names)
    assert {"inputs", "roc", "response_m", "confusion_m", "efficiency_p_m", "map_p_q_m", "compare", "cutflow"} <= set(
        names
    )


def test_file_names_are_plain_and_do_not_collide():
    assert gallery.sanitised("efficiency_P.gtr.p_mlp") == "efficiency_P_gtr_p_mlp"
    assert gallery.sanitised("../../etc/passwd") == "etc_passwd"
    assert gallery.sanitised("漢字") == "figure"
    odd = dataclasses.replace(
        TWO, models={}, comparisons=(), robustness={}, inputs={}, cutflow=(),
        correlation=dict.fromkeys(("a.b", "a_b", "A_B"), np.eye(len(FEATURES))),
    )  # fmt: skip
    assert [*gallery.catalogue(odd)] == ["correlation_a_b", "correlation_a_b_2", "correlation_A_B_3"]


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_named(tmp_path):
    missing: Path = tmp_path / "missing"
    with pytest.raises(OutputError, match=r"missing/inputs\.png: the figure cannot be written \(No such file"):
        gallery.write(dataclasses.replace(TWO, models={}), missing)


def test_targets_and_measured_are_as_the_example_says():
    assert [p.target for p in TWO.models["mlp"].working_points] == list(TARGETS)
    assert isinstance(measured(0.5, 100), Measured)
