"""Laying a figure out once for several file formats: what it draws is recorded, and replayed to each format.

matplotlib goes through all artists and measures all texts once for each file, and once more to find the bounding box.
This costs several times as much as the drawing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.textpath import TextToPath
from matplotlib.transforms import Affine2D, Bbox, Transform, TransformedPath

_POINTS = 72.0  # per inch


class Typesetter:
    """Sizes and outlines of texts in the fonts of a style, kept because a formula takes milliseconds to typeset."""

    def __init__(self) -> None:
        self._texts = TextToPath()
        self._sizes: dict[tuple[str, FontProperties, Any], tuple[float, float, float]] = {}
        self._outlines: dict[tuple[str, FontProperties], Path] = {}

    def size(self, text: str, font: FontProperties, is_formula: Any) -> tuple[float, float, float]:
        """Returns width, height and descent in points, without hinting, so that they hold for vectors and pixels."""
        size = self._sizes.get((text, font, is_formula))
        if size is None:
            size = self._texts.get_text_width_height_descent(text, font, is_formula)
            self._sizes[text, font.copy(), is_formula] = size
        return size

    def outline(self, formula: str, font: FontProperties) -> Path:
        """Returns a formula as a path in points that begins at the origin."""
        path = self._outlines.get((formula, font))
        if path is None:
            vertices, codes = self._texts.get_text_path(font, formula, ismath=True)
            points = np.asarray(vertices).reshape(-1, 2) * (font.get_size_in_points() / self._texts.FONT_SCALE)
            path = Path(points, np.asarray(codes, Path.code_type))
            self._outlines[formula, font.copy()] = path
        return path


@cache
def _typesetter(_fonts: tuple[str, ...]) -> Typesetter:
    return Typesetter()


def typesetter() -> Typesetter:
    """Returns the typesetter for the fonts that matplotlib is set to."""
    return _typesetter(tuple(f"{k}{v}" for k, v in rcParams.items() if k.startswith(("font.", "mathtext."))))


class Stage:
    """The renderer of a file format, to which a record is replayed.

    Attributes:
        renderer: that of the file format.
        on: transforms points of the recorded figure, moved by (-x, -y), to units of the renderer; y points upwards.
        scale: units of the renderer in a point.
    """

    def __init__(self, renderer: RendererBase, x: float, y: float) -> None:
        self.renderer = renderer
        self.scale = float(np.asarray(renderer.points_to_pixels(1.0)))
        self.on = Affine2D().translate(-x, -y).scale(self.scale)
        self._clips: dict[tuple[float, ...], Bbox] = {}

    def pen(self, recorded: GraphicsContextBase) -> GraphicsContextBase:
        """Returns a graphics context of the renderer with the recorded properties."""
        pen = self.renderer.new_gc()
        pen.copy_properties(recorded)
        clip = recorded.get_clip_rectangle()
        if clip is not None:
            box = self._clips.get(clip.bounds)
            if box is None:
                box = self._clips[clip.bounds] = clip.transformed(self.on)
            pen.set_clip_rectangle(box)
        path: Any
        path, transform = recorded.get_clip_path()
        if path is not None and transform is not None:
            pen.set_clip_path(TransformedPath(path, transform + self.on))
        return pen


Play = Callable[[Stage], None]
"""Draws one path, set of markers or text."""


class Recorder(RendererBase):
    """A renderer that records paths, markers and texts.

    Coordinates are points from the lower left corner of the figure. Images are refused because their pixels depend on
    the format, and smooth shading because browsers draw it differently.

    Attributes:
        plays: what was drawn, in order.
        ink: the bounding box of each drawing, or the rectangle to which it is clipped.
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__()
        self.plays: list[Play] = []
        self.ink: list[Bbox] = []
        self._size = (width, height)
        self._type = typesetter()

    def get_canvas_width_height(self) -> tuple[float, float]:
        """Returns the size of the figure in points."""
        return self._size

    def flipy(self) -> bool:
        """Returns False: y grows upwards."""
        return False

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> tuple[float, float, float]:
        """Returns the size of a line of text in points."""
        return self._type.size(s, prop, ismath)

    def draw_path(self, gc: GraphicsContextBase, path: Path, transform: Transform, rgbFace: Any = None) -> None:
        """Records a path."""
        pen, placed = _copied(gc), _frozen(transform)
        if not self._clipped(pen):
            self._mark(path.get_extents(placed), gc.get_linewidth() / 2)
        self.plays.append(lambda to: to.renderer.draw_path(to.pen(pen), path, placed + to.on, rgbFace))

    def draw_markers(
        self,
        gc: GraphicsContextBase,
        marker_path: Path,
        marker_trans: Transform,
        path: Path,
        trans: Transform,
        rgbFace: Any = None,
    ) -> None:
        """Records a marker at each vertex of a path; one at a single place as a path.

        matplotlib sends a collection of one shape, such as the band of a curve, as a marker at (0, 0), and its SVG
        leaves out markers whose place lies outside the page, as (0, 0) does when a figure is cut to its ink.
        """
        pen, shape, placed = _copied(gc), _frozen(marker_trans), _frozen(trans)
        places = placed.transform(path.vertices)
        if len(places) == 1:
            x, y = places[0]
            self.draw_path(gc, marker_path, shape + Affine2D().translate(x, y), rgbFace)
            return
        if not self._clipped(pen):
            marker = marker_path.get_extents(shape)
            for point in places:
                self._mark(marker.translated(*point), gc.get_linewidth() / 2)

        def play(to: Stage) -> None:
            grown = shape + Affine2D().scale(to.scale)
            to.renderer.draw_markers(to.pen(pen), marker_path, grown, path, placed + to.on, rgbFace)

        self.plays.append(play)

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: Any,
        angle: float,
        ismath: Any = False,
        mtext: Text | None = None,
    ) -> None:
        """Records a line of text that begins at (x, y); a formula as outlines, so that formats need not typeset it."""
        pen, font, placed = _copied(gc), prop.copy(), Affine2D().rotate_deg(angle).translate(x, y)
        if not self._clipped(pen):
            width, height, descent = self._type.size(s, font, ismath)
            self._mark(placed.transform_bbox(Bbox.from_bounds(0, -descent, width, height)), 0)
        if ismath:
            pen.set_linewidth(0)
            outline, ink = self._type.outline(s, font), pen.get_rgb()
            self.plays.append(lambda to: to.renderer.draw_path(to.pen(pen), outline, placed + to.on, ink))
            return

        def play(to: Stage) -> None:
            there_x, there_y = to.on.transform((x, y))
            if to.renderer.flipy():
                there_y = to.renderer.get_canvas_width_height()[1] - there_y
            to.renderer.draw_text(to.pen(pen), there_x, there_y, s, font, angle, ismath, mtext)

        self.plays.append(play)

    def draw_image(self, *_: Any, **__: Any) -> None:
        """Refuses images.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("figures are made of paths and texts; draw a mesh in place of an image")

    def _clipped(self, pen: GraphicsContextBase) -> bool:
        """Returns whether drawing is clipped to a rectangle, and counts the rectangle as ink."""
        clip = pen.get_clip_rectangle()
        if clip is None:
            return False
        self.ink.append(clip)
        return True

    def _mark(self, box: Bbox, margin: float) -> None:
        if np.isfinite(box.get_points()).all():
            self.ink.append(box.padded(margin))


def _copied(gc: GraphicsContextBase) -> GraphicsContextBase:
    """Returns a copy of a graphics context, because the artist and its axes go on changing theirs."""
    pen = GraphicsContextBase()
    pen.copy_properties(gc)
    clip = gc.get_clip_rectangle()
    if clip is not None:
        pen.set_clip_rectangle(Bbox(clip.get_points().copy()))
    return pen


def _frozen(transform: Transform) -> Any:
    return transform.frozen()


class _Player(Artist):
    """Replays a record, moved by (-x, -y) points."""

    def __init__(self, plays: Sequence[Play], x: float, y: float) -> None:
        super().__init__()
        self.plays, self.origin = plays, (x, y)

    def draw(self, renderer: RendererBase) -> None:
        stage = Stage(renderer, *self.origin)
        for play in self.plays:
            play(stage)


def recorded(figure: Figure, margin: float) -> Figure:
    """Returns a figure that looks the same and is saved much faster, cut to its ink and `margin` inches around it.

    Raises:
        NotImplementedError: If the figure holds an image.
    """
    figure.set_dpi(_POINTS)
    figure.patch.set_visible(False)
    recorder = Recorder(*(figure.get_size_inches() * _POINTS))
    figure.draw(recorder)
    box = Bbox.union(recorder.ink).padded(margin * _POINTS)
    result = Figure(figsize=(box.width / _POINTS, box.height / _POINTS), dpi=_POINTS, facecolor="white")
    result.add_artist(_Player(recorder.plays, box.x0, box.y0))
    return result
