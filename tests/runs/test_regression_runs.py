"""Finished regressions side by side: paired differences of residuals on the events that both tested."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from conftest import write_tree
from pidlab.cli import cli
from pidlab.config.load import check_config
from pidlab.errors import UsageError
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.runs.compare import compare_runs, load_runs
from pidlab.runs.scored_events import read_events, write_events
from pidlab.runs.shared_events import Pair
from pidlab.runs.shift import compare_domain

N = 3000
MODELS: dict[str, Any] = {
    "linear": {"type": "linear"},
    "guess": {"type": "score", "expression": "2 * a"},
    "wide": {"type": "constant", "loss": "gaussian"},
}


def events(seed: int = 21) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=N), rng.normal(size=N)
    truth = 2 * a + b + 0.5 * rng.normal(size=N)
    return {"a": a, "b": b, "truth": truth, "w": rng.uniform(0.5, 1.5, N), "number": np.arange(N) // 2}


def go(folder: Path, name: str, **changes: Any) -> Path:
    content = {
        "data": {"files": "events.root", "event_id": ["number"], "weight": "w"},
        "target": "truth",
        "features": ["a", "b"],
        "models": MODELS,
        "split": {"test": 0.5},
        **changes,
    }
    loaded = check_config(content, {}, folder / "analysis.yaml")
    run(loaded, folder / name, Resources("cpu", 1), Watcher(), figures="none")
    return folder / name


def pair_of(*runs: Path) -> Pair:
    (pair,) = compare_runs(load_runs(runs))
    return pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("regressions")
    write_tree(place / "events.root", events())
    return place


@pytest.fixture(scope="module")
def both(folder: Path) -> Path:
    return go(folder, "both")


@pytest.fixture(scope="module")
def only_a(folder: Path) -> Path:
    return go(folder, "only_a", features=["a"], folds=2)


def test_a_run_against_itself_shows_exactly_no_difference(folder: Path, both: Path) -> None:
    pair = pair_of(both, go(folder, "again"))
    assert pair.n_shared == len(read_events(both).test)
    assert pair.note == ""
    assert {c.a.partition(":")[2] for c in pair.comparisons} == set(MODELS)
    for comparison in pair.comparisons:
        for quantity in comparison.quantities:
            assert quantity.difference[:3] == (0.0, 0.0, 0.0)
            assert "predict alike" in quantity.verdict
    (wide,) = (c for c in pair.comparisons if c.a == "both:wide")
    assert wide.quantity("log_likelihood") is not None


def test_the_difference_is_that_of_both_on_the_events_that_both_tested(both: Path, only_a: Path) -> None:
    """The second run has folds, so that it tested every event, and the first half of them."""
    pair = pair_of(both, only_a)
    runs = [read_events(path) for path in (both, only_a)]
    assert pair.n_shared == len(runs[0].test) < len(runs[1].test)
    (linear,) = (c for c in pair.comparisons if (c.a, c.b) == ("both:linear", "only_a:linear"))
    found = {}
    for run_, name in zip(runs, ("both", "only_a"), strict=True):
        sample = run_.sample.take(run_.test)
        residual = dict(zip(sample.row.tolist(), run_.on_test["linear"][:, 0] - sample.target, strict=True))
        weight = dict(zip(sample.row.tolist(), sample.weight, strict=True))
        found[name] = residual, weight
    rows = sorted(found["both"][0].keys() & found["only_a"][0].keys())
    weights = [found["both"][1][row] for row in rows]
    rms = {n: np.sqrt(np.average([r[row] ** 2 for row in rows], weights=weights)) for n, (r, _) in found.items()}
    quantity = linear.quantity("rms")
    assert quantity is not None
    assert quantity.difference.value == pytest.approx(rms["only_a"] - rms["both"], rel=1e-6)
    assert rms["only_a"] == pytest.approx(np.sqrt(1.25), rel=0.1)  # the noise, and b that it does not see
    assert quantity.winner == "both:linear"
    assert re.match(r"both:linear beats only_a:linear in RMS: 0\.\d+ lower, 95 % interval", quantity.verdict)
    guess = next(c for c in pair.comparisons if c.a == "both:guess").quantity("rms")
    assert guess is not None
    assert guess.difference[:3] == (0.0, 0.0, 0.0)  # the same expression on the same events


def test_events_are_matched_by_key_whatever_the_order_and_the_file(folder: Path, both: Path) -> None:
    order = np.random.default_rng(5).permutation(N // 2)[: N // 4]
    rows = (2 * order[:, None] + [0, 1]).ravel()  # whole events, whose candidates keep their order
    half = folder / "shuffled"
    half.mkdir()
    write_tree(half / "events.root", {name: values[rows] for name, values in events().items()})
    pair = pair_of(both, go(half, "run"))
    assert 0.2 * N < pair.n_shared < 0.3 * N
    guess = next(c for c in pair.comparisons if c.a.endswith("guess") and c.b.endswith("guess"))
    assert all(quantity.difference[:3] == (0.0, 0.0, 0.0) for quantity in guess.quantities)


def test_another_target_is_not_compared_and_the_same_in_other_words_is(folder: Path, both: Path) -> None:
    other = pair_of(both, go(folder, "other", target="truth / 2"))
    assert other.comparisons == ()
    assert other.note.startswith("not comparable: both predicts truth and other truth / 2, which differ for 1,")
    same = pair_of(both, go(folder, "same", target={"value": "2 * truth / 2", "cut": "a > -1"}))
    assert same.comparisons
    left_out = int(re.match(r"(\d+) candidates in the same place of an event have another target", same.note)[1])
    assert same.n_shared + left_out < len(read_events(both).test)
    guess = next(c for c in same.comparisons if c.a == "both:guess").quantity("rms")
    assert guess is not None
    assert guess.difference[:3] == (0.0, 0.0, 0.0)


def test_a_run_that_kept_no_widths_is_compared_without_log_likelihood_and_it_says_so(folder: Path, both: Path) -> None:
    old = go(folder, "old")
    write_events(old, replace(read_events(old), widths_on_test={}))
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({**manifest, "files": None}))  # without checksums
    pair = pair_of(both, old)
    assert pair.note == "log-likelihoods are left out: old did not keep the widths; make that run again"
    assert {q.name for c in pair.comparisons for q in c.quantities} == {"rms", "mae", "sigma68"}


def test_few_events_in_common_are_not_compared(folder: Path, both: Path) -> None:
    pair = pair_of(both, go(folder, "few", selection={"few": "number < 80"}))
    assert pair.comparisons == ()
    assert "too few test events in common" in pair.note


def test_a_regression_and_a_run_of_classes_are_told_apart(both: Path) -> None:
    golden = Path(__file__).parent / "golden" / "run"
    with pytest.raises(UsageError, match=r"tells .* apart, and both predicts truth; compare runs of classes, or regr"):
        load_runs([golden, both])


def test_the_command_shows_both_runs_and_the_verdicts(both: Path, only_a: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["compare", str(both), str(only_a), "--json", str(tmp_path / "c.json")])
    assert done.exit_code == 0, done.output
    assert "both:linear" in done.stdout
    assert "both:linear beats only_a:linear in RMS" in done.stdout.replace("\n", " ")
    assert "are judged together" in done.stdout.replace("\n", " ")
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["runs"]["both"]["linear"]["rms"]["value"] > 0
    assert content["pairs"][0]["comparisons"][0]["quantities"][0]["name"] == "rms"
    assert len(compare_runs(load_runs([both, only_a]))) == 1


def test_the_events_of_a_regression_are_told_from_files(tmp_path: Path) -> None:
    write_tree(tmp_path / "events.root", events())
    run_folder = go(tmp_path, "run", models={"linear": {"type": "linear"}}, evaluate={"importance": False})
    same = events(seed=22)
    same |= {"number": same["number"] + N}
    for name, other in (("far", same | {"b": same["b"] + 1}), ("same", same)):
        write_tree(tmp_path / f"{name}.root", {k: v for k, v in other.items() if k != "truth"})  # data have no target
    found = {
        name: compare_domain(run_folder, [str(tmp_path / f"{name}.root")], tmp_path / name, Watcher())
        for name in ("far", "same")
    }
    assert found["far"].auc.low > 0.7  # two normal distributions one deviation apart: .76
    assert found["far"].features[0].name == "b"
    assert "Bias and resolution of the run need not hold for these files" in found["far"].sentence
    assert abs(found["same"].auc.value - 0.5) < 0.05
    for shift in found.values():
        assert "fficienc" not in shift.sentence
