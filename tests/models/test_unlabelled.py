"""Models without labels: known densities and a known surface, orientation of the score, whole runs and files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import check_estimator

import pidlab
from conftest import write_tree
from pidlab.config.load import check_config
from pidlab.errors import ConfigError, ModelError
from pidlab.models.base import TrainingDataError
from pidlab.models.unlabelled.autoencoder import Autoencoder
from pidlab.models.unlabelled.mixture import COVARIANCES, Mixture

MEANS = np.array([[-2.0, 0.0], [2.0, 1.0]])
COVARIANCE = np.array([[[1.0, 0.5], [0.5, 1.0]], [[0.5, -0.2], [-0.2, 0.3]]])


def two_clusters(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Events of a known mixture, .3 and .7, and the logarithm of its density there."""
    rng = np.random.default_rng(seed)
    component = (rng.random(n) < 0.7).astype(int)
    noise = np.einsum("nij,nj->ni", np.linalg.cholesky(COVARIANCE)[component], rng.normal(size=(n, 2)))
    x = MEANS[component] + noise
    density = sum(w * multivariate_normal(m, c).pdf(x) for w, m, c in zip((0.3, 0.7), MEANS, COVARIANCE, strict=True))
    return x, np.log(density)


def labelled(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Events of class 0 from the mixture, and of class 1 spread widely."""
    x, _ = two_clusters(n, seed)
    other = np.random.default_rng(seed + 100).uniform(-6, 6, (n // 4, 2))
    return np.concatenate([x, other]), np.repeat([0, 1], [n, n // 4])


@pytest.mark.parametrize("components", [2, None])
def test_a_mixture_finds_the_density_of_the_class_that_it_is_trained_on(components: int | None) -> None:
    x, y = labelled(20_000)
    model = Mixture(train_on=0, components=components, seed=1).fit(x, y)
    assert model.n_components_ == 2  # also where the BIC decides
    new, truth = two_clusters(2000, 7)
    assert np.abs(model.typicality(new) - truth).mean() < 0.02


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_density_is_scikit_learns_for_each_type_of_covariance(covariance: str) -> None:
    from sklearn.mixture import GaussianMixture

    x, _ = two_clusters(3000, 2)
    ours = Mixture(components=3, covariance=covariance, seed=4).fit(x, np.arange(3000) % 2)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    theirs = GaussianMixture(3, covariance_type=covariance, random_state=4).fit(scaled)
    expected = theirs.score_samples(scaled) - np.log(x.std(axis=0)).sum()
    np.testing.assert_allclose(ours.typicality(x), expected, rtol=1e-9, atol=1e-9)


def test_weights_are_those_of_the_density() -> None:
    x, y = labelled(20_000)
    weight = np.where(x[:, 0] < 0, 3.0, 1.0)
    model = Mixture(train_on=0, components=2, seed=1).fit(x, y, weight)
    shares = np.exp(model.log_shares_[np.argsort(model.means_[:, 0])])
    left = 3 * (x[y == 0, 0] < 0).mean()
    np.testing.assert_allclose(shares[0], left / (left + (x[y == 0, 0] >= 0).mean()), rtol=0, atol=0.03)


@pytest.mark.parametrize("kind", [Mixture, Autoencoder])
def test_the_score_says_typical_or_untypical_as_the_signal_is_what_was_trained_on_or_not(kind: Any) -> None:
    x, y = labelled(4000)
    areas = {}
    for train_on, signal in ((0, 0), (0, 1), (None, 1)):
        model = kind(train_on=train_on, signal=signal, seed=1).fit(x, y)
        areas[train_on, signal] = roc_auc_score(y == signal, model.scores(x)[:, signal])
    assert areas[0, 0] == pytest.approx(areas[0, 1], abs=1e-12)  # the same density, and the same ranking
    assert min(areas.values()) > 0.7


def test_an_autoencoder_gives_back_what_lies_on_its_surface_and_nothing_beside_it() -> None:
    rng = np.random.default_rng(3)
    t = rng.uniform(-1, 1, 6000)
    x = np.stack([t, t**2, np.sin(2 * t)], axis=1) + rng.normal(0, 0.02, (6000, 3))
    beside = x[:2000] + rng.choice([-0.5, 0.5], (2000, 3))
    y = np.repeat([0, 1], [6000, 2000])
    model = Autoencoder(train_on=0, bottleneck=1, seed=1).fit(np.concatenate([x, beside]), y)
    error = -model.typicality(np.concatenate([x, beside]))
    assert np.median(error[:6000]) < 0.05 * np.median(error[6000:])
    assert roc_auc_score(y, error) > 0.97


@pytest.mark.parametrize("kind", [Mixture, Autoencoder])
def test_what_is_saved_loads_to_the_same_bits_and_damage_is_refused(kind: Any, tmp_path: Path) -> None:
    x, y = labelled(2000)
    x[::7, 1] = np.nan
    model = kind(train_on="pion", class_names=["pion", "electron"], signal=1, seed=2).fit(x, y)
    model.save(tmp_path)
    assert np.array_equal(kind.load(tmp_path).scores(x), model.scores(x))
    path = tmp_path / "model.json"
    whole = json.loads(path.read_text())
    for damage in ({"type": "fisher"}, {"learned": {}}, {"classes": 3}, {"centre": "x"}):
        path.write_text(json.dumps(whole | damage))
        with pytest.raises(ModelError):
            kind.load(tmp_path)


def test_too_few_events_and_unknown_names_are_said() -> None:
    x, y = labelled(100)
    with pytest.raises(TrainingDataError, match="one event of the class 1 is left to train on; two or more"):
        Mixture(train_on=1).fit(x[:101], y[:101])
    with pytest.raises(ModelError, match="covariance is 'fulll'; did you mean 'full'"):
        Mixture(covariance="fulll").fit(x, y)
    content = {
        "data": {"files": "t.root"}, "classes": {"electron": "s == 1", "pion": "s == 0"}, "features": ["a"],
        "models": {"m": {"type": "mixture", "train_on": "pino"}},
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"models\.m\.train_on: 'pino' is no class; did you mean 'pion'"):
        check_config(content, {}, Path("a.yaml"))


def test_a_run_compares_them_with_models_that_know_the_labels(tmp_path: Path) -> None:
    x, y = labelled(3000)
    x = x.astype("f4")
    x[::11, 0] = np.nan
    rng = np.random.default_rng(1)
    write_tree(
        tmp_path / "t.root",
        {"a": x[:, 0], "b": x[:, 1], "s": y, "event": np.arange(len(y)), "w": rng.normal(1, 0.5, len(y))},
    )
    content = {
        "data": {"files": str(tmp_path / "t.root"), "event_id": ["event"], "weight": "w"},
        "classes": {"electron": "s == 1", "pion": "s == 0"},
        "features": ["a", "b"],
        "folds": 2,
        "models": {
            "bdt": {"type": "bdt", "n_estimators": 50},
            "known": {"type": "mixture", "train_on": "pion"},
            "unknown": {"type": "mixture"},
            "network": {"type": "autoencoder", "train_on": "pion", "epochs": 5},
        },
    }
    result = pidlab.run(content, tmp_path / "run", figures="none")
    assert result["bdt"].auc.value > result["known"].auc.value > 0.75
    assert result["unknown"].auc.value > 0.75
    assert result["network"].auc.value > 0.6
    assert "mixture of" in result["known"].note
    loaded = pidlab.load(tmp_path / "run")
    assert np.isfinite(loaded.scores({"a": x[:, 0], "b": x[:, 1]})["network"]).all()


@pytest.mark.parametrize("kind", [Mixture, Autoencoder])
def test_scikit_learns_checks(kind: Any) -> None:
    quick = {"components": 1} if kind is Mixture else {"epochs": 1, "hidden": (2,)}
    drawn = "weights decide which events are drawn, or how much a batch counts"
    expected = dict.fromkeys(("check_sample_weight_equivalence_on_dense_data",), drawn)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Warning, module="sklearn")
        check_estimator(kind(**quick), expected_failed_checks=expected, on_skip=None)
