"""One picture of each kind of figure, compared with the one kept in `baseline/` (pytest-mpl).

After a change that is meant: `pytest tests/test_plot_images.py --mpl-generate-path=tests/baseline`, and look at them.
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

from example_results import FEATURES, example
from pidlab.config.schema import Style
from pidlab.plots import gallery, style

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
SAVED = {"dpi": 45, "bbox_inches": "tight", "metadata": {"Software": None}}

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


def drawn(results, name, look=gallery.PLAIN):
    return gallery.drawn(gallery.catalogue(results)[name], name, look)


@image_test()
@pytest.mark.parametrize("name", FIGURES)
def test_figure(name):
    return drawn(TWO, name)


@image_test()
@pytest.mark.parametrize("name", ["roc_kaon", "confusion_mlp", "response_mlp"])
def test_figure_of_three_classes(name):
    return drawn(THREE, name)


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
    figure.axes[0].get_legend().remove()
    assert differ(whole, saved(figure, tmp_path / "bare.png"))
