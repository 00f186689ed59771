"""Tuning finds what is better on validation, never looks at test, resumes, and leaves a configuration that runs."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tune_orders import CONTENT, OnTrials, configuration, sample, tune_until_killed, tuned

from forked import command, forked, written
from pidlab.cli import main
from pidlab.config.load import load_config
from pidlab.errors import ModelError, OutputError, UsageError
from pidlab.evaluate.results import Tried, Tuning
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.tune import TuningRequest, TuningStopped
from pidlab.tune.study import Study, open_database


@pytest.fixture
def config(tmp_path: Path) -> Path:
    sample(tmp_path)
    return configuration(tmp_path)


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuning]:
    """Trees of depth one, which see nothing, and what tuning makes of them."""
    folder = tmp_path_factory.mktemp("forest")
    sample(folder)
    path = configuration(folder, models={"bdt": CONTENT["models"]["bdt"]})
    search = ("max_depth=1|4", "learning_rate=0.0001|0.3", "lambda=log:0.1:10")
    return path, tuned(path, "bdt", 12, search=search, figures=True)


def draws(found: Tuning) -> list[Any]:
    return [(t.number, dict(t.parameters), t.value) for t in found.trials]


@pytest.mark.slow
def test_the_better_parameter_is_found_and_its_gain_is_beyond_doubt(forest: tuple[Path, Tuning]) -> None:
    _, found = forest
    assert found.parameters["max_depth"] == 4
    assert found.parameters["learning_rate"] == 0.3
    assert found.after.value > 0.9 > 0.7 > found.before.value
    assert found.gain.value == pytest.approx(found.after.value - found.before.value, rel=1e-9)
    assert 0.1 < found.gain.low < found.gain.value < found.gain.high
    assert found.after.value == pytest.approx(found.ranked[0].value, rel=1e-12)
    assert sum(found.importance.values()) == pytest.approx(1)


@pytest.mark.slow
def test_lagging_trials_are_pruned_and_recorded(forest: tuple[Path, Tuning]) -> None:
    _, found = forest
    pruned = [t for t in found.trials if t.state == "pruned"]
    assert pruned
    assert {t.parameters["learning_rate"] for t in pruned} == {0.0001}
    assert len(found.trials) == 12
    assert {t.state for t in found.trials} == {"complete", "pruned"}


@pytest.mark.slow
def test_the_configuration_that_is_written_runs_and_gives_the_number(forest: tuple[Path, Tuning]) -> None:
    path, found = forest
    target = path.with_name("analysis.tuned.yaml")
    loaded = load_config(target)
    assert loaded.content["models"]["bdt"] == CONTENT["models"]["bdt"] | found.parameters
    assert {k: v for k, v in loaded.content.items() if k != "models"} == {
        k: v for k, v in CONTENT.items() if k != "models"
    }
    assert "on validation" in target.read_text().splitlines()[0]
    results = run(loaded, path.with_name("run"), Resources("cpu", 1), Watcher(), figures="none")
    assert results.models["bdt"].samples["validation"].auc == pytest.approx(found.after, rel=1e-9)


@pytest.mark.slow
def test_history_and_importance_are_drawn(forest: tuple[Path, Tuning]) -> None:
    path, _ = forest
    for name in ("tune_history", "tune_importance"):
        assert path.with_name(f"analysis.{name}.png").read_bytes().startswith(b"\x89PNG")
        assert path.with_name(f"analysis.{name}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_a_resumed_study_has_n_plus_m_trials_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    sample(tmp_path)
    path = configuration(tmp_path)
    tuned(path, n=3)
    resumed = tuned(path, n=9)
    whole = tuned(path, n=12, storage=str(tmp_path / "whole.db"))
    assert [t.number for t in resumed.trials] == list(range(12))
    assert len({t.parameters["C"] for t in resumed.trials}) == 12
    assert draws(resumed) == draws(whole)


@pytest.mark.slow
def test_test_rows_never_reach_the_tuner(tmp_path: Path) -> None:
    """Whatever the test rows hold, it is the same study: the second order goes on with the trials of the first."""
    found = {}
    for name, poison in (("clean", False), ("poisoned", True)):
        folder = tmp_path / name
        folder.mkdir()
        sample(folder, poison=poison)
        alone = tuned(configuration(folder), n=2)
        shared = tuned(folder / "analysis.yaml", n=2, storage=str(tmp_path / "shared.db"))
        found[name] = (alone, shared)
    assert draws(found["clean"][0]) == draws(found["poisoned"][0])
    assert found["clean"][0].gain == found["poisoned"][0].gain
    assert len(found["poisoned"][1].trials) == 4


@pytest.mark.slow
def test_other_events_settings_or_searches_are_another_study(config: Path, tmp_path: Path) -> None:
    storage = str(tmp_path / "trials.db")

    def n(**how: Any) -> int:
        return len(tuned(config, n=1, storage=storage, **how).trials)

    assert [n(), n()] == [1, 2]
    assert n(search=("C=log:0.1:10",)) == 1
    assert n(objective="misid:eff90") == 1
    configuration(tmp_path, balance="none")
    assert n() == 1
    configuration(tmp_path, models=CONTENT["models"] | {"line": {"type": "logistic", "C": 3.0}})
    assert n() == 3


@pytest.mark.slow
def test_two_processes_join_one_study(config: Path, tmp_path: Path) -> None:
    words = ["tune", str(config), "--model", "line", "--trials", "3", "--storage", str(tmp_path / "both.db"), "-q"]
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    pair = [command([*words, "-o", str(folder / "tuned.yaml")], folder) for folder in folders]
    for process in pair:
        process.join(240)
    told = [written(folder) for folder in folders]
    assert [process.exitcode for process in pair] == [0, 0], told
    assert "gain: " in told[0][0]
    assert "These are validation numbers" in told[0][0]
    found = tuned(config, n=1, storage=str(tmp_path / "both.db"))
    assert [t.number for t in found.trials] == list(range(7))
    assert {t.state for t in found.trials} == {"complete"}
    assert len({t.parameters["C"] for t in found.trials}) == 7


@pytest.mark.slow
def test_trials_of_a_killed_process_are_failed_and_block_nobody(config: Path) -> None:
    killed = forked(tune_until_killed, config, "mlp", 3, 3, ("activation=keep", "hidden=keep"))
    killed.join(200)
    assert killed.exitcode == -signal.SIGKILL
    found = tuned(config, "mlp", 2, together=2, search=("activation=keep", "hidden=keep"))
    assert [t.state for t in found.trials] == ["complete", "failed", "failed", "complete", "complete"]


def test_a_trial_that_keeps_silent_is_failed_and_one_that_lives_is_not(tmp_path: Path) -> None:
    database = open_database(str(tmp_path / "trials.db"))

    def study() -> Study:
        return Study(database, "one", maximise=True, seed=1, pruner="none")

    first, second = study(), study()
    asked = [first.ask(lambda trial: {"x": trial.suggest_float("x", 0, 1)})[0] for _ in range(3)]
    asked[0].set_user_attr("place", "elsewhere:1")
    asked[0].set_user_attr("alive", 0.0)
    asked[1].set_user_attr("place", "elsewhere:1")
    second.free_stale()
    assert [t.state for t in second.trials()] == ["failed", "running", "running"]
    first.give_up()
    assert [t.state for t in second.trials()] == ["failed"] * 3


def press_ctrl_c(n_done: int) -> None:
    if n_done == 2:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_ctrl_c_keeps_the_trials_and_says_how_to_go_on(config: Path) -> None:
    search = ("activation=keep", "hidden=keep", "batch_size=keep", "dropout=keep")
    with pytest.raises(TuningStopped) as stopped:
        tuned(config, "mlp", 8, OnTrials(press_ctrl_c), together=4, search=search, objective="misid:eff80")
    assert stopped.value.exit_code == 130
    assert "2 trials are kept in " in str(stopped.value)
    order = f"pidlab tune {config} --model mlp --objective misid:eff80 --search activation=keep"
    assert order in str(stopped.value)
    assert not config.with_name("analysis.tuned.yaml").exists()
    found = tuned(config, "mlp", 1, search=search, objective="misid:eff80")
    assert [t.state for t in found.trials] == ["complete", "complete", "failed", "failed", "complete"]


@pytest.mark.slow
def test_misidentification_is_what_brute_force_counts(config: Path) -> None:
    from pidlab.evaluate.points.working_points import SignalSteps
    from pidlab.tune.objectives import Objective
    from pidlab.tune.run import _samples
    from pidlab.tune.trials import Bench

    found = tuned(config, "line", 3, objective="misid:eff80", search=("C=log:0.00001:1",))
    loaded = load_config(config)
    bench = Bench(loaded, "line", *_samples(loaded, Watcher()), Objective.of("misid:eff80"), Resources("cpu", 1))
    best = found.ranked[0]
    assert best.value == min(t.value for t in found.trials)
    score, v = bench.scores(bench.fitted(best.parameters)), bench.validation
    threshold = SignalSteps.of(score[v.is_signal], v.weight[v.is_signal]).threshold_at(0.8)
    counted = v.weight[~v.is_signal & (score > threshold)].sum() / v.weight[~v.is_signal].sum()
    assert best.value == pytest.approx(counted, rel=1e-12)
    assert found.after.value == pytest.approx(counted, rel=1e-9)
    exactly = [_misid_exactly(bench.scores(bench.fitted(p)), v, 0.8) for p in ({}, best.parameters)]
    assert found.gain.value == pytest.approx(exactly[1] - exactly[0], rel=1e-6, abs=1e-12)


def _misid_exactly(score: Any, v: Any, target: float) -> float:
    """The misidentification at exactly the target, on the straight line between the thresholds on both sides of it."""
    order = np.argsort(-score[v.is_signal])
    signal, share = score[v.is_signal][order], np.cumsum(v.weight[v.is_signal][order]) / v.weight[v.is_signal].sum()
    last = int(np.searchsorted(share, target * (1 - 1e-12)))
    rates = []
    for i in (last - 1, last):
        passing = ~v.is_signal & (score > np.float32(signal[i : i + 2].astype(np.float64).mean()))
        rates.append(v.weight[passing].sum() / v.weight[~v.is_signal].sum())
    along = (target - share[last - 1]) / (share[last] - share[last - 1])
    return float((1 - along) * rates[0] + along * rates[1])


def test_the_area_is_that_of_scikit_learn(config: Path) -> None:
    from sklearn.metrics import roc_auc_score
    from test_points import small

    from pidlab.tune.objectives import Objective

    score, three = small(1)
    expected = roc_auc_score(three.y == 1, score, sample_weight=three.weight)
    assert Objective.of("auc").value(score, three) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_networks_in_one_pass_are_worth_what_they_are_alone(config: Path) -> None:
    search = ("activation=tanh", "hidden=keep", "batch_size=keep", "dropout=keep", "learning_rate=log:0.001:0.03")
    found = tuned(config, "mlp", 4, together=4, search=search)
    loaded = load_config(config)
    from pidlab.tune.objectives import Objective
    from pidlab.tune.run import _samples
    from pidlab.tune.trials import Bench

    bench = Bench(loaded, "mlp", *_samples(loaded, Watcher()), Objective.of("auc"), Resources("cpu", 1))
    assert len({t.parameters["learning_rate"] for t in found.trials}) == 4
    for trial in found.trials:
        assert bench.value(bench.fitted(trial.parameters)) == pytest.approx(trial.value, abs=2e-4)


@pytest.mark.slow
def test_folds_and_three_classes_are_tuned_too(tmp_path: Path) -> None:
    sample(tmp_path)
    classes = {"low": "species == 0 && c < 0", "signal": "species == 1", "high": "species == 0 && c >= 0"}
    path = configuration(
        tmp_path, classes=classes, signal="signal", folds=3, split={"validation": 0.3}, features=["a", "b"]
    )
    found = tuned(path, "line", 3, objective="misid:eff90")
    assert found.gain.low <= found.gain.value <= found.gain.high
    assert found.after.value == pytest.approx(found.ranked[0].value, rel=1e-9)


@pytest.mark.slow
def test_an_output_elsewhere_finds_the_files(config: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "better.yaml"
    tuned(config, n=2, output=target, figures=True)
    assert load_config(target).config.data.files == str(tmp_path / "xor.root")
    assert {p.name for p in target.parent.iterdir()} == {
        *("better.yaml", "analysis.tune.db"),
        *(f"analysis.tune_{name}.{suffix}" for name in ("history", "importance") for suffix in ("png", "pdf")),
    }


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"model": "lime"}, "did you mean 'line'"),
        ({"model": "hand"}, "a model of type 'expression' is not trained"),
        ({"model": "fisher"}, "there is nothing to search in a fisher"),
        ({"objective": "misid:90"}, "--objective misid:90: is none of auc, or misid:eff90"),
        ({"pruner": "median "}, "did you mean 'median'"),
        ({"search": ("c=1|2",)}, "--search c=1|2: unknown key; did you mean|known"),
        ({"model": "bdt", "search": ("max_dept=3|4",)}, "did you mean 'max_depth'"),
        ({"model": "bdt", "search": ("max_depth=int:0:4",)}, "must be greater than 0, not 0"),
        ({"model": "bdt", "search": ("type=mlp",)}, "the type of a model cannot be searched"),
    ],
)
def test_mistakes_are_said_before_anything_is_read(config: Path, how: dict[str, Any], said: str) -> None:
    (config.parent / "xor.root").unlink()
    with pytest.raises(UsageError, match=said):
        tuned(config, **how)


def test_a_file_that_is_somebodys_own_is_not_replaced(config: Path) -> None:
    target = config.with_name("analysis.tuned.yaml")
    target.write_text("mine: 1\n")
    with pytest.raises(OutputError, match="was not written by tune"):
        tuned(config)
    with pytest.raises(OutputError, match="is the configuration itself"):
        tuned(config, output=config)
    assert target.read_text() == "mine: 1\n"


def test_a_database_that_is_none_is_refused(config: Path) -> None:
    with pytest.raises(UsageError, match="cannot be used to keep trials in"):
        tuned(config, storage=str(config))


def test_without_validation_there_is_nothing_to_tune_by(tmp_path: Path) -> None:
    sample(tmp_path)
    path = configuration(tmp_path, split={"validation": 0.0})
    with pytest.raises(UsageError, match="tuning needs a validation sample"):
        tuned(path)


@pytest.mark.slow
def test_parameters_that_cannot_be_trained_are_refused_with_the_reason(config: Path) -> None:
    with pytest.raises(ModelError, match=r"no trial could be trained; the last one: xgboost refuses"):
        tuned(config, "bdt", 20, search=("gamma=float:-3:-2",))
    search = ("optimizer=sgd", "learning_rate=1.0e+30|0.01", "hidden=[8]", "activation=relu")
    trials = tuned(config, "mlp", 8, together=4, search=search).trials
    assert {t.parameters["learning_rate"] for t in trials} == {1e30, 0.01}
    for trial in trials:
        assert trial.state == ("refused" if trial.parameters["learning_rate"] == 1e30 else "complete")
        assert ("diverged" in trial.reason) == (trial.state == "refused")


def test_without_optuna_it_is_said_what_to_install(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'pidlab\[tune\]'"):
        tuned(config)


@pytest.mark.slow
def test_the_command_says_mistakes_and_its_help_the_grammar(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["tune", str(config), "--model", "line", "--search", "C=lgo:1:2"])
    assert (ended.value.code, "did you mean 'log'" in capsys.readouterr().err) == (2, True)
    with pytest.raises(SystemExit):
        main(["tune", "--help"])
    assert "log:LOW:HIGH" in capsys.readouterr().out


@pytest.mark.slow
def test_a_section_of_the_configuration_says_what_to_try(tmp_path: Path) -> None:
    sample(tmp_path)
    path = configuration(tmp_path, tune={"line": {"C": [0.5, 2.0]}})
    assert {t.parameters["C"] for t in tuned(path, n=6).trials} == {0.5, 2.0}
    replaced = tuned(path, n=2, search=("C=7.0|8.0",))
    assert {t.parameters["C"] for t in replaced.trials} <= {7.0, 8.0}


def test_the_best_is_the_smallest_misid_and_the_largest_area() -> None:
    trials = tuple(Tried(i, "complete", value, {}, 0.0) for i, value in enumerate((0.3, 0.1, 0.2, 0.1)))
    nan = TuningRequest(Path("a.yaml"), "m")
    values = {f.name: None for f in dataclasses.fields(Tuning)} | {"trials": trials}
    up, down = (Tuning(**values | {"maximise": maximise}) for maximise in (True, False))  # type: ignore[arg-type]
    assert [t.number for t in up.ranked] == [0, 2, 1, 3]
    assert [t.number for t in down.ranked] == [1, 3, 2, 0]
    assert nan.target == Path("a.tuned.yaml")
    assert nan.database == "a.tune.db"
    assert np.isfinite(len(json.dumps(nan.command)))
