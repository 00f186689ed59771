"""The style of all figures: mplhep's ROOT style at smaller sizes, fixed colours, and names drawn verbatim."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font_names
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.mathtext import MathTextParser
from numpy.typing import NDArray

from pidlab.evaluate.results import Histogram, ModelResult, RegressionModel
from pidlab.measured import Array, Measured, bounds
from pidlab.plots.canvas.recording import typesetter

GREY = "#5f6368"
NO_LABELS: Mapping[str, str] = MappingProxyType({})

# Okabe and Ito's colours for classes (https://jfly.uni-koeln.de/color/); those of models are others, so that a class is
# not taken for a model. Both were made for colour-blind readers.
_CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_MODEL_COLOURS = {
    "cuts": "#3875f2", "bdt": "#a8000f", "mlp": "#921296", "expression": "#c78119", "fisher": "#0ea780",
    "naive_bayes": "#6f7378", "logistic": "#c8663b", "score": "#dccb00", "sklearn": "#70d558", "onnx": "#f29fd1",
    "tmva": "#69cc95", "tree": "#8c6d31", "band": "#223344", "mixture": "#4d8f3c", "autoencoder": "#a56de2",
    "likelihood": "#1100ee",
}  # fmt: skip
"""The colour of the first model of each type. It belongs to the type, so that it stays when models are added.

They began as Petroff's (arXiv:2107.02270) and were moved apart until the closest two differed by 14 in CIE L*a*b* for
normal and for colour-blind sight.
"""
_OTHER_TYPE = "#444444"
_LOOKS_LIKE = {"linear": "fisher", "constant": "naive_bayes"}
"""Types that only a regression has, and types of the same look that no regression has."""
_TONES = (0.0, -0.53, 0.3)
"""How the further models of a type change its colour: towards black by this share, then towards white."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))

_SMALLER: dict[str, Any] = {
    "font.size": 12.0,
    "legend.fontsize": 11.0,
    "axes.linewidth": 1.0,
    "lines.linewidth": 1.6,
    "axes.unicode_minus": True,
    "axes.titley": 1.0,  # a fixed height: otherwise each figure is searched for ticks above its axes
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    **{f"{axis}tick.major.size": 5.0 for axis in "xy"},
    **{f"{axis}tick.minor.size": 2.5 for axis in "xy"},
    **{f"{axis}tick.major.pad": 4.0 for axis in "xy"},
    "figure.facecolor": "white",
    "figure.dpi": 72.0,  # that of PDF and SVG, so that text is measured once for all formats
    "text.usetex": False,
    "text.hinting": "none",  # letters are as wide in pixels as in vector formats
    "svg.fonttype": "path",
}


@dataclass(frozen=True, slots=True)
class LineStyle:
    """The colour, marker and line by which every figure draws one model, class or working point."""

    colour: str
    marker: str
    line: Any


BLACK = LineStyle("black", "o", "-")
"""What is drawn of no model, class or working point in particular, such as data."""

# What is taken from an experiment's style: fonts, ticks, and the places of axis labels. Sizes stay ours.
_FROM_EXPERIMENT = ("font.family", "mathtext.", "xtick.", "ytick.", "xaxis.", "yaxis.", "axes.label")
_STYLES = {"LHCb": "LHCb2", "none": "ROOT"}
_FONTS = {"sans-serif": ("TeX Gyre Heros", "DejaVu Sans"), "serif": ("TeX Gyre Termes", "DejaVu Serif")}


@contextmanager
def context(salt: str = "pidlab", experiment: str = "none") -> Iterator[None]:
    """Sets matplotlib to pidlab's style for the length of the block, in which figures are made, drawn and saved.

    The user's matplotlibrc has no effect inside. `salt` makes the identifiers in an SVG reproducible, and
    `experiment` chooses fonts and ticks, as in `config.schema.Style`.
    """
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        whole = getattr(mplhep.style, _STYLES.get(experiment, experiment))
        kept = [key for key in whole if key.startswith(_FROM_EXPERIMENT) and not key.endswith(("size", "width"))]
        own = {key: whole[key] for key in kept}
        settings: dict[Any, Any] = {**mplhep.style.ROOT, **own, **_SMALLER, **_fonts(own), "svg.hashsalt": salt}
        mpl.rcParams.update(settings)
        # Names in a script that no font has are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@cache
