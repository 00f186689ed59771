"""One picture of each kind of figure, compared with the one kept in `baseline/` (pytest-mpl).

After an intended change: `pytest tests/plots/test_plot_images.py --mpl-generate-path=tests/plots/baseline`; then style
at the pictures.
"""

from __future__ import annotations

import dataclasses
import io

import matplotlib
import mplhep
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.testing.compare import compare_images
from matplotlib.testing.exceptions import ImageComparisonFailure
from test_flat import ONE, measured
from test_quality_output import results_of

from example_results import FEATURES, example
from explored_sample import explored
from pidlab.config.schema import Flat, Style
from pidlab.evaluate.results import FeatureShift, Shift, Tried, Tuning
from pidlab.measured import UNDEFINED, Measured
from pidlab.plots import gallery
from pidlab.plots.canvas import style
from pidlab.plots.canvas.recording import recorded
from pidlab.plots.domain import domain_figures
from pidlab.plots.tuning import history_figure, importance_figure

MADE_WITH = "3.11"
pytestmark = pytest.mark.skipif(
    not matplotlib.__version__.startswith(f"{MADE_WITH}."),
    reason=f"the pictures kept were drawn by matplotlib {MADE_WITH}, and each version sets its text a little otherwise",
)

TOLERANCE = 4.0
"""Root mean square of the difference, of 255: more than what another FreeType draws, less than a moved curve."""

# DejaVu comes with matplotlib: the same letters on every machine.
LETTERS = {
    "font.sans-serif": ["DejaVu Sans"], "font.family": "sans-serif", "mathtext.fontset": "dejavusans",
}  # fmt: skip
RC = {**mplhep.style.ROOT, **style._SMALLER, **LETTERS}
SAVED = {"dpi": 45, "metadata": {"Software": None}}

LABELS = {FEATURES[0]: r"$E_{\mathrm{tot}}/p$", "P.gtr.p": "$p$ [GeV]", "P.gtr.th": r"$\theta$ [rad]"}
TWO = dataclasses.replace(example(), labels=LABELS)
THREE = dataclasses.replace(example(("electron", "pion", "kaon")), labels=LABELS)
FIGURES = (
    "inputs", "correlation_pion", "learning_mlp", "roc", "response_mlp", "confusion_mlp", "efficiency_P_gtr_p_mlp",
    "map_P_gtr_p_P_gtr_th_mlp", "compare", "robustness_smear", "robustness_drop", "cutflow",
)  # fmt: skip


def image_test(**options):
    return pytest.mark.mpl_image_compare(
        baseline_dir="baseline", style=RC, savefig_kwargs=SAVED, tolerance=TOLERANCE, remove_text=False, **options
    )


QUALITY = ("calibration_mlp", "importance_mlp", "merit_mlp", "matrix_mlp")
FLAT = {"one": ONE, "two": [Flat(x="P.p", bins=6, y="angle", y_bins=4)]}


def drawn(results, name, style=gallery.PLAIN):
    """A figure as its files show it."""
    return recorded(gallery.drawn(gallery.catalogue(results)[name], name, style), margin=0.08)


@pytest.mark.slow
@image_test()
@pytest.mark.parametrize("name", FIGURES)
def test_figure(name):
    return drawn(TWO, name)


@image_test()
@pytest.mark.parametrize("name", ["roc_kaon", "confusion_mlp", "response_mlp"])
def test_figure_of_three_classes(name):
    return drawn(THREE, name)


@image_test()
@pytest.mark.parametrize("name", QUALITY)
def test_figure_of_quality(name):
    return drawn(results_of(2), name)


@image_test()
@pytest.mark.parametrize("name", ["roc_pairs_mlp", "matrix_mlp"])
def test_figure_of_quality_of_four_classes(name):
    return drawn(results_of(4), name)


@image_test()
@pytest.mark.parametrize(
    "name", ["signal_ratio", "scatter", "inputs_scaled", "contributions_mlp", "trees_mlp", "dependence_mlp"]
)  # fmt: skip
def test_figure_of_exploration(name):
    return drawn(explored(TWO), name)


