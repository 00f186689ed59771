"""What is recorded once styles as matplotlib itself draws it, in each format, and nothing of it is cut off."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.transforms import Bbox
from PIL import Image

from example_results import example
from pidlab.plots import gallery
from pidlab.plots.canvas import style
from pidlab.plots.canvas.recording import recorded

RESULTS = example()
DPI = 100
TOLERANCE = 7.0


def pixels(figure: Figure, **options) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, **options)
    return np.asarray(Image.open(buffer).convert("RGB"), dtype=float)


def difference(draw) -> float:
    """Root mean square, of 255, between a record and what matplotlib saves of the same box, in means of 5 x 5 pixels.

    Both lie on grids of pixels that differ by a part of one, which moves all edges of letters.
    """
    record = recorded(draw(), margin=0.1)
    x, y = record.artists[0].origin
    ours, box = pixels(record), Bbox.from_bounds(x / 72, y / 72, *record.get_size_inches())
    theirs = pixels(draw(), bbox_inches=box)
    assert np.abs(np.subtract(ours.shape, theirs.shape)).max() <= 1
    rows, columns = np.minimum(ours.shape, theirs.shape)[:2]
    return rms(ours[:rows, :columns] - theirs[:rows, :columns])


def rms(image: np.ndarray) -> float:
    rows, columns = (n // 5 * 5 for n in image.shape[:2])
    means = image[:rows, :columns].reshape(rows // 5, 5, columns // 5, 5, 3).mean(axis=(1, 3))
    return float(np.sqrt(np.mean(means**2)))


def axes() -> Axes:
    figure = style.new_figure(3, 2.5)
    return figure.add_axes((0.2, 0.2, 0.7, 0.7))


def clipped_by_a_path() -> Figure:
    ax = axes()
    line = ax.plot([0, 1], [0, 1], linewidth=20)[0]
    line.set_clip_path(Circle((0.5, 0.5), 0.3, transform=ax.transData))
    return ax.figure


def formulas() -> Figure:
    ax = axes()
    ax.set(yscale="log", ylim=(1e-5, 10), xlabel=r"$\sqrt{s_{12}}$ [GeV]", title=r"$\frac{p}{E}$")
    ax.text(0.2, 0.1, r"$\beta\gamma$ aside", rotation=40, color="red", fontsize=20)
    return ax.figure


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(name for name in gallery.catalogue(RESULTS) if not re.match("map.*_cuts", name))
)
def test_every_figure_looks_as_matplotlib_draws_it(name: str) -> None:
    with style.context(name):
        assert difference(lambda: gallery.drawn(gallery.catalogue(RESULTS)[name], name)) < TOLERANCE


@pytest.mark.parametrize("draw", [clipped_by_a_path, formulas])
def test_clips_and_formulas_do_too(draw) -> None:
    with style.context("x"):
        assert difference(draw) < TOLERANCE
        for suffix in ("pdf", "svg"):
            recorded(draw(), margin=0.1).savefig(io.BytesIO(), format=suffix)


def test_a_moved_curve_is_told() -> None:
    def moved(by: float) -> Figure:
        ax = axes()
        ax.plot([0, 1], [by, 1], linewidth=3)
        ax.set(ylim=(0, 1))
        return ax.figure

    with style.context("x"):
        kept = [pixels(recorded(moved(by), margin=0.1)) for by in (0.0, 0.1)]
    assert rms(kept[0] - kept[1]) > 1.5 * TOLERANCE


def test_what_stands_far_out_is_inside_with_a_margin_around_it() -> None:
    def wide() -> Figure:
        ax = axes()
        ax.text(-1.5, 0.5, "far to the left", clip_on=False, fontsize=20)
        ax.plot([2.0], [0.5], "o", clip_on=False, markersize=20)
        ax.plot([0.5], [40.0], "o")
        ax.set(xlim=(0, 1), ylim=(0, 1))
        return ax.figure

    with style.context("x"):
        ink = (pixels(recorded(wide(), margin=0.1)) < 250).any(axis=2)
    for side in (ink.any(axis=1), ink.any(axis=0)):
        found = np.flatnonzero(side)
        assert 6 <= found[0] <= 14
        assert 6 <= len(side) - 1 - found[-1] <= 14


def test_pdf_keeps_names_as_text_and_all_formats_are_the_same_each_time() -> None:
    name = "roc"
    first, again = (
        gallery.rendered(gallery.drawn(gallery.catalogue(RESULTS)[name], name), name, "png", "pdf", "svg")
        for _ in range(2)
    )
    assert first == again
    assert re.search(rb"/Type /Font\b", first["pdf"])


def test_smooth_shading_is_refused() -> None:
    ax = axes()
    ax.pcolormesh([0, 1, 2], [0, 1], [[0, 1, 2], [2, 0, 1]], shading="gouraud")
    with pytest.raises(NotImplementedError):
        recorded(ax.figure, margin=0.1)


def test_an_image_is_refused() -> None:
    ax = axes()
    ax.imshow(np.eye(3))
    with pytest.raises(NotImplementedError, match="draw a mesh"):
        recorded(ax.figure, margin=0.1)
