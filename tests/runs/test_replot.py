"""`pidlab plot`: a figure of a finished run again, with other options, in a process of its own."""

from __future__ import annotations

import dataclasses

import pytest

from example_results import example
from pidlab.evaluate.results import write_results
from pidlab.plots import gallery
from pidlab.plots.canvas import style

CONFIG = """\
data: {files: a.root}
classes: {electron: "species == 0", pion: "species == 1"}
features: [eop]
spectators: [P.gtr.p]
models: {mlp: {type: mlp}}
"""


@pytest.fixture
def finished(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    write_results(folder / "results.json", example())
    return folder


def test_without_a_name_the_figures_are_listed(pidlab, finished):
    answer = pidlab("plot", finished)
    assert answer.returncode == 0, answer.stderr
    listed = dict(line.split(maxsplit=1) for line in answer.stdout.splitlines())
    assert listed["roc"] == "ROC: electron against pion"
    assert "map_P_gtr_p_P_gtr_th_mlp" in listed


def test_figures_are_made_again_with_other_options(pidlab, finished, tmp_path):
    plain = pidlab("plot", finished, "roc", "cutflow", "-o", "plain", "--format", "svg", "--format", "png")
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.splitlines()[0] == "wrote plain/roc.svg"
    assert sorted(p.name for p in (tmp_path / "plain").iterdir()) == [
        "cutflow.png", "cutflow.svg", "roc.png", "roc.svg",
    ]  # fmt: skip
    words = ("--set", "style={experiment: ATLAS, label: Internal, lumi: 140, com: 13.6}", "--format", "pdf")
    other = pidlab("plot", finished, "efficiency_P_gtr_p_mlp", "-o", "other", *words, "--set", "labels={P.gtr.p: p}")
    assert (other.returncode, other.stderr) == (0, "")
    assert (tmp_path / "other" / "efficiency_P_gtr_p_mlp.pdf").read_bytes().startswith(b"%PDF")


def test_the_reference_of_the_ratio_is_chosen_anew(pidlab, finished, tmp_path):
    for reference in ("", "mlp"):
        words = ("--set", f"style.reference={reference}") if reference else ()
        answer = pidlab("plot", finished, "roc", "-o", f"to_{reference}", "--format", "svg", *words)
        assert (answer.returncode, answer.stderr) == (0, "")
    with style.context("roc"):
        expected = dataclasses.replace(example(), reference="mlp")
        chosen = gallery.write(expected, tmp_path, formats=(), only=["roc"])[0].svg
    assert (tmp_path / "to_mlp" / "roc.svg").read_text() == chosen
    assert (tmp_path / "to_" / "roc.svg").read_text() != chosen


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "rocs"], "run: has no figure 'rocs'; did you mean 'roc'?"),
        (["run", "roc", "--set", "seed=2"], "--set seed=2: a figure made again changes only in style and labels"),
        (["run", "roc", "--set", "style.experiment=CSM"], "did you mean 'CMS'?"),
        (["run", "roc", "--set", "style.reference=mpl"], "'mpl' is none of the models; did you mean 'mlp'?"),
        ([".", "roc"], ".: is not the folder of a run; it has no config.yaml and results.json"),
        (["run", "roc", "--format", "jpg"], "'jpg' is not one of"),
    ],
)
def test_what_cannot_be_made_is_said_with_the_nearest_name(pidlab, finished, words, said):
    answer = pidlab("plot", *words)
    assert answer.returncode == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_place_that_cannot_be_written_is_named(pidlab, finished, tmp_path):
    (tmp_path / "taken").write_text("a file")
    answer = pidlab("plot", finished, "cutflow", "-o", "taken")
    assert answer.returncode == 1
    assert "taken: cannot be made" in answer.stderr
