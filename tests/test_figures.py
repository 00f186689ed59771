"""Two processes draw what one draws, byte for byte; one that fails is made up for."""

from __future__ import annotations

from pathlib import Path

import pytest

from example_results import example
from pidlab import figures
from pidlab.config.schema import Style
from pidlab.evaluate.stored import write_results
from pidlab.figures import draw_figures
from pidlab.plots.gallery import write

LOOK = Style(experiment="CMS", label="Preliminary")


def drawn(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "plots").iterdir()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[str]]:
    folder = tmp_path_factory.mktemp("alone")
    (folder / "plots").mkdir()
    svgs = [picture.svg for picture in write(example(), folder / "plots", LOOK)]
    return drawn(folder), svgs


@pytest.mark.parametrize("helped", [True, False])
def test_two_processes_draw_what_one_draws(
    tmp_path: Path, alone: tuple[dict[str, bytes], list[str]], monkeypatch: pytest.MonkeyPatch, helped: bool
) -> None:
    monkeypatch.setattr(figures, "WORTH_IT", 2)
    (tmp_path / "plots").mkdir()
    if helped:
        write_results(tmp_path / "results.json", example())
    own: list[str] = []
    one = figures.write_one
    monkeypatch.setattr(figures, "write_one", lambda sheet, name, *rest: own.append(name) or one(sheet, name, *rest))
    made = draw_figures(tmp_path, example(), LOOK, n_processes=2)
    assert [picture.svg for picture in made] == alone[1]
    assert drawn(tmp_path) == alone[0]
    assert (len(own) < len(made)) == helped
