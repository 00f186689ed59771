"""What the terminal shows: a table that fits 100 columns, and numbers that move while a model trains."""

from __future__ import annotations

import dataclasses
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from conftest import write_tree
from example_results import example, measured
from pidlab.cli.terminal import PlainConsole, Terminal, results_table
from pidlab.measured import Measured, format_compact

CONFIG = """\
data: {files: small.root}
classes: {electron: "y == 1", pion: "y == 0"}
features: [a, b]
models: {bdt: {type: bdt, n_estimators: 40}, mlp: {type: mlp, hidden: [8], epochs: 12}}
evaluate: {robustness: null, importance: false}
"""


def shown(results, width=100):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(results_table(results))
    return console.export_text()


@pytest.mark.parametrize("classes", [("electron", "pion"), ("electron", "pion", "kaon")])
def test_the_table_fits_100_columns_and_holds_every_number_whole(classes):
    results = example(classes, kinds=("cuts", "fisher", "bdt", "mlp"))
    text = shown(results)
    assert max(map(len, text.splitlines())) <= 100
    for name, model in results.models.items():
        assert name in text
        for point in () if model.fixed_cut else model.working_points:
            assert all(format_compact(rate, 100.0) in text for rate in point.misid.values())
    assert text.count("kaon") == (len(results.models) + 1 if len(classes) > 2 else 0)


def test_tiny_rates_and_errors_do_not_make_the_table_wider():
    results = example(("electron", "pion", "kaon"))
    tiny = Measured(3.1234e-5, 2.1e-5, 4.9e-5, 1e6)
    points = tuple(
        dataclasses.replace(p, misid=dict.fromkeys(p.misid, tiny)) for p in results.models["mlp"].working_points
    )
    test = dataclasses.replace(results.models["mlp"].samples["test"], auc=measured(0.999991, 1e8))
    mlp = dataclasses.replace(results.models["mlp"], working_points=points, samples={"test": test})
    text = shown(dataclasses.replace(results, models={**results.models, "mlp": mlp}))
    assert max(map(len, text.splitlines())) <= 100
    # Its two errors differ, so the cell takes two lines here; it was "0.0031 ± 0.0018", the larger side alone.
    assert [
        len(re.findall(rf"(?<![\d.]){number}(?![\d.])", text)) for number in (r"0\.0031", r"\+0\.0018", r"−0\.0010")
    ] == [6] * 3


def test_no_terminal_no_bars(capsys):
    console = Console(width=80)
    with Terminal(console).task("training mlp", 10) as task:
        task.reach(3, 10, {"loss": 0.5})
    assert capsys.readouterr().out == ""


def test_quiet_silences_progress_and_keeps_what_a_reader_must_know(capsys):
    watcher = Terminal(Console(width=80), quiet=True, verbose=True)
    watcher.stage("load")
    with watcher.task("training mlp", 10) as task:
        task.reach(3, 10, {"loss": 0.5})
    watcher.remark("the pattern P.* means P.x")
    watcher.note("12 events stand in the file twice")
    watcher.finish()
    assert capsys.readouterr().out == "  note: 12 events stand in the file twice\n"


def test_a_stream_that_takes_ascii_only_gets_columns_that_stand_below_each_other():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    table = Table()
    for name in ("value", "next"):
        table.add_column(name)
    for value in ("0.5 ± 0.1", "0.5 – 0.1"):
        table.add_row(value, "x")
    PlainConsole(file=stream, width=60).print(table)
    stream.flush()
    lines = stream.buffer.getvalue().decode("ascii").splitlines()
    assert "| 0.5 +- 0.1 | x    |" in lines
    assert len({len(line) for line in lines if line.strip()}) == 1


def watched(folder, columns, *words):
    """What `pidlab WORDS` writes to a terminal of so many columns, by line."""
    child, screen = pty.fork()
    if child == 0:  # pragma: no cover - another process
        os.chdir(folder)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "CI", "NO_COLOR")}
        command = [sys.executable, "-m", "pidlab.cli", *map(str, words)]
        os.execve(sys.executable, command, environment | {"TERM": "xterm"})
    written = b""
    while True:
        try:
            piece = os.read(screen, 65536)
        except OSError:  # the other side was closed: Linux says so by an error
            break
        written += piece
        if not piece:
            break
    os.close(screen)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, written.decode()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()]


@pytest.mark.slow
def test_a_training_model_shows_loss_and_validation_auc_on_one_line(tmp_path):
    columns = 80
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 60_000)
    arrays = {"a": rng.normal(y, 1.0), "b": rng.normal(0.5 * y, 1.0), "y": y.astype(np.int32)}
    write_tree(tmp_path / "small.root", arrays)
    (tmp_path / "small.yaml").write_text(CONFIG)
    lines = watched(tmp_path, columns, "run", "small.yaml", "-o", "run", "--figures", "none")
    training = [line for line in lines if "training mlp" in line]
    told = [m for line in training if (m := re.search(r"(\d+)/12 .*loss (\S+), validation (\S+), AUC (\S+)", line))]
    assert len({m[2] for m in told}) > 1, training
    assert all(0.5 < float(m[4]) < 1 for m in told)
    assert max(map(len, training)) <= columns
    table = [line for line in lines if re.match(r"[┏┃┡│└]", line)]
    assert len(table) >= 6
    assert max(map(len, table)) <= columns


def test_somebodys_cuts_stand_in_the_table_at_their_own_efficiency() -> None:
    results = example(("electron", "pion"))
    hand = results.models["hand"].working_points[0]
    table = results_table(results)
    cells = [list(column.cells) for column in table.columns]
    assert cells[-1][0].endswith(f"at {100 * hand.efficiency.value:.1f}")
    assert cells[-1][1:] == [""] * (len(results.models) - 1)
    assert "own" in str(table.columns[-1].header)
