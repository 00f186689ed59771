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

from conftest import write_tree
from example_results import example, measured
from pidlab.cli.terminal import PlainConsole, Terminal, results_table, sentences
from pidlab.evaluate.results import Results
from pidlab.measured import Measured
from pidlab.rounding import format_compact

CONFIG = """\
data: {files: small.root}
classes: {electron: "y == 1", pion: "y == 0"}
features: [a, b]
models: {bdt: {type: bdt, n_estimators: 40}, mlp: {type: mlp, hidden: [8], epochs: 12}}
evaluate: {robustness: null}
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
    lines = watched(tmp_path, columns, "run", "small.yaml", "-o", "run")
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


def test_each_working_point_shows_the_efficiency_that_it_has_and_a_mark_where_it_misses_its_target() -> None:
    results = off_target(0.963, "the score jumps there")
    cells = {str(c.header).split("\n")[-1]: list(c.cells) for c in results_table(results).columns}
    assert cells["eff90"][2].endswith("\nat 96.3 *")
    assert re.search(r"\nat 90\.\d$", cells["eff90"][1])
    assert "Off target (*): mlp eff90 96.3 %. The reason: the score jumps there." in sentences(results)


def off_target(efficiency: float, reason: str) -> Results:
    """The example with another efficiency of the network at eff90, which therefore misses its target."""
    results = example(("electron", "pion"))
    mlp = results.models["mlp"]
    first = dataclasses.replace(mlp.working_points[0], efficiency=measured(efficiency, 4000), reason=reason)
    mlp = dataclasses.replace(mlp, working_points=(first, *mlp.working_points[1:]))
    return dataclasses.replace(results, models={**results.models, "mlp": mlp})


def test_the_correction_for_the_number_of_comparisons_is_said_once() -> None:
    """It stood in each of up to 54 sentences."""
    results = example(("electron", "pion"))
    told = "b lets through 2.0 times fewer pion, 95 % interval, p = 0.02 after Holm's correction for 9 comparisons"
    pairs = tuple(
        dataclasses.replace(
            c, n_comparisons=9, working_points=tuple(dataclasses.replace(p, verdict=told) for p in c.working_points)
        )
        for c in results.comparisons
    )
    text = "\n".join(sentences(dataclasses.replace(results, comparisons=pairs)))
    assert text.count("All 9 comparisons of this run are judged together") == 1
    assert text.count("Holm") == 1
    assert text.count("95 % interval, p = 0.02") == 2


def test_the_terminal_gives_shares_in_per_cent_alone() -> None:
    results = off_target(0.963, "few events")
    text = shown(results) + "\n".join(sentences(results))
    assert text.count("96.3") == 2
    assert "0.963" not in text


def test_an_output_of_ascii_shows_table_and_sentences_in_ascii() -> None:
    """It ended in a traceback of a UnicodeEncodeError at the first ±."""
    results = example(("electron", "pion"))
    written = io.BytesIO()
    console = PlainConsole(file=io.TextIOWrapper(written, "ascii", write_through=True), width=100)
    console.print(results_table(results), width=100)
    for sentence in (*sentences(results), "ΔAUC = (2.0 ± 1.8)×10⁻⁴ → π"):
        console.print(sentence, highlight=False, soft_wrap=True)
    text = written.getvalue().decode("ascii")
    assert re.search(r"\d\.\d+ \+- 0\.\d+", text)
    assert "Delta AUC = (2.0 +- 1.8)x10^-4 -> \\u03c0" in text
    assert max(len(line) for line in text.splitlines() if line[0] in "+|") <= 100
