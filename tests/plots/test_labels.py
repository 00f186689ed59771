"""Labels and units: written once as TeX, shown on every axis of a figure and, in ROOT's way, on every axis in ROOT."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import uproot
from matplotlib.text import Text

from example_results import FEATURES, example
from pidlab.config.load import load_config
from pidlab.errors import ConfigError
from pidlab.plots import gallery
from pidlab.plots.canvas import style
from pidlab.rootio.results.run import write_results

ENERGY, ANGLE = FEATURES[0], "P.gtr.th"
LABELS = {
    ENERGY: r"$E_{\mathrm{tot}}/p$", "log_npe": "log photo-electrons", "P.gtr.p": "$p$ [GeV]", ANGLE: r"$\theta$ [rad]",
}  # fmt: skip
RESULTS = dataclasses.replace(example(), labels=LABELS)
CONFIG = """\
data: {files: a.root}
classes: {electron: "species == 0", pion: "species == 1"}
features:
  - eop
  - {name: energy, expression: "P.cal.e / p", label: "$E/p$"}
  - {name: time, expression: tof, unit: ns}
  - {name: beta, expression: "1 / tof", label: "$\\\\beta$", unit: "%"}
spectators: [p]
models: {mlp: {type: mlp}}
evaluate: {maps: [{x: P.cal.e / p, y: theta}]}
labels: {p: "$p$ [GeV]", theta: "$\\\\theta$ [rad]"}
"""


def loaded(folder: Path, text: str = CONFIG):
    path = folder / "analysis.yaml"
    path.write_text(text)
    return load_config(path).config


def test_a_label_comes_from_the_feature_its_unit_or_the_section_of_labels(tmp_path):
    assert loaded(tmp_path).axis_labels == {
        "energy": "$E/p$", "P.cal.e / p": "$E/p$", "time": "time [ns]", "tof": "time [ns]",
        "beta": r"$\beta$ [%]", "1 / tof": r"$\beta$ [%]", "p": "$p$ [GeV]", "theta": r"$\theta$ [rad]",
    }  # fmt: skip


def test_the_section_of_labels_comes_before_the_features_own(tmp_path):
    config = loaded(tmp_path, CONFIG.replace("labels: {p:", "labels: {energy: measured, p:"))
    assert config.axis_labels["energy"] == "measured"
    assert config.axis_labels["P.cal.e / p"] == "$E/p$"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("labels: {p:", "labels: {momentum:", "labels.momentum: is no feature, spectator or axis of a map; known: "),
        ('"$p$ [GeV]"', '"$p [GeV]"', "a dollar without a partner"),
        ('"$p$ [GeV]"', '"#theta [deg]"', r"holds #theta; write $\theta$"),
        ('"$E/p$"', '"#frac{E}{p}"', r"write $\frac$"),
    ],
)
def test_what_is_no_label_is_refused(tmp_path, old, new, said):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, CONFIG.replace(old, new, 1))
    assert said in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("figure", "shown"),
    [
        ("inputs", {LABELS[ENERGY], LABELS["log_npe"], FEATURES[2]}),
        ("correlation_pion", {LABELS[ENERGY], FEATURES[2]}),
        ("efficiency_P_gtr_p_mlp", {LABELS["P.gtr.p"]}),
        ("map_P_gtr_p_P_gtr_th_mlp", {LABELS["P.gtr.p"], LABELS[ANGLE]}),
        ("robustness_smear", {LABELS[ENERGY]}),
        ("robustness_drop", {LABELS[ENERGY], LABELS["log_npe"]}),
    ],
)
def test_every_axis_of_a_feature_or_spectator_shows_its_label(figure, shown):
    drawn = gallery.drawn(gallery.catalogue(RESULTS)[figure], figure)
    gallery.rendered(drawn, figure, "svg")
    texts = {text.get_text(): text.get_parse_math() for text in drawn.findobj(Text) if text.get_visible()}
    assert shown <= texts.keys()
    assert not {ENERGY, "log_npe", "P.gtr.p", ANGLE} & texts.keys()
    for text in shown:
        assert texts[text] == (text in LABELS.values() and "$" in text), "only labels are read as mathematics"


@pytest.mark.slow
def test_a_label_that_matplotlib_cannot_set_is_shown_as_it_is_written():
    for label in (r"$\nosuchcommand{x}$", "$x_{$", "5 $ a piece"):
        caption = style.caption("x", {"x": label})
        assert caption == style.Caption(label, tex=False)
        results = dataclasses.replace(RESULTS, labels={ENERGY: label}, models={}, comparisons=(), robustness={})
        drawn = gallery.drawn(gallery.catalogue(results)["inputs"], "inputs")
        assert gallery.rendered(drawn, "inputs", "svg")


def test_root_has_the_same_labels_in_its_own_way(tmp_path):
    write_results(tmp_path / "r.root", RESULTS, "{}")
    with uproot.open(tmp_path / "r.root") as file:
        histogram = file[f"inputs/{ENERGY.replace('.', '_')}_pion"]
        assert histogram.member("fXaxis").member("fTitle") == "E_{tot}/p"
        assert file["mlp/efficiency_p_eff90_graph"].member("fTitle").split(";")[1] == "p [GeV]"
        two = file["maps/mlp/efficiency_p_th_eff90_value"]
        titles = [two.member(axis).member("fTitle") for axis in ("fXaxis", "fYaxis")]
        assert titles == ["p [GeV]", "#theta [rad]"]


def test_labels_are_left_out_of_the_numbers():
    table = gallery.catalogue(RESULTS)["efficiency_P_gtr_p_mlp"].numbers()
    assert table.header[2:4] == ("P.gtr.p from", "P.gtr.p to")
    values = np.array([row[4] for row in table.rows])
    drawn = [m.value for m in RESULTS.models["mlp"].maps if m.names == ("P.gtr.p",)]
    np.testing.assert_array_equal(values, np.concatenate(drawn))
