"""Cuts whose best boxes exclude each other accept one box or another, in every export as in pidlab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from pidlab.config.load import check_config
from pidlab.export import export, parity_events
from pidlab.models.fold import FoldModel
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.runs.bundle import Bundle, load_bundle, save_bundle
from real_root import ask_root, needs_root

CONTENT: dict[str, Any] = {
    "data": {"files": "events.root"},
    "classes": {"electron": "species == 1", "pion": "species == 0"},
    "features": [{"name": "npe", "expression": "npe", "missing": [-1]}, "share"],
    "spectators": ["p"],
    "models": {
        "cuts": {"type": "cuts"},
        "halves": {"type": "cuts", "by": {"slow": "p < 2", "fast": "p >= 2"}},
    },
    "evaluate": {"working_points": [0.9, 0.95], "robustness": None, "importance": False},
}


def write_electrons(path: Path, n: int, seed: int) -> Path:
    """Electrons and pions, n of either; a twentieth of the electrons and many pions have no photoelectrons."""
    rng = np.random.default_rng(seed)
    electron = np.repeat([True, False], n)
    alike = electron | (rng.random(2 * n) < 0.5)
    npe = rng.gamma(np.where(electron, 4, 2.8), np.where(alike, 4, 2))
    npe[rng.random(2 * n) < np.where(electron, 0.05, np.where(alike, 0.12, 0.6))] = 0
    npe[rng.random(2 * n) < 0.003] = -1
    share = rng.normal(np.where(electron, 0.25, 0.238), 0.028)
    share = np.where(alike, share, rng.normal(0.15, 0.04, 2 * n))
    columns = {"npe": npe, "share": share, "p": rng.uniform(1, 3, 2 * n)}
    with uproot.recreate(path) as file:
        arrays = {name: each.astype(np.float32) for name, each in columns.items()} | {"species": electron * 1}
        file.mktree("T", {name: each.dtype for name, each in arrays.items()})
        file["T"].extend(arrays)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chains")
    write_electrons(folder / "events.root", 6000, seed=1)
    done = analyse(check_config(CONTENT, {}, folder / "analysis.yaml"), Resources("cpu", 1), Watcher())
    made = folder / "made"
    made.mkdir()
    save_bundle(made, done.recipe, done.models, done.results.models)
    (made / "manifest.json").write_text('{"schema": 1}')
    return made


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    return load_bundle(run)


def test_the_looser_point_accepts_one_box_or_the_other(bundle: Bundle) -> None:
    model = bundle.models["cuts"]
    fitted = model.fitted[0]
    assert isinstance(fitted, FoldModel)
    cuts: Any = fitted.estimator
    assert [len(cuts.box(efficiency).alternatives) for efficiency in (0.9, 0.95)] == [0, 1]
    text = model.cut_string(bundle.decisions["cuts"][1].threshold)
    looser, tighter = text.split(" || ")
    assert "npe > " in tighter
    assert "share > " in looser
    # a condition on npe is one on the code of a missing value too
    assert all(("npe " in box) == ("npe != -1" in box) for box in (looser, tighter))


def test_header_and_onnx_give_the_scores_bit_by_bit(run: Path, bundle: Bundle, tmp_path: Path) -> None:
    for name in ("cuts", "halves"):
        for form in ("header", "onnx"):
            (made,) = export(bundle, run, form, [name], tmp_path / form)
            assert made.largest_difference == 0


@needs_root
def test_root_selects_by_the_cut_strings_what_pidlab_selects(run: Path, bundle: Bundle, tmp_path: Path) -> None:
    export(bundle, run, "cuts", ["cuts", "halves"], tmp_path)
    source = write_electrons(tmp_path / "more.root", 2000, seed=2)
    events = parity_events(bundle, 4000, bundle.recipe.inputs([str(source)], None))
    strings = {
        f"{name} {line.split(': ')[0]}": line.split(": ", 1)[1]
        for name in ("cuts", "halves")
        for line in (tmp_path / f"{name}.txt").read_text().splitlines()
    }
    assert len(strings) == 4
    assert "||" in strings["cuts eff95"]
    code = """
file = ROOT.TFile.Open(given["file"])
answer = {name: columns(file.Get("T"), ["Entry$"], cut)[0].tolist() for name, cut in given["cuts"].items()}
"""
    for name, found in ask_root(code, file=source, cuts=strings).items():
        model, point = name.split()
        assert found == np.flatnonzero(events.passed[model][point][:4000]).tolist(), name
        assert 1000 < len(found) < 4000