def families(kind: str) -> list[str]:
    """Returns the font families for "serif" or "sans-serif": those of `_FONTS` that this machine has."""
    present = {name.lower() for name in get_font_names()}
    return [name for name in _FONTS[kind] if name.lower() in present]


def _fonts(own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings of fonts, with matplotlib's own for mathematics if those of the style are absent."""
    settings: dict[str, Any] = {f"font.{kind}": families(kind) for kind in _FONTS}
    family = own.get("font.family", "sans-serif")
    kind = family if isinstance(family, str) else family[0]
    if own.get("mathtext.fontset") == "custom" and len(families(kind)) < len(_FONTS[kind]):
        settings["mathtext.fontset"] = "dejavuserif" if kind == "serif" else "dejavusans"
    return settings


_MAKER: ContextVar[Callable[[float, float], Figure] | None] = ContextVar("maker", default=None)
_KNOWN_STYLES: ContextVar[Mapping[str, LineStyle]] = ContextVar("known_styles", default=MappingProxyType({}))


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of width x height inches that pyplot does not manage, or what `drawing_on` makes."""
    maker = _MAKER.get()
    if maker is not None:
        return maker(width, height)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def drawing_on(
    maker: Callable[[float, float], Figure], models: Iterable[ModelResult | RegressionModel]
) -> Iterator[None]:
    """Lets `maker` make what `new_figure` returns, for the length of the block.

    Args:
        maker: takes the width and the height in inches that the drawing asks for.
        models: all models of the run, which decide the style of each if only some of them are drawn.
    """
    made, known = _MAKER.set(maker), _KNOWN_STYLES.set(model_styles(models))
    try:
        yield
    finally:
        _MAKER.reset(made)
        _KNOWN_STYLES.reset(known)


def class_styles(classes: Sequence[str], signal: str) -> dict[str, LineStyle]:
    """Returns a style for each class; the signal always has the first."""
    ordered = [signal, *(name for name in classes if name != signal)]
    return {name: _line_style(i, _CLASS_COLOURS) for i, name in enumerate(ordered)}


def model_styles(models: Iterable[ModelResult | RegressionModel]) -> dict[str, LineStyle]:
    """Returns a style for each model, by its type and how many of that type stand before it in the configuration.

    So a model keeps its style when models of other types are added anywhere, or models of its own type after it. The
    type decides the hue. The first model of a type has its plain colour, the second a dark tone, the third a light one,
    and from the fourth on these repeat with other dashes and markers. Inside `drawing_on` some of its models have the
    styles that they have among all.
    """
    known = _KNOWN_STYLES.get()
    before: dict[str, int] = {}
    styles = {}
    for model in models:
        n = before[model.kind] = before.get(model.kind, -1) + 1
        styles[model.name] = known.get(model.name) or _model_style(model.kind, n)
    return styles


def _model_style(kind: str, n: int) -> LineStyle:
    """Returns the style of model number `n` of the type `kind`, counted from 0."""
    kind = _LOOKS_LIKE.get(kind, kind)
    first = list(_MODEL_COLOURS).index(kind) if kind in _MODEL_COLOURS else len(_MODEL_COLOURS)
    colour = toned(_MODEL_COLOURS.get(kind, _OTHER_TYPE), _TONES[n % len(_TONES)])
    # Tones repeat after 3 models and dashes after 5, so that the first 15 of a type differ in one of them.
    i = first + 2 * n
    return LineStyle(colour, _MARKERS[i % len(_MARKERS)], _LINES[i % len(_LINES)])


def toned(colour: str, share: float) -> str:
    """Returns `colour` mixed with `share` of white, or with -`share` of black."""
    target = 1.0 if share > 0 else 0.0
    red, green, blue = (c + abs(share) * (target - c) for c in mpl.colors.to_rgb(colour))
    return str(mpl.colors.to_hex((red, green, blue)))


def pair_styles(n: int) -> list[LineStyle]:
    """Returns styles for `n` pairs of classes of one model."""
    colours = tuple(_MODEL_COLOURS.values())
    return [_line_style(i, colours) for i in range(n)]


def point_styles(working_points: Sequence[str]) -> dict[str, LineStyle]:
    """Returns a style for each working point, from dark to light in the order of `working_points`."""
    shades = mpl.colormaps["viridis"](np.linspace(0.05, 0.75, max(len(working_points), 1)))
    colours = tuple(mpl.colors.to_hex(shade) for shade in shades)
    return {name: _line_style(i, colours) for i, name in enumerate(working_points)}


def _line_style(i: int, colours: Sequence[str]) -> LineStyle:
    return LineStyle(colours[i % len(colours)], _MARKERS[i % len(_MARKERS)], _LINES[i % len(_LINES)])


def shown(name: str, limit: int = 40) -> str:
    """Returns `name` on one line; if it is longer than `limit`, its middle is replaced by an ellipsis."""
    line = "".join(c if c.isprintable() else " " for c in name)
    if len(line) <= limit:
        return line
    half = (limit - 1) // 2
    return f"{line[:half]}…{line[-half:]}"


class Caption(NamedTuple):
    """A text of a figure; if `tex`, text between dollars is mathematics, otherwise every character is literal."""

    text: str
    tex: bool = False


def caption(name: str, labels: Mapping[str, str], limit: int = 40, remark: str = "") -> Caption:
    """Returns the label of a feature or spectator, or its name if it has no label, followed by `remark`.

    Backquotes, between which an expression has names of branches, are left out.
    """
    label = labels.get(name)
    if label is None:
        return Caption(shown(name.replace("`", ""), limit) + remark)
    return Caption(label + remark, tex=True) if is_tex(label) else Caption(shown(label, limit) + remark)


@cache
def is_tex(text: str) -> bool:
    """Returns whether `text` holds mathematics that matplotlib can typeset; other text is drawn verbatim."""
    if "$" not in text:
        return False
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True


def _as_caption(text: str | Caption) -> Caption:
    return Caption(text) if isinstance(text, str) else text


def label_axes(ax: Axes, x: str | Caption, y: str | Caption) -> None:
    """Labels the axes; a `str` is drawn verbatim."""
    for put, text in ((ax.set_xlabel, _as_caption(x)), (ax.set_ylabel, _as_caption(y))):
        put(text.text, parse_math=text.tex)


def name_ticks(ax: Axes, axis: str, names: Sequence[str | Caption], **text: Any) -> None:
    """Sets a tick for each name, at 0, 1, 2 … along `axis` ("x" or "y")."""
    which = ax.xaxis if axis == "x" else ax.yaxis
    captions = [_as_caption(shown(name) if isinstance(name, str) else name) for name in names]
    which.set_ticks(range(len(names)), [c.text for c in captions], parse_math=False, **text)
    for tick, each in zip(which.get_major_ticks(), captions, strict=True):
        tick.label1.set_parse_math(each.tex)
    ax.tick_params(axis=axis, which="both", length=0)  # type: ignore[arg-type]  # "x" or "y"


def write_text(ax: Axes, x: float, y: float, text: str, **properties: Any) -> None:
    """Writes `text` verbatim at (x, y) in data coordinates."""
    ax.text(x, y, text, parse_math=False, **properties)


def legend(
    ax: Axes, entries: Sequence[tuple[Artist | Any, str]], title: str = "", above: float = 1.0, columns: int = 8
) -> Legend | None:
    """Draws a legend above the axes, where it hides no data; None if there is nothing to say.

    It has as many columns as fit between the left edge of the axes and the right edge of the rightmost axes, because
    what reaches further widens the figure.

    Args:
        ax: the axes, one unit high.
        entries: drawn artists and their names.
        title: heads the entries.
        above: where the legend begins, in units of the height of the axes.
        columns: the largest number of columns.
    """
    if not entries and not title:
        return None
    texts = [shown(text, 56) for _, text in entries]  # two names of 12 characters and an AUC with both its errors
    n_columns = _columns_that_fit(ax, texts, columns)
    # matplotlib ignores labels with a leading underscore, so the names are set afterwards.
    made = ax.legend(
        [handle for handle, _ in entries], ["entry"] * len(entries), loc="lower left", bbox_to_anchor=(0.0, above),
        ncols=n_columns, title=title and shown(title, 56), alignment="left", borderaxespad=0.3, borderpad=0.2,
        columnspacing=_COLUMN_GAP, title_fontproperties={"weight": "bold"},
    )  # fmt: skip
    for drawn, text in zip(made.get_texts(), texts, strict=True):
        drawn.set_text(text)
        drawn.set_parse_math(False)
    made.get_title().set_parse_math(False)
    return made


_COLUMN_GAP = 1.4  # in units of the size of the letters, as the lengths of matplotlib's legends


def _columns_that_fit(ax: Axes, texts: Sequence[str], most: int) -> int:
    """Returns the largest number of columns, at most `most`, whose lines and texts fit above the axes; at least 1."""
    letters = FontProperties(size=mpl.rcParams["legend.fontsize"])
    em = letters.get_size_in_points()
    line = (mpl.rcParams["legend.handlelength"] + mpl.rcParams["legend.handletextpad"]) * em
    widths = [line + typesetter().size(text, letters, False)[0] for text in texts]
    room = (max(each.bbox.x1 for each in ax.figure.axes) - ax.bbox.x0) * 72 / ax.figure.dpi
    for n in range(min(most, len(texts)), 1, -1):
        columns = [float(column.max()) for column in np.array_split(widths, n)]  # as matplotlib fills them
        if sum(columns) + (n - 1) * _COLUMN_GAP * em <= room:
            return n
    return 1


def legend_lines(styles: Mapping[str, LineStyle], names: Iterable[str], *, marker: bool) -> list[tuple[Artist, str]]:
    """Returns entries for `legend`: a line for each of `names`, with or without its marker."""
    entries: list[tuple[Artist, str]] = []
    for name in names:
        style = styles[name]
        shape = style.marker if marker else ""
        entries.append((Line2D([], [], color=style.colour, linestyle=style.line, marker=shape, ms=4), name))
    return entries


def visible_edges(edges: Array) -> tuple[Array, str]:
    """Returns the edges to draw, and a remark that names the end of an outer bin that is drawn shorter than it is.

    The outer bins of equal population reach to the furthest outlier. One that is more than three times as wide as
    all inner bins together is drawn with the average width of these, so that it does not flatten them.
    """
    drawn = edges.copy()
    remarks = []
    inner = float(edges[-2] - edges[1])
    if len(edges) > 3:
        width = inner / (len(edges) - 3)
        if edges[1] - edges[0] > 3 * inner:
            drawn[0] = edges[1] - width
            remarks.append(f"first bin from {edges[0]:.4g}")
        if edges[-1] - edges[-2] > 3 * inner:
            drawn[-1] = edges[-2] + width
            remarks.append(f"last bin to {edges[-1]:.4g}")
    return drawn, f"  ({', '.join(remarks)})" if remarks else ""


def error_lengths(value: Array, low: Array, high: Array) -> NDArray[np.float64]:
    """Returns (2, m) lengths of the error bars down to `low` and up to `high`; 0 if `value` lies beyond a bound."""
    return np.stack([np.fmax(value - low, 0.0), np.fmax(high - value, 0.0)])


def with_errors(numbers: Sequence[Measured]) -> tuple[Array, Array]:
    """Returns the (m,) values of `numbers` and the (2, m) lengths of their error bars."""
    value, low, high = bounds(numbers)
    return value, error_lengths(value, low, high)


def draw_points(ax: Axes, x: Any, y: Any, style: LineStyle, size: float, width: float = 1.2, **further: Any) -> Any:
    """Draws points of a `size` with error bars of a `width`, whose lengths are `xerr` and `yerr`, and returns them."""
    look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markersize": size, "elinewidth": width}
    return ax.errorbar(x, y, linestyle="none", **look, **further)


class DrawnDensity(NamedTuple):
    """A histogram as it was drawn with unit area: what a legend shows, and the (b,) densities of its bins."""

    artist: Any
    values: Array


def draw_density(histogram: Histogram, ax: Axes, *, points: bool = False, **properties: Any) -> DrawnDensity | None:
    """Draws `histogram` with unit area inside its axis range, as steps, or as points with errors.

    Errors are the square roots of the sums of squared weights. The y axis may begin at zero without a margin.

    Args:
        histogram: its bins inside the range are drawn.
        ax: where to draw.
        points: draws points with errors in place of steps.
        properties: those of matplotlib's `stairs`, or of its `errorbar` for points.

    Returns:
        None, and nothing is drawn, if the sum of weights is not positive.
    """
    sumw, edges = histogram.sumw[1:-1], histogram.edges
    if not np.sum(sumw) > 0:
        return None
    area = np.sum(sumw) * np.diff(edges)
    values = sumw / area
    artist: Any
    if points:
        look = {"linestyle": "none", "marker": ".", "elinewidth": 1.0, **properties}
        errors = np.sqrt(histogram.sumw2[1:-1]) / area
        artist = ax.errorbar((edges[1:] + edges[:-1]) / 2, values, yerr=errors, **look)
        artist.lines[0].sticky_edges.y.append(0)
    else:
        artist = ax.stairs(values, edges, **properties)
        artist.sticky_edges.y.append(0)
    return DrawnDensity(artist, values)


def draw_densities(
    drawn: Iterable[tuple[str, Histogram, Mapping[str, Any]]], ax: Axes, missing: str = ""
) -> tuple[list[tuple[Any, str]], Array]:
    """Draws histograms by `draw_density`, each with its name and its properties; or `missing` if all are empty.

    Returns:
        What a legend shows of each with its name, and the densities in all their bins.
    """
    entries: list[tuple[Any, str]] = []
    heights: list[Array] = [np.array([])]
    for name, histogram, properties in drawn:
        found = draw_density(histogram, ax, **properties)
        if found is not None:
            entries.append((found.artist, name))
            heights.append(found.values)
    if missing and not entries:
        nothing_to_draw(ax, missing)
    return entries, np.concatenate(heights)


def outline(style: LineStyle) -> dict[str, Any]:
    """Returns the properties by which `draw_density` draws an outline in a style."""
    return {"color": style.colour, "linestyle": style.line}


def draw_limits(ax: Axes, x: Array, limits: Array, style: LineStyle, *, up: bool = False) -> Any:
    """Draws upper limits (m,) at `x` (m,) as bars with arrows down, or lower limits with arrows up; none where NaN.

    They stand for points that a logarithmic axis cannot show. An arrow reaches to half of its limit, or to its double.
    Returns the drawn artist, or None if there is none.
    """
    known = np.isfinite(limits) & (limits > 0)
    if not known.any():
        return None
    x, limits = x[known], limits[known]
    return ax.errorbar(
        x, limits, yerr=limits if up else limits / 2, uplims=not up, lolims=up, color=style.colour,
        marker="_", markersize=6, markeredgewidth=1.2, linestyle="none", elinewidth=1.0, capsize=2.0,
    )  # fmt: skip


def log_scale(ax: Axes, values: Array, below: float = 2.0, above: float = 2.0, least: float = 1.0) -> None:
    """Makes the y axis logarithmic around the positive `values`; it stays linear if there are none.

    The axis extends by the factors `below` and `above` beyond the values, and spans at least the factor `least`.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive):
        top = float(positive.max()) * above
        ax.set_yscale("log")
        ax.set_ylim(min(float(positive.min()) / below, top / least), top)


def shades(name: str) -> Colormap:
    """Returns a colour map of matplotlib in 64 steps, because a colour bar draws each step as a path of its own."""
    return mpl.colormaps[name].resampled(64)


def colour_bar(mesh: QuadMesh, ax: Axes) -> None:
    """Draws the colour scale of `mesh` at the right of the axes."""
    ax.figure.colorbar(mesh, ax=ax, pad=0.02, aspect=28).ax.tick_params(labelsize=9)


def nothing_to_draw(ax: Axes, reason: str) -> None:
    """Writes into the middle of empty axes why they are empty."""
    ax.text(0.5, 0.5, reason, transform=ax.transAxes, ha="center", va="center", color=GREY)


Draw = Callable[[], Figure]
