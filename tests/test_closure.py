"""Closure: where the best possible answer is known, a whole run finds it; real tables need no tuning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from sklearn.metrics import roc_auc_score

from conftest import write_tree
from gaussian_toy import gaussian_toy
from pidlab.config.load import check_config
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from public_tables import FEATURES

pytestmark = pytest.mark.slow

LEARNERS = {"bdt": {"type": "bdt"}, "mlp": {"type": "mlp"}}


def metrics_of(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    loaded = check_config(
        {**content, "evaluate": {"robustness": None, "importance": False}}, {}, folder / "analysis.yaml"
    )
    run(loaded, folder / "run", Resources("cpu"), Watcher(), figures="none")
    metrics: dict[str, Any] = json.loads((folder / "run" / "metrics.json").read_text())
    assert metrics["models"]["mlp"]["training"]["warnings"] == []  # nothing is wrong with an untuned network
    return metrics


def test_bdt_and_network_reach_the_exact_likelihood_ratio(tmp_path: Path) -> None:
    x, y, llr = gaussian_toy(80_000, seed=5)
    arrays = {f"x{i}": x[:, i] for i in range(3)} | {"y": y, "llr": llr, "event": np.arange(len(y))}
    write_tree(tmp_path / "toy.root", arrays)
    content = {
        "data": {"files": "toy.root", "event_id": ["event"]},
        "classes": {"one": "y == 1", "zero": "y == 0"},
        "features": ["x0", "x1", "x2"],
        "models": {**LEARNERS, "best": {"type": "score", "expression": "llr"}},
    }
    models = metrics_of(tmp_path, content)["models"]
    best = models["best"]["test"]["auc"]["value"]
    with uproot.open(tmp_path / "run" / "friends" / "toy_pid.root") as file:
        test = file["T_pid"]["pid_split"].array(library="np") == 2
    assert best == pytest.approx(roc_auc_score(y[test], llr[test]), rel=1e-6)
    for name in LEARNERS:
        assert models[name]["test"]["auc"]["value"] > best - 0.002
        assert models[name]["test"]["auc"]["value"] < best + 0.001


def test_a_real_table_needs_no_tuning(shared: Path, tmp_path: Path) -> None:
    file = shared / "tmva_class_example" / "inputdata_regression.root"
    with uproot.open(file) as opened:
        features = opened["TreeS"].keys()
    content = {
        "data": {"files": str(file)},
        "classes": {"signal": {"tree": "TreeS"}, "background": {"tree": "TreeB"}},
        "features": features,
        "split": {"seed": 1},
        "models": LEARNERS,
    }
    models = metrics_of(tmp_path, content)["models"]
    auc = {name: models[name]["test"]["auc"]["value"] for name in LEARNERS}
    assert max(auc.values()) >= 0.924, auc
    assert min(auc.values()) >= max(auc.values()) - 0.02, auc


def test_the_tmva_toy_needs_no_tuning(tmva_toy: Path, tmp_path: Path) -> None:
    content = {
        "data": {"files": str(tmva_toy)},
        "classes": {"signal": {"tree": "TreeS"}, "background": {"tree": "TreeB"}},
        "features": FEATURES,
        "models": {**LEARNERS, "best": {"type": "score", "expression": "llr"}},
    }
    auc = {name: model["test"]["auc"]["value"] for name, model in metrics_of(tmp_path, content)["models"].items()}
    # The model and its bound are judged on the same 3,000 test events, so that most of their chance cancels.
    for name in LEARNERS:
        assert auc["best"] - 0.010 < auc[name] < auc["best"] + 0.003, auc


MAGIC = ["length", "width", "size", "conc", "conc1", "asymmetry", "m3_long", "m3_trans", "alpha", "distance"]
DPLUS = ["d_len", "d_len_xy", "norm_dl_xy", "cos_p", "cos_p_xy", "imp_par_xy", "sig_vert", "max_norm_d0d0exp"]
DPLUS += [f"nsigComb_{particle}_{i}" for i in range(3) for particle in ("Pi", "K")]


def test_magic_from_its_csv_needs_no_tuning(magic: Path, tmp_path: Path) -> None:
    content = {
        "data": {"files": str(magic), "columns": [*MAGIC, "class"]},
        "classes": {"gamma": "class == 'g'", "hadron": "class == 'h'"},
        "features": MAGIC,
        "models": LEARNERS,
    }
    models = metrics_of(tmp_path, content)["models"]
    assert max(m["test"]["auc"]["value"] for m in models.values()) >= 0.930


def test_alice_needs_no_tuning(shared: Path, tmp_path: Path) -> None:
    files = {kind: str(shared / "alice_dplus" / f"{kind}_Dpluspp7TeV_pT_1_50.root") for kind in ("Prompt", "FD", "Bkg")}
    content = {
        "classes": {"dplus": {"files": [files["Prompt"], files["FD"]]}, "background": {"files": files["Bkg"]}},
        "features": DPLUS,
        "models": LEARNERS,
    }
    models = metrics_of(tmp_path, content)["models"]
    found = {name: model["test"]["auc"]["value"] for name, model in models.items()}
    assert max(found.values()) >= 0.88, found
