"""Figures on request: on axes of one's own, for some models, with other limits, scales, styles and texts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.text import Text
from test_quality_output import results_of

from example_results import FEATURES, example
from explored_sample import explored
from pidlab.config.schema import Style
from pidlab.errors import UsageError
from pidlab.evaluate.results import write_results
from pidlab.plots import gallery
from pidlab.plots.canvas import style
from pidlab.plots.on_request import Plots
from pidlab.plots.on_request.canvas import Canvas
from pidlab.runs.replot import replot

TWO = example()
FOUR = results_of(4)
EXPLORED = explored(dataclasses.replace(TWO, comparisons=(), robustness={}, correlation={}, cutflow=()))
RUNS = {"two": TWO, "four": FOUR, "quality": results_of(2), "explored": EXPLORED}
PLOTS = Plots(TWO)
EVERY = [(run, name) for run, results in RUNS.items() for name in gallery.catalogue(results)]


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def drawings(axes):
    """What can be compared of some axes: the data of lines, the number of other artists, and the texts of labels."""
    lines = [np.nan_to_num(np.asarray(line.get_xydata(), float)).tolist() for line in axes.lines]
    return lines, len(axes.collections), len(axes.patches), axes.get_xlabel(), axes.get_ylabel(), axes.get_title()


def names_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def panels_of(axes):
    return list(np.ravel(axes))


@pytest.mark.slow
@pytest.mark.parametrize(("run", "name"), EVERY)
def test_every_figure_of_the_report_can_be_drawn_on_axes_of_ones_own(run, name):
    plots = Plots(RUNS[run])
    report = gallery.drawn(gallery.catalogue(RUNS[run])[name], name)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(14, 6))
    place = right.get_position()
    drawn, axes = plots(name, ax=right)
    assert drawn is figure
    shown = [ax for ax in report.axes if ax.get_label() not in ("<colorbar>", "second scale")]
    assert [drawings(ax) for ax in panels_of(axes)] == [drawings(ax) for ax in shown]
    assert not [*left.lines, *left.texts, *left.patches]
    box = np.array([ax.get_position().get_points() for ax in panels_of(axes)])
    assert (box[:, 0] >= place.get_points()[0] - 1e-9).all()
    assert (box[:, 1] <= place.get_points()[1] + 1e-9).all()
    if axes is right:
        assert right.figure is figure


def test_a_figure_without_axes_is_one_that_a_notebook_shows():
    figure, ax = PLOTS.response("mlp")
    assert figure is pyplot.gcf()
    assert ax is figure.axes[0]
    figure, axes = PLOTS.roc()
    assert [ax.get_ylabel() for ax in axes] == ["rejection of pion  (1 / misid)", "ratio to hand\n(mixed at random)"]


def test_several_panels_take_a_figure_a_subfigure_or_axes_that_were_placed_by_hand():
    whole, part = pyplot.figure(), pyplot.figure().subfigures(1, 2)[1]
    for figure in (whole, part):
        drawn, axes = PLOTS.roc(figure=figure)
        assert drawn is figure
        assert list(axes) == figure.axes
    placed = pyplot.figure().add_axes((0.2, 0.3, 0.5, 0.6))
    _, (upper, lower) = PLOTS.roc(ax=placed, style="CMS")
    assert upper.get_position().y1 == pytest.approx(0.9)
    assert lower.get_position().y0 == pytest.approx(0.3)


def test_models_are_those_that_are_drawn_in_their_order_and_keep_their_colours():
    _, (upper, _) = PLOTS.roc(models=["mlp", "hand"])
    assert names_of(upper) == ["mlp", "hand"]
    colours = style.model_styles(TWO.models.values())
    assert to_hex(upper.lines[0].get_color()) == colours["mlp"].colour
    assert names_of(PLOTS.robustness("smear", models=["mlp"]).axes[0]) == ["mlp"]
    _, axes = PLOTS.comparison(models=["cuts", "mlp"])
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["mlp − cuts"]


def test_a_reference_is_what_ratios_and_differences_refer_to():
    _, (_, ratio) = PLOTS.roc(reference="mlp")
    assert ratio.get_ylabel() == "ratio to mlp"
    _, (upper, ratio) = PLOTS.roc(models=["mlp"], reference="cuts")  # which is drawn too
    assert (names_of(upper), ratio.get_ylabel()) == (["mlp", "cuts"], "ratio to cuts")
    _, (_, ratio) = PLOTS.roc(reference="mlp")
    colour = style.model_styles(TWO.models.values())["mlp"].colour
    mlp = np.asarray(next(line for line in ratio.lines if to_hex(line.get_color()) == colour).get_ydata())
    np.testing.assert_allclose(mlp[np.isfinite(mlp)], 1, rtol=1e-12, atol=0)
    _, (first, *_) = PLOTS.comparison(reference="mlp")
    rows = [tick.get_text() for tick in first.get_yticklabels()]
    assert rows == ["hand − mlp", "cuts − mlp"]
    pair = next(c for c in TWO.comparisons if (c.a, c.b) == ("cuts", "mlp"))
    assert first.containers[0].lines[0].get_xdata()[1] == -pair.delta_auc.value


def test_a_fixed_cut_is_a_reference_by_mixtures_of_its_decision():
    _, (_, ratio) = PLOTS.roc(reference="hand", models=["hand", "mlp"])
    point, curve = TWO.models["hand"].working_points[0], TWO.models["mlp"].roc["pion"]
    mixed = np.interp(curve.efficiency, [0, point.efficiency.value, 1], [0, point.misid["pion"].value, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(curve.misid > 0, mixed / curve.misid, np.nan)
    drawn = next(line for line in ratio.lines if len(line.get_xdata()) == len(expected))
    np.testing.assert_allclose(np.asarray(drawn.get_ydata()), expected, rtol=1e-12, atol=0)


def test_xlim_and_ylim_are_the_limits_and_log_is_the_scale():
    _, (upper, lower) = PLOTS.roc(xlim=(0.8, 1), ylim=(1, 50))
    assert (upper.get_xlim(), lower.get_xlim(), upper.get_ylim()) == ((0.8, 1), (0.8, 1), (1, 50))
    assert (upper.get_yscale(), PLOTS.roc(log=False).axes[0].get_yscale()) == ("log", "linear")
    assert PLOTS.response("mlp", log=False).axes.get_ylim()[0] == 0
    _, (signal, pion) = PLOTS.efficiency("mlp", "P.gtr.p", log=True, logx=True)
    assert {ax.get_yscale() for ax in (signal, pion)} == {ax.get_xscale() for ax in (signal, pion)} == {"log"}
    assert PLOTS.cutflow(logx=False).axes.get_xscale() == "linear"


def test_the_y_axis_follows_what_is_within_xlim():
    _, (whole, _) = PLOTS.roc()
    _, (part, _) = PLOTS.roc(xlim=(0.9, 1))
    curves = [m.roc["pion"] for m in TWO.models.values() if m.roc]
    seen = [1 / c.misid[(c.efficiency >= 0.9) & (c.misid > 0)].min() for c in curves]
    assert part.get_ylim()[1] / max(seen) == pytest.approx(
        whole.get_ylim()[1] / max(1 / c.misid[c.misid > 0].min() for c in curves)
    )


def test_one_feature_working_point_or_map_is_drawn_alone():
    _, ax = PLOTS.inputs("log_npe", xlim=(0, 3))
    assert (ax.get_xlabel(), ax.get_xlim()) == ("log_npe", (0, 3))
    _, (signal, _) = PLOTS.efficiency("mlp", points=["eff95"])
    assert names_of(signal) == ["eff95"]
    _, axes = PLOTS.map("cuts", points=["eff90"])
    assert len(axes) == len(TWO.classes)
    assert PLOTS.correlation().axes.get_title() == "electron (%)"


def test_one_pair_of_features_is_drawn_alone():
    plots = Plots(EXPLORED)
    _, axes = plots.scatter(FEATURES[1], FEATURES[0], style="LHCb")
    assert [(ax.get_xlabel(), ax.get_title()) for ax in axes] == [(FEATURES[0], "electron"), (FEATURES[0], "pion")]
    _, ax = plots.signal_ratio("log_npe", log=False)
    assert (ax.get_xlabel(), ax.get_yscale()) == ("log_npe", "linear")
    _, ax = plots.scaled_inputs(FEATURES[0], xlim=(-2, 2))
    assert ax.get_xlim() == (-2, 2)
    with pytest.raises(UsageError, match="scatter: the run has no pair of 'p' and 'log_npe'; it has "):
        plots.scatter("p", "log_npe")


def test_a_style_is_that_of_an_experiment_and_stays_when_matplotlib_is_set_otherwise():
    for choice in ("CMS", Style(experiment="CMS"), {"experiment": "CMS"}):
        figure, _ = PLOTS.response("mlp", style=choice)
        assert any(text.get_text() == "CMS" for text in figure.findobj(Text))
    with mpl.rc_context({"font.sans-serif": ["STIXGeneral"], "ytick.direction": "out", "xtick.major.size": 30}):
        figure.canvas.draw()
        later = np.asarray(figure.canvas.buffer_rgba())
    figure, _ = PLOTS.response("mlp", style="CMS")
    figure.canvas.draw()
    assert (later == np.asarray(figure.canvas.buffer_rgba())).all()


def test_labels_and_titles_are_drawn():
    _, axes = PLOTS.efficiency("mlp", labels={"P.gtr.p": "$p$ [GeV]"}, title="Momentum and $x_1$")
    assert axes[1].get_xlabel() == "$p$ [GeV]"
    (title,) = [t for t in axes[0].texts if t.get_text() == "Momentum and $x_1$"]
    assert title.get_window_extent().y0 > axes[0].get_legend().get_window_extent().y1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: PLOTS("rocs"), "there is no figure 'rocs'; did you mean 'roc'?"),
        (lambda: PLOTS.response("mpl"), "response: there is no figure of model 'mpl'; did you mean 'mlp'?"),
        (PLOTS.response, "response: choose model=, one of 'cuts', 'mlp'"),
        (lambda: PLOTS.class_pairs("mlp"), "the run has nothing to draw for 'class_pairs'; it has comparison, "),
        (lambda: PLOTS.roc(models=["mlp", "bdt"]), "there is no model 'bdt'"),
        (lambda: PLOTS.roc(models=["mlp", "mlp"]), "names a model twice: mlp, mlp"),
        (lambda: PLOTS("response_mlp", models=["cuts"]), "the figure 'response_mlp' shows none of them"),
        (lambda: PLOTS.inputs(models=["mlp"]), "models: the figure 'inputs' shows no models"),
        (lambda: PLOTS.response("mlp", models=["mlp", "cuts"]), "'response_mlp' is of 'mlp' alone"),
        (lambda: PLOTS.response("mlp", reference="cuts"), "'response_mlp' compares with no model"),
        (lambda: PLOTS.roc(limits=(0, 1)), "a figure takes no option 'limits'"),
        (lambda: PLOTS.roc(xlim=0.8), "xlim: two numbers are needed, as in xlim=(0.8, 1), not 0.8"),
        (lambda: PLOTS.roc(xlim=(1, 1)), "xlim: two different finite numbers are needed, not 1 and 1"),
        (lambda: PLOTS.roc(ylim=(0, 10)), "the y axis of 'roc' is logarithmic, and 0 has no logarithm"),
        (lambda: PLOTS.roc(log="yes"), "log= takes True or False, not 'yes'"),
        (lambda: PLOTS.matrix("mlp", log=True), "the y axis of 'confusion_mlp' shows names, not numbers"),
        (lambda: PLOTS.matrix("mlp", xlim=(0, 1)), "the x axis of 'confusion_mlp' shows names, not numbers"),
        (lambda: PLOTS.inputs(xlim=(0, 1)), "the panels of 'inputs' show different quantities along x"),
        (lambda: PLOTS.inputs("eop", logx=True), "there is no feature 'eop'"),
        (lambda: PLOTS.inputs("log_npe", logx=True), "logx: the x axis of 'inputs' shows numbers below zero"),
        (lambda: PLOTS.roc(style="CSM"), "there is no style 'CSM'; did you mean 'CMS'?"),
        (lambda: PLOTS.roc(style={"lumni": 3}), "style has no key 'lumni'; did you mean 'lumi'"),
        (lambda: PLOTS.roc(style={"lumi": -3}), "style: lumi: Input should be greater than 0"),
        (lambda: PLOTS.roc(labels={"P.gtr.p": "p"}), "labels: the figure 'roc' has no axis of 'P.gtr.p'"),
        (lambda: PLOTS.efficiency("mlp", points=["eff80"]), "there is no working point 'eff80'; did you mean 'eff90'"),
        (lambda: PLOTS.roc(ax=pyplot.subplots(1, 2)[1]), "ax= takes one Axes of matplotlib, not an array of them"),
        (lambda: PLOTS.roc(figure=pyplot.subplots()[0]), "figure= already has axes"),
        (lambda: PLOTS.roc(ax=pyplot.gca(), figure=pyplot.gcf()), "give ax= or figure=, not both"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_what_to_do(call, said):
    with pytest.raises(UsageError) as refused:
        call()
    assert said in str(refused.value)


def test_a_refused_figure_leaves_nothing_behind():
    with pytest.raises(UsageError):
        PLOTS.roc(labels={"P.gtr.p": "p"})
    assert pyplot.get_fignums() == []
    figure, ax = pyplot.subplots()
    with pytest.raises(UsageError):
        PLOTS.roc(ax=ax, labels={"P.gtr.p": "p"})
    assert figure.axes == [ax]
    assert not [*ax.lines, *ax.collections, *ax.texts]
    PLOTS.roc(ax=ax)
    with pytest.raises(UsageError, match="has been removed from its figure; a figure of several panels takes"):
        PLOTS.roc(ax=ax)


def test_it_says_what_there_is():
    assert {"roc", "response", "overtraining", "map"} <= set(dir(PLOTS))
    assert "calibration" not in dir(PLOTS)
    assert "calibration" in dir(Plots(RUNS["quality"]))
    assert repr(PLOTS).splitlines()[0] == f"{len(PLOTS.names)} figures, by kind and name:"
    assert "response_cuts, response_mlp" in repr(PLOTS)
    assert PLOTS.names["roc"] == "ROC: electron against pion"
    for sheet in [*gallery.catalogue(FOUR).values(), *gallery.catalogue(EXPLORED).values()]:
        assert callable(getattr(Plots, sheet.kind)), sheet.name
        assert getattr(Plots, sheet.kind).__doc__


CONFIG = """\
data: {files: a.root}
classes: {electron: "species == 0", pion: "species == 1"}
features: [eop]
models: {mlp: {type: mlp}}
"""


@pytest.fixture
def run(tmp_path):
    folder: Path = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    write_results(folder / "results.json", dataclasses.replace(TWO, correlation={}))
    return folder


def test_the_command_draws_what_python_draws(run, tmp_path):
    options = {"models": ["mlp", "cuts"], "reference": "mlp", "xlim": (0.5, 1.0), "log": False, "title": "A title"}
    (path,) = replot(run, ["roc"], tmp_path / "out", ["svg"], **options)
    canvas = Canvas()
    PLOTS.on(canvas, "roc", **options)
    assert path.read_bytes() == gallery.rendered(canvas.figure, "roc", "svg")["svg"]
    (path,) = replot(run, ["roc"], tmp_path / "plain", ["svg"])
    assert path.read_bytes() == gallery.write(TWO, tmp_path, formats=(), only=["roc"])[0].svg.encode()


def test_the_commands_options_are_those_of_python(pidlab, run):
    words = ("--models", "mlp,cuts", "--reference", "mlp", "--no-log", "--xlim", "0.5,1", "--ylim", "0,20")
    answer = pidlab("plot", run, "roc", *words, "--title", "A title", "--format", "png")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "wrote roc.png\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["roc", "--xlim", "0.8"], "'0.8' is not two numbers LOW,HIGH, as in 0.8,1"),
        (["roc", "--xlim", "−1,1"], "type '-'"),
        (["roc", "--models", "mpl"], "there is no model 'mpl'; did you mean 'mlp'?"),
        (["cutflow", "--log"], "the y axis of 'cutflow' shows names, not numbers"),
        (["--models", "mlp"], "--models needs the NAME of a figure"),
    ],
)
def test_mistakes_on_the_command_line_are_said(pidlab, run, words, said):
    answer = pidlab("plot", run, *words)
    assert answer.returncode == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
