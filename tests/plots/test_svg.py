"""The SVG of every figure looks like its PNG: headless Chromium draws one, matplotlib the other, and both are compared.

The report shows SVG, and pictures of matplotlib alone never tell what a browser makes of it.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from chromium import Chromium, Page
from matplotlib.path import Path
from PIL import Image
from test_band_figures import _results as banded
from test_flat import ONE, measured
from test_identified_figures import results_with
from test_quality_output import results_of

from band_values import band_values
from example_results import example, reweighted
from explored_sample import explored
from pidlab.config.schema import Flat
from pidlab.evaluate.polygons import polygon_results
from pidlab.evaluate.results import Results
from pidlab.expressions import Polygon
from pidlab.plots import gallery
from pidlab.plots.canvas import recording, style
from pidlab.plots.on_request import Plots
from pidlab.plots.sheets.sheet import Sheet
from pidlab.report import page

AREAS, LINES = 5.0, 24.0
"""The largest `differences` of areas and of lines. Those of the figures are 1 and 17, for example white lines between
cells that one program hides below the frame; a missing band of opacity 0.2 makes 39 of both."""


def flat_points(name: str, spectators: list[Flat]) -> Results:
    _, found = measured(spectators, 4000, 4000)
    model = dataclasses.replace(found, name=name)
    return dataclasses.replace(example(), models={name: model}, comparisons=(), robustness={})


def with_a_polygon(results: Results) -> Results:
    """The results of a run with a polygon on two axes of its test sample."""
    rng = np.random.default_rng(1)
    _, sample = band_values(n=4000)
    sample = dataclasses.replace(sample, axes={"x": rng.standard_normal(4000), "y": rng.standard_normal(4000)})
    hole = Polygon("hole", "x", "y", ((-1.0, -1.0), (1.0, -0.5), (0.5, 1.0), (-1.0, -1.0)))
    return dataclasses.replace(results, polygons=polygon_results(sample, [hole], {}))


def samples() -> list[Results]:
    """Results of three classes with weights, what only measured models have, of four classes, of bands and polygons,
    of flat points, and of what is accepted."""
    return [
        reweighted(explored(example(("electron", "pion", "kaon")))), results_of(2), results_of(4),
        with_a_polygon(banded((1, 2))),
        flat_points("flat", ONE),
        flat_points("flat2", [Flat(x="P.p", bins=6, y="angle", y_bins=4)]),
        results_with(2, 1),
    ]  # fmt: skip


def compared() -> dict[str, Sheet]:
    """All figures of the samples, each name once."""
    sheets: dict[str, Sheet] = {}
    for results in samples():
        sheets |= {name: sheet for name, sheet in gallery.catalogue(results).items() if name not in sheets}
    return sheets


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def differences(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """How much two pictures, whose sides differ by a pixel at most, differ where they differ most: areas and lines.

    A pixel differs by what it lies beyond the range of the other picture within two pixels around it, of 255, because
    both programs move lines and letters to whole pixels in their own way. Areas are medians of 8 x 8 pixels, lines are
    means of 16 x 16.
    """
    assert np.abs(np.subtract(one.shape, other.shape)).max() <= 1
    rows, columns = np.minimum(one.shape, other.shape)[:2] // 16 * 16
    one, other = one[:rows, :columns], other[:rows, :columns]
    beyond = np.maximum(_beyond(one, other), _beyond(other, one)).max(axis=2)
    areas, lines = (
        beyond.reshape(rows // side, side, columns // side, side).swapaxes(1, 2).reshape(-1, side * side)
        for side in (8, 16)
    )
    return float(np.median(areas, axis=1).max()), float(lines.mean(axis=1).max())


def _beyond(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    above = np.subtract(one, _around(other, np.maximum), dtype=np.int16)
    below = np.subtract(_around(other, np.minimum), one, dtype=np.int16)
    return np.maximum(np.maximum(above, below), 0)


def _around(image: np.ndarray, choose: np.ufunc) -> np.ndarray:
    """The largest or smallest value of each colour in 5 x 5 pixels; slices of bytes take a tenth of scipy's filters."""
    for axis, n in enumerate(image.shape[:2]):
        padded = np.pad(image, [(2, 2) if i == axis else (0, 0) for i in range(3)], mode="edge")
        image = functools.reduce(choose, (padded.take(np.arange(k, k + n), axis) for k in range(5)))
    return image


