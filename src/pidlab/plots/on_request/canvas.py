"""Where a figure is drawn: a figure of its own, axes of the user, or the user's figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase

from pidlab.errors import UsageError
from pidlab.plots.canvas.style import context


class StyledFigure(Figure):
    """A figure that is drawn and saved in the style that it was made in, whatever matplotlib is set to by then.

    matplotlib looks up fonts and makes ticks when a figure is drawn, which for a notebook is after the call that made
    it. A file holds the whole figure, also what stands outside its margins, unless `bbox_inches` says otherwise.
    """

    def __init__(self, *args: Any, salt: str = "pidlab", experiment: str = "none", **options: Any) -> None:
        super().__init__(*args, **options)
        self._look = (salt, experiment)
        self.panels: list[Axes] = []

    def subplots(self, *args: Any, **options: Any) -> Any:
        """Returns new panels, as matplotlib does, and keeps them in `panels`."""
        made = super().subplots(*args, **options)
        self.panels.extend(np.ravel(made))
        return made

    def draw(self, renderer: Any) -> None:
        """Draws the figure in its own style."""
        with context(*self._look):
            super().draw(renderer)

    def get_tightbbox(self, *args: Any, **options: Any) -> Any:
        """Returns the box around everything, measured in the figure's own fonts."""
        with context(*self._look):
            return super().get_tightbbox(*args, **options)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Saves the figure, as matplotlib does, by default cut to its ink."""
        super().savefig(fname, **{"bbox_inches": "tight", **options})


class _Place(Figure):
    """Stands for a new figure where a drawing asks for one, and gives it panels of the user's figure."""

    def __init__(self, panels: Callable[..., Any]) -> None:
        super().__init__()
        self._make = panels

    def subplots(self, nrows: int = 1, ncols: int = 1, *, squeeze: bool = True, **options: Any) -> Any:
        """Returns the panels: a single Axes, or an array as matplotlib gives it."""
        panels = np.asarray(self._make(nrows, ncols, **options), dtype=object).reshape(nrows, ncols)
        if not squeeze:
            return panels
        return panels.item() if panels.size == 1 else panels.squeeze()


class Canvas:
    """Makes what a drawing asks for by `new_figure`, and knows afterwards what was drawn on.

    Attributes:
        figure: the Figure or SubFigure that was drawn on.
        styled: whether the figure is a new one in pidlab's style, rather than the user's.
        look: the salt and the experiment of that style, as in `style.context`.
    """

    def __init__(self, ax: Axes | None = None, figure: Any = None) -> None:
        self._ax = ax
        self.figure: Any = figure if ax is None else ax.figure
        self.styled = ax is None and figure is None
        self.look: dict[str, Any] = {}
        self._panels: list[Axes] = []

    @property
    def panels(self) -> list[Axes]:
        """Returns the axes that were drawn on, without colour bars and without those that a drawing took away."""
        made = self.figure.panels if isinstance(self.figure, StyledFigure) else self._panels
        return [ax for ax in made if ax.figure is not None]

    def make(self, width: float, height: float) -> Figure:
        """Returns a figure of `width` x `height` inches, or what stands for it."""
        if self.styled:
            made = self.figure = self._new(width, height)
            return made
        return _Place(self._in_axes if self._ax is not None else self._in_figure)

    def _new(self, width: float, height: float) -> StyledFigure:
        figure = StyledFigure(figsize=(width, height), **self.look)
        FigureCanvasAgg(figure)
        return figure

    def _in_figure(self, nrows: int, ncols: int, **options: Any) -> Any:
        made = self.figure.subplots(nrows, ncols, squeeze=False, **options)
        self._panels.extend(np.ravel(made))
        return made

    def _in_axes(
        self,
        nrows: int,
        ncols: int,
        *,
        sharex: Any = False,
        sharey: Any = False,
        gridspec_kw: dict[str, Any] | None = None,
        **ratios: Any,
    ) -> Any:
        ax = self._ax
        assert ax is not None
        if nrows * ncols == 1:
            self._panels.append(ax)
            return [[ax]]
        options = {**(gridspec_kw or {}), **ratios}
        place = ax.get_subplotspec()
        if place is not None:
            grid: Any = place.subgridspec(nrows, ncols, **options)
        else:
            box = ax.get_position()
            sides = {"left": box.x0, "right": box.x1, "bottom": box.y0, "top": box.y1}
            grid = self.figure.add_gridspec(nrows, ncols, **sides, **options)
        ax.remove()
        made = grid.subplots(sharex=sharex, sharey=sharey, squeeze=False)
        self._panels.extend(np.ravel(made))
        return made


class PyplotCanvas(Canvas):
    """A new figure that pyplot manages: notebooks show it, and so does `pyplot.show`."""

    def __init__(self, dpi: float) -> None:
        super().__init__()
        self._dpi = dpi

    def _new(self, width: float, height: float) -> StyledFigure:
        from matplotlib import pyplot

        made = pyplot.figure(figsize=(width, height), dpi=self._dpi, FigureClass=StyledFigure, **self.look)
        assert isinstance(made, StyledFigure)
        return made

    def close(self) -> None:
        """Makes pyplot forget the figure."""
        from matplotlib import pyplot

        if self.figure is not None:
            pyplot.close(self.figure)


def canvas_for(ax: Any, figure: Any) -> Canvas:
    """Returns the canvas for the axes or the figure of a user; a new figure of pyplot if both are None.

    Raises:
        UsageError: both are given, one is of another type, or nothing can be drawn there.
    """
    if ax is not None and figure is not None:
        raise UsageError("give ax= or figure=, not both: axes know their figure")
    if ax is None and figure is None:
        return PyplotCanvas(rcParams["figure.dpi"])
    if ax is not None:
        if not isinstance(ax, Axes):
            kind = "an array of them; choose one, as in ax=axes[0]" if isinstance(ax, Sequence | np.ndarray) else ax
            raise UsageError(f"ax= takes one Axes of matplotlib, not {kind!s:.80}")
        if ax.figure is None:
            raise UsageError(
                "ax= has been removed from its figure; a figure of several panels takes the place of the axes that "
                "it is given, so give other ones"
            )
        return Canvas(ax)
    if not isinstance(figure, FigureBase):
        raise UsageError(f"figure= takes a Figure or SubFigure of matplotlib, not {figure!s:.80}")
    if figure.axes:
        raise UsageError("figure= already has axes, which would be drawn over; give one of them by ax=")
    return Canvas(figure=figure)
