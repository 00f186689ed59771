"""The label of an experiment above a figure: name, text, luminosity and energy, as mplhep writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mplhep
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from mplhep.label import exp_label

from pidlab.config.schema import Style
from pidlab.plots.canvas.style import families

_SIZES = (15.0, 12.0, 11.0, 9.0)
_GAP = 10.0


def put_label(figure: Any, style: Style, axes: Sequence[Axes] | None = None) -> None:
    """Writes the label of `style` above everything on `figure`, from its leftmost to its rightmost axes.

    Nothing that was drawn moves. A label wider than the figure is written smaller. Call it within `style.context`.

    Args:
        figure: a Figure, or with `axes` also a SubFigure.
        style: that of the label.
        axes: write it above these only; None writes it above all axes.
    """
    if style.experiment in ("none", "ROOT") and not (style.label or style.com or style.lumi):
        return
    ax = _strip(figure) if axes is None else _strip_above(figure, axes)
    texts = _written(ax, style, 1.0)
    width = sum(t.get_window_extent().width for t in texts) + _GAP * (len(texts) - 1)
    room = ax.get_window_extent().width
    if width > room:
        for text in texts:
            text.remove()
        _written(ax, style, room / width)


def _strip(figure: Figure) -> Axes:
    """Adds axes without height or lines on top of the figure and returns them."""
    box = figure.get_tightbbox()
    spans = [ax.get_position() for ax in figure.axes]
    left, right = min(s.x0 for s in spans), max(s.x1 for s in spans)
    top = (box.y1 + 0.04) / figure.get_figheight()
    strip = figure.add_axes((left, top, right - left, 1e-3), frameon=False)
    strip.set(xticks=[], yticks=[], label="experiment")
    return strip


def _strip_above(figure: Any, axes: Sequence[Axes]) -> Axes:
    """Adds axes without height or lines above `axes`, without moving anything, and returns them."""
    own = [ax.get_window_extent() for ax in axes]
    boxes = [box for box in (ax.get_tightbbox() for ax in axes) if box is not None]
    top = Bbox.union(boxes).y1 + 0.04 * figure.get_figure(root=True).get_dpi()
    place = Bbox([[min(b.x0 for b in own), top], [max(b.x1 for b in own), top]])
    inside = place.transformed(figure.transSubfigure.inverted())
    strip: Axes = figure.add_axes((inside.x0, inside.y0, inside.width, 1e-3), frameon=False)
    strip.set(xticks=[], yticks=[], label="experiment", in_layout=False)
    return strip


def _written(ax: Axes, style: Style, scale: float) -> list[Text]:
    sizes = tuple(size * scale for size in _SIZES)
    com, lumi = (f"{number:g}" if number is not None else None for number in (style.com, style.lumi))
    options: dict[str, Any] = {"data": style.data, "com": com, "lumi": lumi, "fontsize": sizes, "loc": 0}
    made = _labeller(style)(text=style.label, rlabel=None, scilocator_adjust=False, ax=ax, **options)
    return [text for text in made if text is not None and text.get_text()]


def _labeller(style: Style) -> Callable[..., tuple[Text | None, ...]]:
    """Returns mplhep's function for the experiment; for none, one that writes the label without "Simulation"."""
    modules = {
        "CMS": mplhep.cms, "ATLAS": mplhep.atlas, "ALICE": mplhep.alice, "LHCb": mplhep.lhcb, "DUNE": mplhep.dune,
    }  # fmt: skip
    if style.experiment not in modules:
        return partial(exp_label, exp="", llabel=style.label)
    chosen: Callable[..., tuple[Text | None, ...]] = modules[style.experiment].label
    return partial(chosen, fontname=families("serif")) if style.experiment == "LHCb" else chosen
