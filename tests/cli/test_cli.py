"""The command line as shells, scripts and impatient people meet it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from conftest import Run, called, write_tree
from forked import command, written
from pidlab import export
from pidlab.cli import cli
from pidlab.plots import gallery
from pidlab.runs import replot
from pidlab.simulate import SAMPLES

CONFIG = """\
data: {files: small.root}
classes: {electron: "y == 1", pion: "y == 0"}
features: [a, b]
models: {bdt: {type: bdt, n_estimators: 40}, mlp: {type: mlp, hidden: [16], epochs: 30, patience: 30}}
evaluate: {robustness: null, importance: false}
"""


def sample(n: int, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    a, b = rng.normal(y, 1.0).astype(np.float32), rng.normal(0.5 * y, 1.0).astype(np.float32)
    return {"a": a, "b": b, "y": y.astype(np.int32)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cli")
    write_tree(place / "small.root", sample(4000))
    (place / "small.yaml").write_text(CONFIG)
    return place


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("pidlab s", {"simulate", "schema", "sweights"}),
        ("pidlab simulate w", {"workshop"}),
        ("pidlab run --devi", {"--device"}),
        ("pidlab run --device cu", {"cuda"}),
        ("pidlab completion ", {"bash", "zsh", "fish"}),
    ],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_choices(words: str, completed: set[str], tmp_path: Path) -> None:
    program = tmp_path / "pidlab"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pidlab.cli "$@"\n')
    program.chmod(0o755)
    typed = words.split(" ")
    script = f"""
        eval "$(pidlab completion bash)"
        COMP_WORDS=({" ".join(f"'{word}'" for word in typed)}); COMP_CWORD={len(typed) - 1}
        "$(complete -p pidlab | sed 's/.*-F \\([^ ]*\\).*/\\1/')" pidlab
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.split()) == completed, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_their_own(shell: str, pidlab: Run) -> None:
    done = pidlab("completion", shell)
    assert done.returncode == 0
    assert f"_PIDLAB_COMPLETE={shell}_complete" in done.stdout


def test_help_of_completion_says_where_the_script_goes(pidlab: Run) -> None:
    told = pidlab("completion", "--help").stdout
    assert all(place in told for place in ("~/.bashrc", "~/.zshrc", "~/.config/fish/completions/pidlab.fish"))


@pytest.fixture(scope="module")
def verbose(folder: Path) -> subprocess.CompletedProcess[str]:
    process = command(["run", "small.yaml", "-o", "told", "--json", "-v", "--figures", "none"], folder)
    process.join(300)
    out, err = written(folder)
    assert process.exitcode == 0, err
    return subprocess.CompletedProcess([], process.exitcode, out, err)


@pytest.mark.slow
def test_json_is_all_there_is_on_stdout_and_is_metrics_json(
    folder: Path, verbose: subprocess.CompletedProcess[str]
) -> None:
    assert json.loads(verbose.stdout) == json.loads((folder / "told" / "metrics.json").read_text())
    assert [line for line in verbose.stderr.splitlines() if not line.startswith(" ")] == [
        "load", "preprocess", "train", "evaluate", "apply"
    ]  # fmt: skip


@pytest.mark.slow
def test_verbose_tells_progress_in_plain_lines_and_the_seconds_of_each_stage(
    verbose: subprocess.CompletedProcess[str],
) -> None:
    told = verbose.stderr.splitlines()
    assert "\x1b" not in verbose.stderr
    for stage in ("load", "preprocess", "train", "evaluate", "apply"):
        assert sum(bool(re.fullmatch(rf"  {stage}: \d+\.\d\d s", line)) for line in told) == 1
    assert any(re.fullmatch(r"  reading .*4,000/4,000.*", line) for line in told), told
    assert any(re.fullmatch(r"  evaluating \d+/\d+", line) for line in told)
    number = r"\d\.\d{4}"
    pattern = rf"  training mlp (\d+)/30: loss {number}, validation {number}, AUC ({number})"
    training = [m for line in told if (m := re.fullmatch(pattern, line))]
    assert 10 <= len(training) <= 20
    assert [int(m[1]) for m in training] == sorted({int(m[1]) for m in training})
    assert int(training[-1][1]) == 30
    assert all(0.5 < float(m[2]) < 1 for m in training)
    assert 10 <= sum("training bdt" in line for line in told) <= 21


