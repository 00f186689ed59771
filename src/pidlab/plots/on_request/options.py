"""Options of a figure on request: which models, which limits and scales, which texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, TypeVar, cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.ticker import FixedLocator
from pydantic import ValidationError

from pidlab.config.schema import Style
from pidlab.errors import UsageError, nearest
from pidlab.evaluate.results import AnyResults, Comparison, RegressionComparison, RegressionResults
from pidlab.measured import Array, Measured
from pidlab.plots.canvas.style import is_tex, shown
from pidlab.plots.sheets.sheet import Sheet


class Options(TypedDict, total=False):
    """What every figure takes.

    Attributes:
        models: only these models, in this order.
        reference: the model that a ratio or a difference refers to.
        xlim, ylim: (low, high). `ylim` holds for the first panel and for all panels of the same quantity.
        log: True or False for a logarithmic or linear y axis; panels with numbers below zero stay linear.
        logx: the same for the x axis.
        style: an experiment, such as "CMS", a `Style`, or a dict of its keys.
        labels: feature or spectator to the text of its axis, TeX between dollars.
        title: a text above the figure, TeX between dollars.
        ax: the axes to draw in; several panels take their place.
        figure: an empty Figure or SubFigure to draw in.
    """

    models: Sequence[str] | None
    reference: str | None
    xlim: tuple[float, float] | None
    ylim: tuple[float, float] | None
    log: bool | None
    logx: bool | None
    style: Any
    labels: Mapping[str, str] | None
    title: str | None
    ax: Any
    figure: Any


def checked_options(options: Mapping[str, Any]) -> Options:
    """Returns the options that are not None.

    Raises:
        UsageError: one does not exist, or its value is of another type.
    """
    for name in options:
        if name not in Options.__annotations__:
            raise UsageError(f"a figure takes no option {name!r}; {nearest(name, Options.__annotations__)}")
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("xlim", "ylim"):
        if name in given:
            given[name] = _limits(name, given[name])
    for name in ("log", "logx"):
        if not isinstance(given.get(name, True), bool | np.bool_):
            raise UsageError(f"{name}= takes True or False, not {given[name]!r}")
    if isinstance(given.get("models"), str):
        given["models"] = [given["models"]]
    return cast("Options", given)


def _limits(name: str, value: Any) -> tuple[float, float]:
    try:
        low, high = (float(number) for number in value)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: two numbers are needed, as in {name}=(0.8, 1), not {value!r:.60}") from None
    if not (math.isfinite(low) and math.isfinite(high) and low != high):
        raise UsageError(f"{name}: two different finite numbers are needed, not {low:g} and {high:g}")
    return low, high


def style_of(style: Any) -> Style:
    """Returns the style that `style` names or describes.

    Raises:
        UsageError: there is no such style.
    """
    if isinstance(style, Style):
        return style
    content = {"experiment": style} if isinstance(style, str) else style
    if not isinstance(content, Mapping):
        raise UsageError(f"style= takes the name of an experiment, a Style or a dict, not {style!r:.60}")
    known = Style.model_fields
    for key in content:
        if key not in known:
            raise UsageError(f"style has no key {key!r}; {nearest(str(key), known)}")
    try:
        return Style.model_validate(dict(content))
    except ValidationError as error:
        (key, *_), said = error.errors()[0]["loc"], error.errors()[0]["msg"]
        if key == "experiment":
            names = Style.model_json_schema()["properties"]["experiment"]["enum"]
            said = f"there is no style {content['experiment']!r}; {nearest(str(content['experiment']), names)}"
        raise UsageError(f"style: {key}: {said}") from None


def listed(asked: Sequence[str] | str, known: Collection[str], what: str, option: str = "") -> list[str]:
    """Returns the names that are asked for, which may be a single text.

    Raises:
        UsageError: one of them is not known; `what` says what it would be the name of, after `option`.
    """
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in known:
            raise UsageError(f"{option}there is no {what} {name!r}; {nearest(str(name), known)}")
    return names


def chosen_models(results: AnyResults, models: Sequence[str] | None, reference: str | None) -> AnyResults:
    """Returns the results of some models only, in the order of `models`, with another reference, which is drawn too.

    Raises:
        UsageError: there is no such model.
    """
    names = listed(list(results.models) if models is None else models, results.models, "model")
    if reference is not None:
        listed([reference], results.models, "model")
    if not names:
        raise UsageError("models= names no model; leave it out to draw all of them")
    if len(set(names)) < len(names):
        raise UsageError(f"models= names a model twice: {', '.join(names)}")
    if reference is not None and reference not in names:
        names.append(reference)

    def some(by_model: Mapping[str, T]) -> dict[str, T]:
        return {name: by_model[name] for name in names if name in by_model}

    shared: dict[str, Any] = {
        "models": some(results.models),
        "importance": some(results.importance),
        "reference": results.reference if reference is None else reference,
    }
    if isinstance(results, RegressionResults):
        pairs = _pairs(results.comparisons, names, reference, _turned_regression)
        explained, dependence = some(results.explained), some(results.dependence)
        return replace(results, comparisons=pairs, explained=explained, dependence=dependence, **shared)
    found = results.exploration
    return replace(
        results,
        comparisons=_pairs(results.comparisons, names, reference, turned),
        robustness=some(results.robustness),
        exploration=replace(
            found, explained=some(found.explained), trees=some(found.trees), dependence=some(found.dependence)
        ),
        **shared,
    )


T = TypeVar("T")
Pair = TypeVar("Pair", Comparison, RegressionComparison)


def _pairs(
    comparisons: Sequence[Pair], names: Sequence[str], reference: str | None, turn: Callable[[Pair], Pair]
) -> tuple[Pair, ...]:
    """Returns the pairs among some models; with a reference those with it, turned so that it is the first of them."""
    pairs = [c for c in comparisons if c.a in names and c.b in names]
    if reference is None:
        return tuple(pairs)
    return tuple(turn(c) if c.b == reference else c for c in pairs if reference in (c.a, c.b))


def _turned_regression(pair: RegressionComparison) -> RegressionComparison:
    quantities = tuple(replace(q, difference=_negative(q.difference)) for q in pair.quantities)
    return replace(pair, a=pair.b, b=pair.a, quantities=quantities)


def turned(pair: Comparison) -> Comparison:
    """Returns the comparison of b with a as that of a with b."""
    points = tuple(
        replace(p, delta_misid=_negative(p.delta_misid), ratio=_inverse(p.ratio)) for p in pair.working_points
    )
    return replace(pair, a=pair.b, b=pair.a, delta_auc=_negative(pair.delta_auc), working_points=points)


def _negative(number: Measured) -> Measured:
    return Measured(-number.value, -number.high, -number.low, number.n)


def _inverse(ratio: Measured) -> Measured:
    value, high, low = (math.inf if bound == 0 else 1 / bound for bound in ratio[:3])
    return Measured(value, low, high, ratio.n)


def refuse_senseless(name: str, sheet: Sheet, options: Options) -> None:
    """Refuses options that would change nothing in a figure.

    Raises:
        UsageError: the figure shows no models, only one, or compares with no reference.
    """
    if "reference" in options and not sheet.has_reference:
        raise UsageError(f"reference: the figure {name!r} compares with no model; leave `reference` out")
    if "models" in options and not sheet.models and list(options["models"] or ()) != [sheet.about.get("model")]:
        only = f"is of {sheet.about['model']!r} alone" if "model" in sheet.about else "shows no models"
        raise UsageError(f"models: the figure {name!r} {only}; leave `models` out")


class AskedLabels(dict[str, str]):
    """Labels that remember which of them a drawing has looked up."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        super().__init__(labels)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the label of `name`, and remembers the name."""
        self.asked.add(name)
        return super().get(name, default)

    def refuse_unused(self, name: str, given: Iterable[str], known: Iterable[str]) -> None:
        """Refuses labels of what the figure does not show.

        Raises:
            UsageError: one of `given` was never looked up.
        """
        for one in given:
            if one not in self.asked:
                shown_here = self.asked & set(known) or self.asked
                hint = nearest(one, shown_here) if shown_here else "it shows no feature or spectator by its label"
                raise UsageError(f"labels: the figure {name!r} has no axis of {one!r}; {hint}")


