"""A fifth of the weights negative, through every type of model: unbiased efficiencies, held against unit weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import write_tree
from pidlab.config.load import check_config
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.runs.record import metrics

pytestmark = pytest.mark.slow

MODELS: dict[str, Any] = {
    "hand": {"type": "expression", "cut": "x0 > 0.3 && x1 > -0.5"},
    "given": {"type": "score", "expression": "x0 + x1"},
    "cuts": {"type": "cuts"},
    "fisher": {"type": "fisher"},
    "logistic": {"type": "logistic"},
    "bdt": {"type": "bdt", "n_estimators": 60, "max_depth": 3},
    "mlp": {"type": "mlp", "hidden": [8], "epochs": 5},
}
N = 16_000
POLICIES = ("abs", "drop", "zero")


def measured(folder: Path, *, negative: bool, policy: str = "abs") -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics of a run over events of one distribution, drawn anew: with weights -1 they come in larger number.

    Of every five weighted candidates one has -1 and is drawn like the others, so that it takes one of them off again:
    the sums of weights stand for the same distribution as unit weights.
    """
    rng = np.random.default_rng(7 if negative else 8)
    y = rng.integers(0, 2, N)
    x = rng.normal(size=(N, 2)) + np.where(y == 0, 1.0, 0.0)[:, None] * [1.5, 0.9]
    weight = np.where(rng.random(N) < 0.2, -1.0, 1.0) if negative else np.ones(N)
    arrays = {"x0": x[:, 0], "x1": x[:, 1], "y": y, "w": weight, "event": np.arange(N)}
    write_tree(folder / "events.root", arrays)
    content = {
        "data": {"files": "events.root", "event_id": ["event"], "weight": "w"},
        "classes": {"signal": "y == 0", "other": "y == 1"},
        "features": ["x0", "x1"],
        "models": MODELS if policy == "abs" else {"fisher": MODELS["fisher"], "bdt": MODELS["bdt"]},
        "evaluate": {"working_points": [0.9], "robustness": None},
        "split": {"test": 0.4, "validation": 0.3},
        "negative_weights": policy,
    }
    done = analyse(check_config(content, {}, folder / "a.yaml"), Resources("cpu", 1), Watcher())
    found = metrics(done.results)
    return found["models"], found


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured(tmp_path_factory.mktemp("unit"), negative=False)[0]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    return measured(tmp_path_factory.mktemp("mixed"), negative=True)


def error(number: dict[str, float]) -> float:
    return max(number["high"] - number["value"], number["value"] - number["low"])


@pytest.mark.parametrize("name", MODELS)
def test_efficiencies_close_with_those_of_unit_weights(name: str, unit: Any, mixed: Any) -> None:
    plain, signed = unit[name], mixed[0][name]
    (a,), (b,) = plain["working_points"], signed["working_points"]
    pairs = [(a["efficiency"], b["efficiency"]), (a["misid"]["other"], b["misid"]["other"])]
    if name != "hand":
        pairs.append((plain["test"]["auc"], signed["test"]["auc"]))
    for one, other in pairs:
        # Thresholds fluctuate with their own sample, two thirds as large as a test sample of unit weights.
        together = np.hypot(error(one), error(other)) * (1 if name == "hand" else np.sqrt(2.5))
        assert abs(one["value"] - other["value"]) < 3.5 * together
        assert error(other) > error(one)
    np.testing.assert_allclose(b["efficiency"]["n"], 0.36 * a["efficiency"]["n"], rtol=0.12)


def test_efficiencies_are_the_known_ones(mixed: Any) -> None:
    """Normal distributions: the truth of somebody's cuts, and of the best discriminant at 90 %."""
    from scipy.stats import norm

    models = mixed[0]
    hand = models["hand"]["working_points"][0]
    truth = norm.sf(0.3 - 1.5) * norm.sf(-0.5 - 0.9), norm.sf(0.3) * norm.sf(-0.5)
    for number, expected in zip((hand["efficiency"], hand["misid"]["other"]), truth, strict=True):
        assert abs(number["value"] - expected) < 3.5 * error(number)
    best = norm.sf(norm.isf(0.9) + np.hypot(1.5, 0.9))
    misid = models["fisher"]["working_points"][0]["misid"]["other"]
    assert abs(misid["value"] - best) < 3.5 * 1.6 * error(misid)


def test_the_run_says_what_becomes_of_negative_weights(mixed: Any) -> None:
    notes = " ".join(mixed[1]["notes"])
    assert "of the rows have negative weights" in notes
    assert "training takes negative_weights: abs, evaluation keeps the sign" in notes


@pytest.mark.parametrize("policy", POLICIES[1:])
def test_every_policy_of_training_gives_the_same_efficiencies(policy: str, mixed: Any, tmp_path: Path) -> None:
    models, _ = measured(tmp_path, negative=True, policy=policy)
    for name, model in models.items():
        a, b = (m["working_points"][0]["misid"]["other"] for m in (model, mixed[0][name]))
        assert abs(a["value"] - b["value"]) < 3 * np.hypot(error(a), error(b))
