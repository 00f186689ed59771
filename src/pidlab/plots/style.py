"""How every figure looks: mplhep's ROOT style made smaller, the same colours everywhere, names drawn verbatim."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from matplotlib.font_manager import get_font_names
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.mathtext import MathTextParser
from numpy.typing import NDArray

from pidlab.evaluate.results import Histogram
from pidlab.measured import Array, Measured

GREY = "#5f6368"
NO_LABELS: Mapping[str, str] = MappingProxyType({})

# Okabe and Ito's colours for classes (https://jfly.uni-koeln.de/color/) and Petroff's for models (arXiv:2107.02270):
# both were made for colour-blind readers, and two sets keep a class from being taken for a model.
_CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_MODEL_COLOURS = (
    "#3f90da", "#bd1f01", "#832db6", "#e76300", "#717581", "#a96b59", "#00a0a0", "#b9ac70", "#94a4a2", "#d6a000",
)  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))

_SMALLER: dict[str, Any] = {
    "font.size": 12.0,
    "legend.fontsize": 11.0,
    "axes.linewidth": 1.0,
    "lines.linewidth": 1.6,
    "axes.unicode_minus": True,
    "axes.titley": 1.0,  # and not above ticks on top, which are looked for in each figure
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    **{f"{axis}tick.major.size": 5.0 for axis in "xy"},
    **{f"{axis}tick.minor.size": 2.5 for axis in "xy"},
    **{f"{axis}tick.major.pad": 4.0 for axis in "xy"},
    "figure.facecolor": "white",
    "figure.dpi": 72.0,  # as PDF and SVG have: text measured once serves both
    "text.usetex": False,
    "text.hinting": "none",  # letters as wide in pixels as in vectors
    "svg.fonttype": "path",
}


@dataclass(frozen=True, slots=True)
class Look:
    """How one model, class or working point is drawn in every figure."""

    colour: str
    marker: str
    line: Any


# What makes an experiment's style its own at our sizes: its letters, its ticks, and where its axes are named.
_OWN = ("font.family", "mathtext.", "xtick.", "ytick.", "xaxis.", "yaxis.", "axes.label")
_STYLES = {"LHCb": "LHCb2", "none": "ROOT"}
_LETTERS = {"sans-serif": ("TeX Gyre Heros", "DejaVu Sans"), "serif": ("TeX Gyre Termes", "DejaVu Serif")}


@contextmanager
def context(salt: str = "pidlab", experiment: str = "none") -> Iterator[None]:
    """pidlab's style for as long as the block lasts; figures are made, drawn and saved inside it.

    The reader's own matplotlibrc is left out, `salt` makes the identifiers of an SVG the same each time, and
    `experiment` chooses letters and ticks, as in `config.schema.Style`.
    """
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        theirs = getattr(mplhep.style, _STYLES.get(experiment, experiment))
        own = {
            key: value for key, value in theirs.items() if key.startswith(_OWN) and not key.endswith(("size", "width"))
        }
        settings: dict[Any, Any] = {**mplhep.style.ROOT, **own, **_SMALLER, **_letters(own), "svg.hashsalt": salt}
        mpl.rcParams.update(settings)
        # A branch or class may be named in a script that neither font has: it is drawn as boxes, not refused.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@cache
def families(kind: str) -> list[str]:
    """The letters to use for "serif" or "sans-serif": those of `_LETTERS` that this machine has."""
    present = {name.lower() for name in get_font_names()}
    return [name for name in _LETTERS[kind] if name.lower() in present]


def _letters(own: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the letters; matplotlib's own for mathematics where those of the style are absent."""
    settings: dict[str, Any] = {f"font.{kind}": families(kind) for kind in _LETTERS}
    family = own.get("font.family", "sans-serif")
    kind = family if isinstance(family, str) else family[0]
    if own.get("mathtext.fontset") == "custom" and len(families(kind)) < len(_LETTERS[kind]):
        settings["mathtext.fontset"] = "dejavuserif" if kind == "serif" else "dejavusans"
    return settings


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of width x height inches that pyplot does not know of."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def class_looks(classes: Sequence[str], signal: str) -> dict[str, Look]:
    """A look for each class; the signal's is always the first."""
    ordered = [signal, *(name for name in classes if name != signal)]
    return {name: _look(i, _CLASS_COLOURS) for i, name in enumerate(ordered)}