def apply_scales(name: str, panels: Sequence[Axes], options: Options) -> None:
    """Sets the scales and the limits of the panels of a figure.

    Raises:
        UsageError: an axis shows names, panels show different quantities, or a logarithm does not exist.
    """
    if "logx" in options:
        _set_scale(name, panels, "x", log=bool(options["logx"]))
    if "log" in options:
        _set_scale(name, panels, "y", log=bool(options["log"]))
    if "xlim" in options and options["xlim"] is not None:
        if len({ax.get_xlabel() for ax in _own(panels, "x")} - {""}) > 1:
            raise UsageError(
                f"xlim: the panels of {name!r} show different quantities along x; draw one of them by itself, such as "
                "one feature of the inputs by features=['NAME'] in Python"
            )
        before = [(ax, _values(ax, "y"), ax.get_ylim()) for ax in panels]
        _set_limits(name, panels, "x", options["xlim"])
        if options.get("ylim") is None:
            for ax, heights, limits in before:
                _follow(ax, heights, limits)
    if "ylim" in options and options["ylim"] is not None:
        first = panels[0].get_ylabel()
        _set_limits(name, [ax for ax in panels if ax.get_ylabel() in ("", first)], "y", options["ylim"])


def _own(panels: Sequence[Axes], axis: str) -> list[Axes]:
    """Returns a panel of each group of panels that share an axis; it is the last, which has the label."""
    found: list[Axes] = []
    for ax in reversed(panels):
        shared = ax.get_shared_x_axes() if axis == "x" else ax.get_shared_y_axes()
        if not any(shared.joined(ax, other) for other in found):
            found.append(ax)
    return found