@pytest.mark.slow
@image_test()
@pytest.mark.parametrize("spectators", FLAT)
def test_figure_of_flat_points(spectators):
    _, found = measured(FLAT[spectators], 20_000, 20_000)
    results = dataclasses.replace(TWO, models={"mlp": dataclasses.replace(found, name="mlp")}, comparisons=())
    (name,) = (name for name in gallery.catalogue(results) if name.startswith("efficiency_flat"))
    return drawn(results, name)


@image_test()
@pytest.mark.parametrize("name", ["domain", "domain_inputs"])
def test_figure_of_data_and_simulation(name):
    return recorded(dict(domain_figures(shift(), LABELS))[name], margin=0.08)


def test_panels_of_four_features_are_labelled_at_the_left_of_either_row():
    four = dataclasses.replace(shift(), features=shift().features[:4])
    panels = dict(domain_figures(four, LABELS))["domain_inputs"].axes
    assert [bool(ax.get_ylabel()) for ax in panels] == [True, False, True, False]


def shift():
    inputs = TWO.inputs
    features = tuple(
        FeatureShift(f, Measured(0.1 / (i + 1), 0.08 / (i + 1), 0.13 / (i + 1), 900), UNDEFINED, 0.1, 0.2, (0.0, 0.1))
        for i, f in enumerate(inputs)
    )
    renamed = {f: dict(zip(("run", "files"), by_class.values(), strict=False)) for f, by_class in inputs.items()}
    n = {"run": 1000, "files": 900}
    return Shift(n, Measured(0.7, 0.68, 0.72, 1900), features, renamed[FEATURES[0]], renamed, "They differ.")


@image_test()
@pytest.mark.parametrize("draw", [history_figure, importance_figure])
def test_figure_of_tuning(draw):
    rng = np.random.default_rng(1)
    trials = tuple(
        Tried(i, "pruned" if i % 5 == 4 else "complete", 0.9 + 0.05 * rng.beta(2, 2), {"eta": 0.1}, 1.0)
        for i in range(40)
    )
    found = Tuning(
        "bdt", "bdt", "auc", True, trials, {"eta": 0.6, "max_depth": 0.3, "subsample": 0.1}, {"eta": 0.1},
        Measured(0.92, 0.91, 0.93, 900), Measured(0.94, 0.93, 0.95, 900), Measured(0.02, 0.01, 0.03, 900),
    )  # fmt: skip
    with style.context("tuning"):
        figure = draw(found)
    return recorded(figure, margin=0.08)


@image_test()
@pytest.mark.parametrize("experiment", ["CMS", "LHCb"])
def test_label_of_an_experiment(experiment):
    return drawn(TWO, "roc", Style(experiment=experiment, label="Preliminary", com=13.6, lumi=140.0))


def test_pictures_are_compared_in_every_run(pytestconfig):
    assert pytestconfig.getoption("--mpl"), "addopts of pyproject.toml must hold --mpl"


def saved(figure, path):
    buffer = io.BytesIO()
    with pyplot.style.context(RC, after_reset=True):
        figure.savefig(buffer, format="png", **SAVED)
    path.write_bytes(buffer.getvalue())
    return str(path)


def differ(first, second):
    try:
        return compare_images(first, second, tol=TOLERANCE) is not None
    except ImageComparisonFailure:  # not of the same size
        return True


@pytest.mark.slow
def test_a_moved_curve_and_a_missing_label_are_more_than_the_tolerance(tmp_path):
    as_it_is = saved(drawn(TWO, "roc"), tmp_path / "as_it_is.png")
    again = saved(drawn(TWO, "roc"), tmp_path / "again.png")
    assert compare_images(as_it_is, again, tol=0) is None
    curve = TWO.models["mlp"].roc["pion"]
    worse = dataclasses.replace(curve, misid=curve.misid * 1.5, misid_high=np.minimum(1.5 * curve.misid_high, 1))
    mlp = dataclasses.replace(TWO.models["mlp"], roc={"pion": worse})
    moved = dataclasses.replace(TWO, models={**TWO.models, "mlp": mlp})
    assert differ(as_it_is, saved(drawn(moved, "roc"), tmp_path / "moved.png"))
    figure = drawn(TWO, "cutflow")
    whole = saved(figure, tmp_path / "whole.png")
    bare = gallery.drawn(gallery.catalogue(TWO)["cutflow"], "cutflow")
    bare.axes[0].get_legend().remove()
    assert differ(whole, saved(recorded(bare, margin=0.08), tmp_path / "bare.png"))