def model_looks(models: Sequence[str]) -> dict[str, Look]:
    """A look for each model, in the order of the configuration."""
    return {name: _look(i, _MODEL_COLOURS) for i, name in enumerate(models)}


def point_looks(working_points: Sequence[str]) -> dict[str, Look]:
    """A look for each working point: one hue, darker where the cut is tighter."""
    shades = mpl.colormaps["viridis"](np.linspace(0.05, 0.75, max(len(working_points), 1)))
    colours = tuple(mpl.colors.to_hex(shade) for shade in shades)
    return {name: _look(i, colours) for i, name in enumerate(working_points)}


def _look(i: int, colours: Sequence[str]) -> Look:
    return Look(colours[i % len(colours)], _MARKERS[i % len(_MARKERS)], _LINES[i % len(_LINES)])


def shown(name: str, limit: int = 40) -> str:
    """`name` on one line, its middle left out where it is longer than `limit`."""
    line = "".join(c if c.isprintable() else " " for c in name)
    if len(line) <= limit:
        return line
    half = (limit - 1) // 2
    return f"{line[:half]}…{line[-half:]}"


class Caption(NamedTuple):
    """A text of a figure; with `tex` what stands between dollars is mathematics, else every character is itself."""

    text: str
    tex: bool = False


def caption(name: str, labels: Mapping[str, str], limit: int = 40, remark: str = "") -> Caption:
    """What to call a feature or spectator: its label where there is one, else its name verbatim, then `remark`."""
    label = labels.get(name)
    if label is None:
        return Caption(shown(name, limit) + remark)
    return Caption(label + remark, tex=True) if is_tex(label) else Caption(shown(label, limit) + remark)


@cache
def is_tex(text: str) -> bool:
    """Whether `text` holds mathematics that matplotlib can set; else it is shown as it is written."""
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
    """Axis labels; no character of a plain name is read as mathematics."""
    for put, text in ((ax.set_xlabel, _as_caption(x)), (ax.set_ylabel, _as_caption(y))):
        put(text.text, parse_math=text.tex)


def name_ticks(ax: Axes, axis: str, names: Sequence[str | Caption], **text: Any) -> None:
    """One tick for each name, at 0, 1, 2 … along `axis` ("x" or "y")."""
    which = ax.xaxis if axis == "x" else ax.yaxis
    captions = [_as_caption(shown(name) if isinstance(name, str) else name) for name in names]
    which.set_ticks(range(len(names)), [c.text for c in captions], parse_math=False, **text)
    for tick, each in zip(which.get_major_ticks(), captions, strict=True):
        tick.label1.set_parse_math(each.tex)
    ax.tick_params(axis=axis, which="both", length=0)  # type: ignore[arg-type]  # "x" or "y"


def write(ax: Axes, x: float, y: float, text: str, **properties: Any) -> None:
    """`text` verbatim at (x, y) in the axes' data."""
    ax.text(x, y, text, parse_math=False, **properties)


