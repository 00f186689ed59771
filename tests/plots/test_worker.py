"""Two processes draw what one draws, byte for byte; one that fails is made up for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from example_results import example
from pidlab.config.schema import Style
from pidlab.evaluate.results import write_results
from pidlab.plots import gallery
from pidlab.plots.gallery import write
from pidlab.plots.worker import FigureWorker, drawing

STYLE = Style(experiment="CMS", label="Preliminary")
EXAMPLE = example(kinds=("mlp",))
RESULTS = dataclasses.replace(
    EXAMPLE, models={name: dataclasses.replace(model, maps=()) for name, model in EXAMPLE.models.items()},
    inputs={}, robustness={}, correlation={}, cutflow=(), comparisons=(),
)  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "plots").iterdir()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[str]]:
    folder = tmp_path_factory.mktemp("alone")
    (folder / "plots").mkdir()
    svgs = [picture.svg for picture in write(RESULTS, folder / "plots", STYLE)]
    return files(folder), svgs


@pytest.fixture
def worker() -> Iterator[FigureWorker]:
    process = FigureWorker()
    yield process
    process.stop()


@pytest.mark.slow
@pytest.mark.parametrize("befalls", ["nothing", "no results", "death"])
def test_two_processes_draw_what_one_draws(
    tmp_path: Path,
    alone: tuple[dict[str, bytes], list[str]],
    worker: FigureWorker,
    monkeypatch: pytest.MonkeyPatch,
    befalls: str,
) -> None:
    (tmp_path / "plots").mkdir()
    if befalls != "no results":
        write_results(tmp_path / "results.json", RESULTS)
    if befalls == "death":
        worker.stop()
    own: list[str] = []
    write_one = gallery.write_one
    count = lambda sheet, name, *rest: own.append(name) or write_one(sheet, name, *rest)  # noqa: E731
    monkeypatch.setattr(gallery, "write_one", count)
    with drawing(tmp_path, RESULTS, STYLE, worker) as drawn:
        if befalls == "nothing":
            worker.wait()
        made = drawn()
    assert [picture.svg for picture in made] == alone[1]
    assert files(tmp_path) == alone[0]
    assert (len(own) < len(made)) == (befalls == "nothing")


@pytest.mark.slow
@pytest.mark.parametrize("befalls", ["nothing", "death"])
def test_a_few_figures_are_drawn_by_the_other_process_alone(
    tmp_path: Path, worker: FigureWorker, monkeypatch: pytest.MonkeyPatch, befalls: str
) -> None:
    def drawn_in(folder: Path, helper: FigureWorker | None) -> list[gallery.Picture]:
        (folder / "plots").mkdir(parents=True)
        write_results(folder / "results.json", RESULTS)
        with drawing(folder, RESULTS, STYLE, helper, figures="quick") as pictures:
            return pictures()

    expected = drawn_in(tmp_path / "alone", None)
    own: list[str] = []
    write_one = gallery.write_one
    count = lambda sheet, name, *rest: own.append(name) or write_one(sheet, name, *rest)  # noqa: E731
    monkeypatch.setattr(gallery, "write_one", count)
    if befalls == "death":
        worker.stop()
    made = drawn_in(tmp_path / "both", worker)
    assert repr(made) == repr(expected)  # NaN of a table is not equal to itself
    assert files(tmp_path / "both") == files(tmp_path / "alone")
    assert sorted(files(tmp_path / "both")) == sorted(f"{picture.name}.png" for picture in made)
    assert bool(own) == (befalls == "death")


@pytest.mark.slow
def test_a_process_that_gets_no_request_ends_with_the_one_that_started_it() -> None:
    worker = FigureWorker()
    worker._send("")
    worker.wait()
    assert worker._process.returncode == 0


def test_it_is_stopped_before_the_folder_where_it_writes_is_removed(tmp_path: Path, worker: FigureWorker) -> None:
    (tmp_path / "plots").mkdir()
    write_results(tmp_path / "results.json", RESULTS)
    with pytest.raises(KeyboardInterrupt), drawing(tmp_path, RESULTS, STYLE, worker):
        raise KeyboardInterrupt
    assert worker._process.poll() is not None
