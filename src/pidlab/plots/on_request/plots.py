"""Figures on request: any figure of a run, restyled, on axes of one's own, for some of its models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Unpack

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text

from pidlab.config.schema import Style
from pidlab.errors import PidlabError, UsageError, nearest
from pidlab.evaluate.results import AnyResults, RegressionResults
from pidlab.plots.canvas.experiment import put_label
from pidlab.plots.canvas.style import context, drawing_on
from pidlab.plots.gallery import PLAIN, catalogue
from pidlab.plots.on_request.canvas import Canvas, PyplotCanvas, canvas_for
from pidlab.plots.on_request.options import (
    AskedLabels,
    Options,
    apply_scales,
    checked_options,
    chosen_models,
    listed,
    put_title,
    refuse_senseless,
    style_of,
)
from pidlab.plots.sheets.sheet import Sheet


class Drawn(NamedTuple):
    """A figure and its axes: a single Axes, or an array (n,) of those of its n panels."""

    figure: Any
    axes: Any


_Find = Callable[[Mapping[str, Sheet], AnyResults], tuple[str, Sheet]]
"""Finds the figure that is asked for among the sheets of some models, given the results of all."""


class Plots:
    """The figures of a run, drawn when they are asked for.

    `plots("roc")` draws the figure that the report calls so, and each kind of figure has a method. They return the
    figure and its axes: a single Axes, or an array of them if the figure has several panels. Every figure takes the
    options of `pidlab.plots.on_request.options.Options`:

        models=["bdt", "mlp"]           only these models, in this order
        reference="hand"                what ratios and differences refer to
        xlim=(0.8, 1), ylim=(1, 1e3)    limits
        log=False, logx=True            scales of the y and of the x axis
        style="CMS"                     an experiment, a `Style`, or a dict of its keys
        labels={"p": "$p$ [GeV]"}       texts of axes
        title="…"                       a text above the figure
        ax=, figure=                    where to draw; several panels take the place of the axes

    An option that would change nothing in a figure is refused. Without `ax` and `figure` the figure is a new one of
    pyplot, which a notebook shows by itself. On axes of one's own, without `style`, the fonts and ticks are those that
    matplotlib is set to.

    Args:
        results: the results of a run.
        style: the label and the style of an experiment, if a call gives none.
    """

    def __init__(self, results: AnyResults, style: Style = PLAIN) -> None:
        self._results, self._style = results, style
        self._sheets = catalogue(results)

    @property
    def names(self) -> dict[str, str]:
        """Returns the names of all figures with their titles, in the order of the report."""
        return {name: sheet.title for name, sheet in self._sheets.items()}

    def __repr__(self) -> str:
        """Says what there is to draw."""
        kinds: dict[str, list[str]] = {}
        for name, sheet in self._sheets.items():
            kinds.setdefault(sheet.kind, []).append(name)
        width = max(map(len, kinds), default=0)
        lines = [f"  {kind:<{width}}  {', '.join(names)}" for kind, names in kinds.items()]
        return "\n".join([f"{len(self._sheets)} figures, by kind and name:", *lines])

    def __dir__(self) -> list[str]:
        """Returns the methods that have something to draw."""
        kinds = {sheet.kind for sheet in self._sheets.values()} | {"names"}
        if "response" in kinds:
            kinds.add("overtraining")
        return sorted(kinds & set(dir(type(self))))

    def __call__(self, name: str, **options: Unpack[Options]) -> Drawn:
        """Draws the figure that the report calls `name`.

        Raises:
            UsageError: there is no such figure, or an option is wrong or would change nothing.
        """
        return self._draw(self._results, partial(_by_name, name), options)

    # What the models achieve

    def roc(self, against: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws ROC curves: rejection of `against` over signal efficiency, and the ratio to a reference.

        Without `against` the figure is that of the only other class, or of all others together.
        """
        return self._kind("roc", options, against=against or self._first("roc", "against"))

    def class_pairs(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the ROC curves of all pairs of three classes or more by one model."""
        return self._kind("class_pairs", options, model=model)

    def response(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the score of one model by class: test filled, train as points, thresholds as lines."""
        return self._kind("response", options, model=model)

    def overtraining(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the score of one model on train over that on test, as `response` does."""
        return self._kind("response", options, model=model)

    def band(
        self,
        model: str | None = None,
        variable: str | None = None,
        particle: str | None = None,
        **options: Unpack[Options],
    ) -> Drawn:
        """Draws each class over a variable of a band and what it follows, with the band.

        Args:
            model, variable: may be left out if there is one only.
            particle: the class, for a band with groups, of which each has a panel; left out: the signal.
            options: the options of every figure.
        """
        return self._kind("band", options, model=model, variable=variable, particle=particle or self._signal)

    def pulls(self, model: str | None = None, variable: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the distances from a band, or of a regression from its target, in widths, and a unit Gaussian."""
        return self._kind("pulls", options, model=model, variable=variable)

    def pull_trend(
        self,
        model: str | None = None,
        variable: str | None = None,
        against: str | None = None,
        **options: Unpack[Options],
    ) -> Drawn:
        """Draws mean and width of the pulls of the signal by a band against a quantity."""
        return self._kind("pull_trend", options, model=model, variable=variable, against=against)

    def matrix(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the share of each true class that a model decides to be each class."""
        return self._kind("matrix", options, model=model)

    def comparison(self, against: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the differences of all pairs of models, or with `reference` of all models to one.

        Args:
            against: the class whose misidentification is compared; left out: the first. A regression has none.
            options: the options of every figure.
        """
        return self._kind("comparison", options, against=against or self._first("comparison", "against"))

    def calibration(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the share of signal against the score of one model."""
        return self._kind("calibration", options, model=model)

    def merit(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws efficiencies, purity, significance and Punzi's figure of merit of one model against the threshold."""
        return self._kind("merit", options, model=model)

    # What the models of a regression achieve

    def residuals(self, **options: Unpack[Options]) -> Drawn:
        """Draws prediction − target of the models of a regression on test."""
        return self._kind("residuals", options)

    def train_and_test(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws prediction − target of one model of a regression on train over that on test."""
        return self._kind("train_and_test", options, model=model)

    def prediction(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the prediction of one model of a regression against the target."""
        return self._kind("prediction", options, model=model)

    def resolution(self, against: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws bias and σ68 of the models of a regression in bins of the target or a spectator.

        Args:
            against: the axis; left out: the target.
            options: the options of every figure.
        """
        return self._kind("resolution", options, against=against or self._first("resolution", "against"))

    def quantiles(self, **options: Unpack[Options]) -> Drawn:
        """Draws by how much the share of targets below each predicted quantile differs from its probability."""
        return self._kind("quantiles", options)

    def metrics(self, **options: Unpack[Options]) -> Drawn:
        """Draws bias, RMS, σ68, effective resolution and mean absolute residual of the models of a regression."""
        return self._kind("metrics", options)

    # What depends on spectators

    def efficiency(
        self,
        model: str | None = None,
        spectator: str | None = None,
        *,
        points: Sequence[str] | None = None,
        flat: bool = False,
        **options: Unpack[Options],
    ) -> Drawn:
        """Draws efficiency and misidentification of one model in bins of a spectator.

        Args:
            model, spectator: may be left out if there is one only.
            points: only these working points.
            flat: True draws the working points whose thresholds follow spectators.
            options: the options of every figure.
        """
        results = self._at_points(points)
        return self._kind(
            "efficiency", options, results, model=model, spectator=spectator, flat="yes" if flat else "no"
        )

    def map(
        self,
        model: str | None = None,
        x: str | None = None,
        y: str | None = None,
        *,
        points: Sequence[str] | None = None,
        flat: bool = False,
        **options: Unpack[Options],
    ) -> Drawn:
        """Draws the passing fraction of each class in bins of two spectators.

        Args:
            model, x, y: may be left out if there is one only.
            points: only these working points.
            flat: True draws the working points whose thresholds follow spectators.
            options: the options of every figure.
        """
        results = self._at_points(points)
        return self._kind("map", options, results, model=model, x=x, y=y, flat="yes" if flat else "no")

    def identified(
        self,
        model: str | None = None,
        point: str | None = None,
        variables: Sequence[str] | str | None = None,
        *,
        page: int = 1,
        **options: Unpack[Options],
    ) -> Drawn:
        """Draws features and spectators of what a working point accepts, by true class, with purity and efficiency.

        Args:
            model, point: may be left out if there is one only.
            variables: only these features and spectators, in that order.
            page: the number of a page, each of twelve variables.
            options: the options of every figure.
        """
        return self._kind(
            "identified", options, self._of_variables(variables), model=model, point=point, page=str(page)
        )

    def flat(self, model: str | None = None, spectator: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws thresholds that follow a spectator, and the efficiency before and after."""
        return self._kind("flat", options, model=model, spectator=spectator)

    # What goes in, and what it is worth

    def inputs(
        self, features: Sequence[str] | str | None = None, *, page: int = 1, **options: Unpack[Options]
    ) -> Drawn:
        """Draws the features by class, twelve a page, or only those of `features`, in that order."""
        return self._kind("inputs", options, self._of_features(features), page=str(page))

    def target(self, **options: Unpack[Options]) -> Drawn:
        """Draws the target of a regression in each sample."""
        return self._kind("target", options)

    def profiles(
        self, features: Sequence[str] | str | None = None, *, page: int = 1, **options: Unpack[Options]
    ) -> Drawn:
        """Draws the mean of a regression's target in bins of each feature, or only of those of `features`."""
        return self._kind("profiles", options, self._of_features(features), page=str(page))

    def signal_ratio(
        self, features: Sequence[str] | str | None = None, *, page: int = 1, **options: Unpack[Options]
    ) -> Drawn:
        """Draws the density of the signal over that of each other class in all features, or only in `features`."""
        return self._kind("signal_ratio", options, self._of_features(features), page=str(page))

    def scaled_inputs(
        self, features: Sequence[str] | str | None = None, *, page: int = 1, **options: Unpack[Options]
    ) -> Drawn:
        """Draws the features as networks and linear models see them, after scaling, or only those of `features`."""
        return self._kind("scaled_inputs", options, self._of_features(features), page=str(page))

    def scatter(
        self, x: str | None = None, y: str | None = None, *, page: int = 1, **options: Unpack[Options]
    ) -> Drawn:
        """Draws each class over pairs of features with the profile of the second, or over the pair x, y only."""
        return self._kind("scatter", options, self._of_pair(x, y), page=str(page))

    def polygon(
        self, name: str | None = None, x: str | None = None, y: str | None = None, **options: Unpack[Options]
    ) -> Drawn:
        """Draws each class over the axes of a polygon, with the polygon.

        Args:
            name: the polygon; may be left out if there is one only.
            x, y: its axes, if it is asked on several.
            options: the options of every figure.
        """
        return self._kind("polygon", options, name=name, x=x, y=y)

    def weights(self, group: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the variables in which classes were made alike, before and after, and the weights.

        Args:
            group: the class, or "all" if all classes share their weights; may be left out if there is one only.
            options: the options of every figure.
        """
        return self._kind("weights", options, group=group)

    def correlation(self, particle: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the correlation of the features in one class, left out: the signal; of a regression with its target."""
        return self._kind("correlation", options, particle=particle or self._signal)

    def importance(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws what a model loses when each feature is shuffled."""
        return self._kind("importance", options, model=model)

    def contributions(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws what each feature contributes to the signal's margin, a point for each of some candidates."""
        return self._kind("contributions", options, model=model)

    def partial_dependence(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the mean score of the test sample, and of single candidates, against each important feature."""
        return self._kind("partial_dependence", options, model=model)

    def robustness(self, change: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the AUC against the size of a change ("smear", "scale", "shift"), or without each feature ("drop")."""
        return self._kind("robustness", options, change=change)

    def training(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws loss and other quantities of one model by epoch or boosting round."""
        return self._kind("training", options, model=model)

    def trees(self, model: str | None = None, **options: Unpack[Options]) -> Drawn:
        """Draws the first trees of a model that is made of trees."""
        return self._kind("trees", options, model=model)

    def cutflow(self, **options: Unpack[Options]) -> Drawn:
        """Draws the candidates that each cut of the selection leaves."""
        return self._kind("cutflow", options)

    def on(self, canvas: Canvas, name: str, **options: Unpack[Options]) -> Style:
        """Draws the figure `name` on a canvas, and returns the style that it has.

        Raises:
            UsageError: as in a call.
        """
        given = checked_options(options)
        self._draw_on(canvas, self._results, partial(_by_name, name), given)
        return style_of(given.get("style", self._style))

    @property
    def _signal(self) -> str | None:
        return None if isinstance(self._results, RegressionResults) else self._results.signal

    def _first(self, kind: str, key: str) -> str | None:
        return next((sheet.about.get(key) for sheet in self._sheets.values() if sheet.kind == kind), None)

    def _at_points(self, points: Sequence[str] | None) -> AnyResults:
        if points is None or isinstance(self._results, RegressionResults):
            return self._results
        known = {m.working_point for model in self._results.models.values() for m in model.maps}
        names = listed(points, known, "working point", "points: ")
        kept = {
            name: replace(model, maps=tuple(m for p in names for m in model.maps if m.working_point == p))
            for name, model in self._results.models.items()
        }
        return replace(self._results, models=kept)

    def _of_features(self, features: Sequence[str] | str | None) -> AnyResults:
        results = self._results
        if features is None:
            return results
        names = listed(features, results.inputs, "feature")
        if isinstance(results, RegressionResults):
            profiles = {name: results.profiles[name] for name in names if name in results.profiles}
            return replace(results, inputs={name: results.inputs[name] for name in names}, profiles=profiles)
        scaled = {name: results.exploration.scaled[name] for name in names if name in results.exploration.scaled}
        inputs = {name: results.inputs[name] for name in names}
        return replace(results, inputs=inputs, exploration=replace(results.exploration, scaled=scaled))

    def _of_variables(self, variables: Sequence[str] | str | None) -> AnyResults:
        if variables is None or isinstance(self._results, RegressionResults) or self._results.identified is None:
            return self._results
        found = self._results.identified
        names = listed(variables, found.edges, "feature or spectator")
        return replace(self._results, identified=replace(found, edges={name: found.edges[name] for name in names}))

    def _of_pair(self, x: str | None, y: str | None) -> AnyResults:
        """Returns the results with the pairs of x and y only; the pair is kept as it was made, whichever is x."""
        if isinstance(self._results, RegressionResults):
            return self._results
        pairs = [p for p in self._results.exploration.pairs if {x, y} - {None} <= {p.x, p.y}]
        if not pairs and self._results.exploration.pairs:
            known = ", ".join(f"{p.x} and {p.y}" for p in self._results.exploration.pairs)
            asked = " and ".join(repr(name) for name in (x, y) if name is not None)
            raise UsageError(f"scatter: the run has no pair of {asked}; it has {known}")
        return replace(self._results, exploration=replace(self._results.exploration, pairs=tuple(pairs)))

    def _kind(
        self, kind: str, options: Mapping[str, Any], results: AnyResults | None = None, **about: str | None
    ) -> Drawn:
        find = partial(_by_kind, kind, {key: value for key, value in about.items() if value is not None})
        return self._draw(self._results if results is None else results, find, options)

    def _draw(self, results: AnyResults, find: _Find, options: Mapping[str, Any]) -> Drawn:
        given = checked_options(options)
        canvas = canvas_for(given.get("ax"), given.get("figure"))
        if not canvas.styled and given.keys() - {"ax", "figure", "title", "style", "models", "reference"}:
            # What is wrong with limits and labels is known after drawing; the user's axes stay clean if something is.
            self._draw_on(Canvas(), results, find, given)
        try:
            self._draw_on(canvas, results, find, given)
        except PidlabError:
            if isinstance(canvas, PyplotCanvas):
                canvas.close()
            raise
        panels = canvas.panels
        return Drawn(canvas.figure, panels[0] if len(panels) == 1 else np.array(panels, dtype=object))

    def _draw_on(self, canvas: Canvas, results: AnyResults, find: _Find, options: Options) -> None:
        own_labels = options.get("labels") or {}
        labels = AskedLabels({**results.labels, **own_labels})
        some = chosen_models(replace(results, labels=labels), options.get("models"), options.get("reference"))
        name, sheet = find(catalogue(some), results)
        refuse_senseless(name, sheet, options)
        style = style_of(options.get("style") or self._style)
        with _surroundings(canvas, name, style, asked="style" in options):
            with drawing_on(canvas.make, self._results.models.values()):
                sheet.draw()
            panels: list[Axes] = canvas.panels
            labels.refuse_unused(name, own_labels, [*results.features, *results.labels])
            apply_scales(name, panels, options)
            if options.get("title"):
                put_title(panels, str(options["title"]))
            put_label(canvas.figure, style, None if canvas.styled else panels)
            if not canvas.styled and "style" in options:
                _keep_fonts([*panels, *(ax for ax in canvas.figure.axes if ax.get_label() == "experiment")])


@contextmanager
def _surroundings(canvas: Canvas, name: str, style: Style, *, asked: bool) -> Iterator[None]:
    """Sets matplotlib to pidlab's style for a new figure or a style that was asked for; else to the user's settings."""
    if canvas.styled or asked:
        canvas.look = {"salt": name, "experiment": style.experiment}
        with context(name, style.experiment):
            yield
    else:
        with mpl.rc_context({"text.usetex": False}):  # names are written verbatim, which TeX does not do
            yield


def _keep_fonts(axes: Sequence[Axes]) -> None:
    """Names the fonts of all texts, because matplotlib looks up generic families when it draws, in the user's style."""
    generic: dict[str, list[str]] = {
        "sans-serif": mpl.rcParams["font.sans-serif"], "serif": mpl.rcParams["font.serif"],
    }  # fmt: skip
    for ax in axes:
        for text in ax.findobj(Text):
            text.set_fontfamily([name for family in text.get_fontfamily() for name in generic.get(family, [family])])
        ax.tick_params(which="both", labelfontfamily=generic["sans-serif"])


def _by_name(name: str, sheets: Mapping[str, Sheet], whole: AnyResults) -> tuple[str, Sheet]:
    """Returns the figure of a name.

    Raises:
        UsageError: there is none.
    """
    if name in sheets:
        return name, sheets[name]
    everything = catalogue(whole)
    if name in everything:
        raise UsageError(f"models: the figure {name!r} shows none of them; leave `models` out")
    raise UsageError(f"there is no figure {name!r}; {nearest(name, everything)}")


def _by_kind(kind: str, about: Mapping[str, str], sheets: Mapping[str, Sheet], whole: AnyResults) -> tuple[str, Sheet]:
    """Returns the figure of a kind, and of what identifies it among its kind.

    Raises:
        UsageError: there is none, or there are several.
    """
    left = {name: sheet for name, sheet in sheets.items() if sheet.kind == kind}
    if not left:
        kinds = {sheet.kind for sheet in sheets.values()}
        raise UsageError(f"the run has nothing to draw for {kind!r}; it has {', '.join(sorted(kinds))}")
    for key, value in about.items():
        known = {sheet.about.get(key, "") for sheet in left.values()}
        left = {name: sheet for name, sheet in left.items() if sheet.about.get(key) == value}
        if not left:
            raise UsageError(f"{kind}: there is no figure of {key} {value!r}; {nearest(value, known)}")
    if len(left) > 1:
        key = next(key for key in next(iter(left.values())).about if len({s.about[key] for s in left.values()}) > 1)
        one_of = ", ".join(dict.fromkeys(repr(sheet.about[key]) for sheet in left.values()))
        raise UsageError(f"{kind}: choose {key}=, one of {one_of}")
    return next(iter(left.items()))
