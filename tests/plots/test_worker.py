"""Two processes draw what one draws, byte for byte; one that fails is made up for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from example_results import example
from pidlab.config.schema import Style
from pidlab.evaluate.results import write_results
from pidlab.plots import worker as figures
from pidlab.plots.gallery import write
from pidlab.plots.worker import FigureWorker, drawing

LOOK = Style(experiment="CMS", label="Preliminary")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "plots").iterdir()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[str]]:
    folder = tmp_path_factory.mktemp("alone")
    (folder / "plots").mkdir()
    svgs = [picture.svg for picture in write(example(), folder / "plots", LOOK)]
    return files(folder), svgs


@pytest.fixture
def second() -> Iterator[FigureWorker]:
    process = FigureWorker()
    yield process
    process.stop()


@pytest.mark.slow
@pytest.mark.parametrize("befalls", ["nothing", "no results", "death"])
def test_two_processes_draw_what_one_draws(
    tmp_path: Path,
    alone: tuple[dict[str, bytes], list[str]],
    second: FigureWorker,
    monkeypatch: pytest.MonkeyPatch,
    befalls: str,
) -> None:
    (tmp_path / "plots").mkdir()
    if befalls != "no results":
        write_results(tmp_path / "results.json", example())
    if befalls == "death":
        second.stop()
    own: list[str] = []
    one = figures.write_one
    monkeypatch.setattr(figures, "write_one", lambda sheet, name, *rest: own.append(name) or one(sheet, name, *rest))
    with drawing(tmp_path, example(), LOOK, second) as drawn:
        if befalls == "nothing":
            second.wait()
        made = drawn()
    assert [picture.svg for picture in made] == alone[1]
    assert files(tmp_path) == alone[0]
    assert (len(own) < len(made)) == (befalls == "nothing")


@pytest.mark.slow
def test_a_process_that_gets_no_order_ends_with_the_one_that_started_it() -> None:
    second = FigureWorker()
    second._tell("")
    second.wait()
    assert second._process.returncode == 0


def test_it_is_stopped_before_the_place_where_it_writes_is_removed(tmp_path: Path, second: FigureWorker) -> None:
    (tmp_path / "plots").mkdir()
    write_results(tmp_path / "results.json", example())
    with pytest.raises(KeyboardInterrupt), drawing(tmp_path, example(), LOOK, second):
        raise KeyboardInterrupt
    assert second._process.poll() is not None