def _numeric(ax: Axes, axis: str) -> bool:
    """Returns whether an axis shows numbers rather than names, or edges of bins drawn alike."""
    which = ax.xaxis if axis == "x" else ax.yaxis
    return not isinstance(which.get_major_locator(), FixedLocator)


def _set_limits(name: str, panels: Sequence[Axes], axis: str, limits: tuple[float, float]) -> None:
    for ax in panels:
        if not _numeric(ax, axis):
            raise UsageError(f"{axis}lim: the {axis} axis of {name!r} shows names, not numbers; leave `{axis}lim` out")
        if getattr(ax, f"get_{axis}scale")() == "log" and min(limits) <= 0:
            off = "log=False" if axis == "y" else "logx=False"
            raise UsageError(
                f"{axis}lim: the {axis} axis of {name!r} is logarithmic, and {min(limits):g} has no logarithm; begin "
                f"above zero, or choose {off}"
            )
        getattr(ax, f"set_{axis}lim")(limits)


def _set_scale(name: str, panels: Sequence[Axes], axis: str, *, log: bool) -> None:
    option = "log" if axis == "y" else "logx"
    numeric = [ax for ax in panels if _numeric(ax, axis)]
    if not numeric:
        raise UsageError(f"{option}: the {axis} axis of {name!r} shows names, not numbers; leave `{option}` out")
    changed = 0
    for ax in numeric:
        values = _values(ax, axis)
        if log and (not len(values) or float(values.min()) < 0 or float(values.max()) <= 0):
            continue
        changed += 1
        if (getattr(ax, f"get_{axis}scale")() == "log") == log:
            continue
        positive = values[values > 0]
        low, high = (float(positive.min()), float(positive.max())) if len(positive) else (0.0, 1.0)
        margin = (high / low) ** 0.05 if log and high > low else 1.05
        getattr(ax, f"set_{axis}scale")("log" if log else "linear")
        getattr(ax, f"set_{axis}lim")(low / margin if log else 0.0, high * margin)
    if log and not changed:
        raise UsageError(f"{option}: the {axis} axis of {name!r} shows numbers below zero, which have no logarithm")


def _values(ax: Axes, axis: str, within: tuple[float, float] | None = None) -> Array:
    """Returns the finite numbers that lines, steps and bars of some axes reach along x or y; for y, `within` some x."""
    found: list[tuple[Array, Array]] = []
    for line in ax.lines:
        if line.get_transform() == ax.transData:
            x, y = (np.asarray(values, np.float64) for values in line.get_data())
            found.append((x, y))
    for patch in ax.patches:
        if isinstance(patch, StepPatch):
            heights, edges, _ = patch.get_data()
            x = (edges[1:] + edges[:-1]) / 2
            found.append((x, np.asarray(heights, np.float64)))
        elif isinstance(patch, Rectangle) and Artist.get_transform(patch) == ax.transData:
            corners = patch.get_bbox().get_points()
            found.append((corners[:, 0], corners[:, 1]))
    if not found:
        corners = ax.dataLim.get_points()
        found.append((corners[:, 0], corners[:, 1]))
    x, y = (np.concatenate(columns) for columns in zip(*found, strict=True))
    own = x if axis == "x" else y
    inside = np.isfinite(x) & np.isfinite(y)
    if within is not None:
        inside &= (x >= min(within)) & (x <= max(within))
    return own[inside]


def _follow(ax: Axes, before: Array, limits: tuple[float, float]) -> None:
    """Fits the y axis to what is drawn within its x limits, with the room above and below that it had before."""
    after = _values(ax, "y", ax.get_xlim())
    if not _numeric(ax, "y") or not len(ax.lines) + len(ax.patches) or not len(after):
        return
    low, high = limits
    if ax.get_yscale() == "log":
        after, before = after[after > 0], before[before > 0]
        if len(after) and len(before):
            up, down = max(high / before.max(), 1.05), max(before.min() / low, 1.05)
            ax.set_ylim(max(low, after.min() / down), after.max() * up)
        return
    span = (after.max() - after.min()) or 1.0
    room = (before.max() - before.min()) or 1.0
    up, down = max(high - before.max(), 0.0) / room, max(before.min() - low, 0.0) / room
    ax.set_ylim(after.min() - down * span, after.max() + up * span)


def put_title(panels: Sequence[Axes], title: str) -> None:
    """Writes a title above everything that stands above the first panel, without moving anything."""
    ax, text = panels[0], title if is_tex(title) else shown(title, 120)
    box, own = ax.get_tightbbox(), ax.get_window_extent()
    points = 72 / ax.get_figure(root=True).get_dpi()  # type: ignore[union-attr]  # panels are on a figure
    above = (box.y1 - own.y1) * points if box is not None else 0.0
    ax.annotate(
        text, (0.0, 1.0), xycoords="axes fraction", xytext=(0.0, above + 4.0), textcoords="offset points",
        ha="left", va="bottom", fontsize="large", annotation_clip=False, parse_math=is_tex(title),
    )  # fmt: skip