def stopped(
    folder: Path, until: Callable[[], bool], *words: str, by: signal.Signals = signal.SIGINT
) -> subprocess.CompletedProcess[str]:
    """`pidlab WORDS`, ended by a signal once `until` is true: Ctrl-C as a terminal sends it, to the whole group."""
    process = command(words, folder)
    assert process.pid is not None
    deadline = time.monotonic() + 120
    while not until():
        assert process.is_alive(), written(folder)
        assert time.monotonic() < deadline, written(folder)
        time.sleep(0.05)
    if by == signal.SIGINT:
        os.killpg(process.pid, by)
    else:
        os.kill(process.pid, by)
    process.join(60)
    assert process.exitcode is not None
    out, err = written(folder)
    return subprocess.CompletedProcess([*words], process.exitcode, out, err)


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.name not in ("stdout.txt", "stderr.txt")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "code", "said"),
    [
        (signal.SIGINT, 130, "pidlab: stopped; nothing was left behind. Start it again to make run\n"),
        (signal.SIGTERM, 143, "pidlab: stopped by SIGTERM; nothing was left behind. Start it again to make run\n"),
    ],
    ids=["ctrl-c", "batch-system"],
)
def test_a_run_that_is_stopped_in_training_leaves_nothing_and_says_how_to_go_on(
    tmp_path: Path, by: signal.Signals, code: int, said: str
) -> None:
    write_tree(tmp_path / "small.root", sample(4000))
    (tmp_path / "slow.yaml").write_text(CONFIG.replace("n_estimators: 40", "n_estimators: 1000000"))
    before = files_in(tmp_path)
    told = tmp_path / "stderr.txt"
    words = ("run", "slow.yaml", "-o", "run", "--set", "models.bdt.early_stopping_rounds=null", "-v")
    done = stopped(tmp_path, lambda: told.exists() and "\ntrain\n" in told.read_text(), *words, by=by)
    assert done.returncode == code, done.stderr
    assert files_in(tmp_path) == before
    assert done.stderr.endswith(said)
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def forest(folder: Path) -> Path:
    """A run whose model takes its time to score."""
    spec = "{type: sklearn, estimator: sklearn.ensemble.RandomForestClassifier, parameters: {n_estimators: 40}}"
    (folder / "forest.yaml").write_text(re.sub("models: .*", f"models: {{forest: {spec}}}", CONFIG))
    assert called(["run", "forest.yaml", "-o", "forest", "-q", "--figures", "none"], folder).returncode == 0
    return folder / "forest"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_in_applying_keeps_what_is_finished_and_the_same_command_goes_on(
    tmp_path: Path, forest: Path, pidlab: Run, jobs: str
) -> None:
    write_tree(tmp_path / "small.root", sample(2000))
    write_tree(tmp_path / "large.root", sample(600_000, seed=2))
    out = tmp_path / "out"
    words = ("apply", str(forest), "small.root", "large.root", "-o", "out", "--jobs", jobs)
    done = stopped(tmp_path, lambda: bool([*out.glob(".large_pid.root.*.part")]), *words)
    assert done.returncode == 130, done.stderr
    assert files_in(out) == {"small_pid.root"}
    assert done.stderr.endswith(
        "pidlab: stopped; friend trees that were finished stay in out; the same command goes on with the others\n"
    )
    assert "Traceback" not in done.stderr
    finished = (out / "small_pid.root").stat().st_mtime_ns
    write_tree(tmp_path / "large.root", sample(500, seed=2))
    again = pidlab(*words[:-1], "1")  # one process more or less makes no difference to what is finished
    assert again.returncode == 0, again.stderr
    assert (out / "small_pid.root").stat().st_mtime_ns == finished
    with uproot.open(out / "large_pid.root") as file:
        assert file["T_pid"].num_entries == 500


def test_the_table_fits_100_columns_and_ctrl_c_leaves_the_run_that_was_there(folder: Path, pidlab: Run) -> None:
    target = folder / "kept"
    made = pidlab("run", "small.yaml", "-o", "kept", "-q", "--figures", "none", cwd=folder)
    assert (made.returncode, made.stderr) == (0, "")
    table = [line for line in made.stdout.splitlines() if re.match(r"[┏┃┡│└]", line)]
    assert len(table) >= 6
    assert max(map(len, table)) <= 100
    before, told = (target / "metrics.json").read_bytes(), folder / "stderr.txt"
    words = (
        "run",
        "small.yaml",
        "-o",
        "kept",
        "--set",
        "models.mlp.epochs=100000",
        "--set",
        "models.mlp.patience=9999",
    )
    done = stopped(folder, lambda: told.exists() and "\ntrain\n" in told.read_text(), *words)
    assert done.returncode == 130
    assert "stopped; the run that was there is untouched. Start it again to make kept" in done.stderr
    assert (target / "metrics.json").read_bytes() == before
    assert not [*folder.glob(".kept*")]


ONE_AFTER_THE_OTHER = """
import shlex, sys
from pidlab.cli import main
for words in sys.argv[1:]:
    try:
        main(shlex.split(words))
    except SystemExit as end:
        print("answered", end.code, flush=True)
"""


@pytest.mark.slow
def test_forced_ascii_gives_no_traceback_and_nothing_but_ascii(tmp_path: Path) -> None:
    species = np.arange(400, dtype="i4") % 2
    write_tree(tmp_path / "a.root", {"x": species + np.linspace(0, 1, 400), "y": np.linspace(-1, 1, 400), "s": species})
    (tmp_path / "a.yaml").write_text(
        "data: {files: a.root}\nclasses: {a: s == 0, b: s == 1}\n"
        'features: [x, {name: "é", expression: y, label: "– é"}]\n'
        "models: {fisher: {type: fisher}, hand: {type: expression, cut: x > 1}}\nevaluate: {robustness: null}\n",
        encoding="utf-8",
    )
    (tmp_path / "wrong.yaml").write_text("data: {files: “a.root”}\n", encoding="utf-8")
    commands = {
        "run a.yaml -o run --figures none": 0, "run wrong.yaml": 2, "inspect a.root --ranges": 0, "init a.root": 0,
        "plot run": 0, "export run --format cuts -o cuts": 0, "compare run run": 2,
    }  # fmt: skip
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    program = [sys.executable, "-W", "error", "-c", ONE_AFTER_THE_OTHER, *commands]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).isascii()
    assert "Traceback" not in done.stderr
    answers = re.findall(r"^answered (\d)$", done.stdout, re.MULTILINE)
    assert dict(zip(commands, map(int, answers), strict=True)) == commands, done.stderr


@pytest.mark.parametrize(
    ("command", "option", "expected"),
    [
        ("export", "format_", export.FORMATS),
        ("plot", "formats", replot.FORMATS),
        ("run", "figures", gallery.FORMATS),
        ("simulate", "sample", SAMPLES),
    ],
)
def test_options_offer_what_the_packages_have_that_are_too_heavy_for_help_to_import(
    command: str, option: str, expected: Collection[str]
) -> None:
    kind: Any = next(each.type for each in cli.commands[command].params if each.name == option)
    assert {*kind.choices} == {*expected}