def legend(
    ax: Axes, entries: Sequence[tuple[Artist | Any, str]], title: str = "", width: int = 76, above: float = 1.0
) -> Legend | None:
    """A legend above the axes, where it hides no data.

    Args:
        ax: the axes, one unit high.
        entries: what was drawn and its name.
        title: stands over the entries.
        width: how many characters fit in a row.
        above: where the legend begins, in units of the axes' height.
    """
    if not entries and not title:
        return None
    texts = [shown(text, 56) for _, text in entries]  # two names of 12 characters and an AUC with both its errors
    n_columns = max(1, min(len(texts) or 1, width // (max(map(len, texts), default=0) + 5)))
    # matplotlib leaves out labels with a leading underscore: the text is put in afterwards.
    made = ax.legend(
        [handle for handle, _ in entries], ["entry"] * len(entries), loc="lower left", bbox_to_anchor=(0.0, above),
        ncols=n_columns, title=title and shown(title, width), alignment="left", borderaxespad=0.3, borderpad=0.2,
        columnspacing=1.4, title_fontproperties={"weight": "bold"},
    )  # fmt: skip
    for drawn, text in zip(made.get_texts(), texts, strict=True):
        drawn.set_text(text)
        drawn.set_parse_math(False)
    made.get_title().set_parse_math(False)
    return made


def samples_of(looks: Mapping[str, Look], names: Iterable[str], *, marker: bool) -> list[tuple[Artist, str]]:
    """A piece of line for each of `names`, with its marker or without, as `legend` takes them."""
    return [
        (
            Line2D(
                [], [], color=looks[n].colour, linestyle=looks[n].line, marker=looks[n].marker if marker else "", ms=4
            ),
            n,
        )
        for n in names
    ]


def visible_edges(edges: Array) -> tuple[Array, str]:
    """The edges to draw, and a remark: an outer bin that would flatten all others is cut off and its end is said.

    Bins of equal population reach out to the wildest outlier; one that is more than three times as wide as all the
    inner ones together is drawn as wide as they are on average.
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


def arms(value: Array, low: Array, high: Array) -> NDArray[np.float64]:
    """(2, m) lengths of the error bars down to `low` and up to `high`; none where `value` lies beyond a bound."""
    return np.stack([np.fmax(value - low, 0.0), np.fmax(high - value, 0.0)])


def columns(numbers: Sequence[Measured]) -> tuple[Array, Array, Array]:
    """(m,) values, lower and upper bounds of `numbers`."""
    table = np.array([number[:3] for number in numbers], dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def draw_density(histogram: Histogram, ax: Axes, *, errors: bool, **properties: Any) -> Any:
    """`histogram` by mplhep with unit area inside its axis range; None where that holds nothing positive.

    `errors` are the roots of the sums of squared weights.
    """
    sumw = histogram.sumw[1:-1]
    if not np.sum(sumw) > 0:
        return None
    bars = {"w2": histogram.sumw2[1:-1], "w2method": "sqrt"} if errors else {"yerr": False}
    properties |= {name: [value] for name, value in properties.items() if isinstance(value, tuple)}  # one a histogram
    return mplhep.histplot(sumw, bins=histogram.edges, density=True, flow="none", ax=ax, **bars, **properties)[0]


def log_scale(ax: Axes, values: Array, below: float = 2.0, above: float = 2.0, least: float = 1.0) -> None:
    """A logarithmic y axis around the positive `values`; left linear where there are none.

    `below` and `above` are factors of room, `least` the smallest factor between the ends.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive):
        top = float(positive.max()) * above
        ax.set_yscale("log")
        ax.set_ylim(min(float(positive.min()) / below, top / least), top)


def shades(name: str) -> Colormap:
    """A colour map of matplotlib's in 64 steps: enough for the eye, and a colour bar draws each of its steps."""
    return mpl.colormaps[name].resampled(64)


def colour_bar(mesh: QuadMesh, ax: Axes) -> None:
    """The scale of what is drawn in colours, beside the axes."""
    ax.figure.colorbar(mesh, ax=ax, pad=0.02, aspect=28).ax.tick_params(labelsize=9)


def nothing_to_draw(ax: Axes, reason: str) -> None:
    """Say in the middle of the axes why they are empty."""
    ax.text(0.5, 0.5, reason, transform=ax.transAxes, ha="center", va="center", color=GREY)


Draw = Callable[[], Figure]