class Browser:
    """Pictures of SVG as Chromium draws them."""

    def __init__(self, chromium: Chromium, folder: FilePath) -> None:
        self.page, self.folder = Page(chromium, width=1600), folder

    def pictures(self, files: Mapping[str, dict[str, bytes]]) -> dict[str, np.ndarray]:
        """Each SVG in the size of its PNG, in pixels."""
        images = []
        for i, (name, file) in enumerate(files.items()):
            (self.folder / f"{name}.svg").write_bytes(file["svg"])
            width, height = Image.open(io.BytesIO(file["png"])).size
            images.append(f'<p><img id="f{i}" src="{name}.svg" width="{width}" height="{height}"></p>')
        whole = self.folder / "page.html"
        whole.write_text(f"<style>img {{ display: block }}</style>{''.join(images)}", encoding="utf-8")
        self.page.open(whole)
        shots = {}
        for i, name in enumerate(files):
            self.page.screenshot(self.folder / "shot.png", f"#f{i}")
            shots[name] = pixels((self.folder / "shot.png").read_bytes())
        return shots


@pytest.fixture(scope="module")
def browser(chromium: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(chromium, tmp_path_factory.mktemp("svg"))
    yield made
    made.page.close()


def both(sheet: Sheet, name: str) -> dict[str, bytes]:
    return gallery.rendered(gallery.drawn(sheet, name), name, "png", "svg")


def missed(browser: Browser, files: Mapping[str, dict[str, bytes]]) -> dict[str, tuple[float, float]]:
    """The figures whose SVG is not their PNG, with the differences of areas and of lines."""
    shots = browser.pictures(files)
    found = {name: differences(shots[name], pixels(file["png"])) for name, file in files.items()}
    return {name: both for name, both in found.items() if both[0] > AREAS or both[1] > LINES}


@pytest.mark.slow
def test_a_browser_draws_every_figure_as_matplotlib_does(browser: Browser) -> None:
    assert missed(browser, {name: both(sheet, name) for name, sheet in compared().items()}) == {}


def test_every_kind_of_figure_is_compared() -> None:
    """A new kind of figure needs results that show it among `samples`."""
    results = samples()
    absent = [make.__name__ for make in gallery._SHEETS if not any(list(make(some)) for some in results)]
    assert absent == []


def test_every_figure_has_a_place_in_the_report_and_a_method() -> None:
    for sheet in compared().values():
        assert sheet.section in ("first", *page._TITLES), sheet.name
        assert callable(getattr(Plots, sheet.kind)), sheet.name


class LonePolygonAsMarker(recording.Recorder):
    """The recorder as it was: a polygon that matplotlib sends as a marker stays one, beside an undefined place."""

    def draw_markers(self, gc: Any, shape: Any, turned: Any, path: Path, trans: Any, rgbFace: Any = None) -> None:
        twice = Path(np.concatenate([path.vertices, np.full((1, 2), np.nan)])) if len(path.vertices) == 1 else path
        super().draw_markers(gc, shape, turned, twice, trans, rgbFace)


@pytest.mark.slow
def test_a_band_that_only_the_png_has_is_noticed(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("roc_proton", "roc_pairs_mlp", "merit_mlp")
    sheets = {name: sheet for name, sheet in compared().items() if name in names}
    monkeypatch.setattr(recording, "Recorder", LonePolygonAsMarker)
    found = missed(browser, {name: both(sheet, name) for name, sheet in sheets.items()})
    assert set(found) == set(names)
    assert all(areas > 5 * AREAS for areas, _ in found.values())


def test_a_missing_text_is_noticed() -> None:
    def picture(text: str) -> np.ndarray:
        with style.context("x"):
            figure = style.new_figure(3, 2)
            figure.subplots().text(0.1, 0.5, text)
            return pixels(gallery.rendered(figure, "x", "png")["png"])

    assert differences(picture("a text"), picture("a text")) == (0.0, 0.0)
    assert differences(picture("a text"), picture(""))[1] > LINES


def test_the_svg_holds_the_bands_of_curves_where_they_belong() -> None:
    """Each band is a filled path in the SVG, from its first to its last efficiency and as high as its bounds."""
    name = "roc_pairs_mlp"
    figure = gallery.drawn(compared()[name], name)
    with style.context(name):
        record = recording.recorded(figure, margin=0.08)
        svg = gallery.rendered(gallery.drawn(compared()[name], name), name, "svg")["svg"].decode()
    x, y = record.artists[0].origin
    height = record.get_figheight() * 72
    expected = []
    for band in figure.axes[0].collections:
        corners = figure.axes[0].transData.transform(band.get_paths()[0].vertices)
        expected.append([*(corners.min(axis=0) - (x, y)), *(corners.max(axis=0) - (x, y))])
    found = []
    for path in re.findall(r"<path ([^>]*fill-opacity: 0\.2[^>]*)/>", svg):
        drawn = np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path), dtype=float)
        low, high = drawn.min(axis=0), drawn.max(axis=0)
        found.append([low[0], height - high[1], high[0], height - low[1]])
    assert len(found) == 6
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)
