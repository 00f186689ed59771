"""What the terminal says of results is true: efficiencies with marks, one unit, a correction that is said once."""

from __future__ import annotations

import dataclasses
import io
import re

from rich.console import Console

from example_results import example, measured
from pidlab.cli.terminal import PlainConsole, results_table, sentences
from pidlab.evaluate.results import Results
from pidlab.process import open_streams


def shown(results: Results) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(results_table(results))
    return console.export_text()


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
    assert text.count("All 9 comparisons are judged together") == 1
    assert text.count("Holm") == 1
    assert text.count("95 % interval, p = 0.02") == 2


def test_the_terminal_gives_shares_in_per_cent_alone() -> None:
    results = off_target(0.963, "few events")
    text = shown(results) + "\n".join(sentences(results))
    assert text.count("96.3") == 2
    assert "0.963" not in text


def test_an_output_of_ascii_shows_table_and_sentences_in_ascii() -> None:
    open_streams()  # as every command does; it registers how a stream writes what it cannot encode
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, "ascii", errors="pidlab.ascii", write_through=True)
    console = PlainConsole(file=stream, width=100)
    results = example(("electron", "pion"))
    console.print(results_table(results), width=100)
    for sentence in sentences(results):
        console.print(sentence, highlight=False, soft_wrap=True)
    text = written.getvalue().decode("ascii")
    assert re.search(r"\d\.\d+ \+-? ?0\.\d+", text)
    assert "mlp separates electron best" in text
