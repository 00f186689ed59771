"""Commands that learn from data without labels: sweights, fractions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pidlab.cli.options import MODELS, PATH, say, stoppable, terminal
from pidlab.errors import UsageError

if TYPE_CHECKING:
    from pidlab.datadriven.massfit.settings import FitSettings

_SHAPES = """\b
Shapes of a signal:      gauss, double_gauss, bifurcated_gauss, crystal_ball, double_crystal_ball, student, voigt
Shapes of a background:  exponential, chebyshev:N, argus, cms_shape, uniform
--fix takes COMPONENT.PARAMETER=VALUE: a number fixes the parameter, the name of another shares its value, and
START:LOW:HIGH moves start and limits. Components of a YAML file, with their parameters:
  mass: mB
  range: [5.1, 5.5]
  components:
    signal: {shape: double_gauss, parameters: {ratio: 2.1}}
    reflection: {shape: gauss, parameters: {sigma: signal.sigma, mean: {start: 5.2, low: 5.15, high: 5.25}}}
    background: exponential
"""


@click.command(epilog=_SHAPES)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--mass", help="The branch or expression that is fitted.")
@click.option("--range", "mass_range", metavar="LOW:HIGH", help="The range of the mass in which it is fitted.")
@click.option("--signal", metavar="SHAPE", help="The shape of the signal; left out: gauss.")
@click.option("--background", metavar="SHAPE", help="The shape of the background; left out: exponential.")
@click.option("--fit", "fit_file", type=PATH, help="A YAML file with mass, range and components, in place of these.")
@click.option("--fix", "fixed", multiple=True, metavar="NAME=VALUE", help="Of a parameter; see below. May be repeated.")
@click.option("--cut", help="Only candidates that pass it are fitted; the others have weight 0.")
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="NAME",
    help="A branch, pattern or expression whose independence of the mass is tested; may be repeated.",
)
@click.option("--label", help="Of the mass's axis, for example 'm(K pi) [GeV]'.")
@click.option("--tree", help="The tree, where a file holds several.")
@click.option("--per", metavar="COLLECTION", help="A row is a candidate of this jagged collection, not an entry.")
@click.option(
    "--cows", type=click.IntRange(0, 8), metavar="N", help="COWs, with polynomials of degree N as background."
)
@click.option(
    "--replicas",
    type=click.IntRange(0, 1000),
    default=0,
    help="Add so many replicas of `sw`, by shapes the fit allows.",
)
@click.option("-o", "--output", type=PATH, required=True, help="The folder for friend trees, fit and figures.")
@click.option("-q", "--quiet", is_flag=True, help="Only the result and notes.")
def sweights(
    files: Sequence[str],
    fit_file: Path | None,
    tree: str | None,
    per: str | None,
    cows: int | None,
    replicas: int,
    output: Path,
    quiet: bool,
    **said: Any,
) -> None:
    """Fit a mass in FILES and write a friend tree with sWeights for each.

    An extended maximum-likelihood fit gives the yields of signal and background, and each candidate a weight `sw`:
    histograms weighted by it show the signal alone, if mass and feature are independent in the signal and in the
    background, which is tested. Weights are negative where the background prevails, and are never clipped. Candidates
    outside the range have weight 0. A configuration takes the friend as it is: `data: {files: FILE, friends:
    [DIR/STEM_sweights.root], weight: sw}`.
    """
    settings = _settings(fit_file, said)
    with (
        stoppable(f"friend trees that were finished stay in {output}; start it again for the others"),
        terminal(quiet) as (console, watcher),
    ):
        from pidlab.cli.terminal.datadriven import fit_table, weights_table
        from pidlab.datadriven.sweights.analysis import SweightsRequest, run
        from pidlab.read import find_sources

        sources = find_sources(list(files), tree, Path())
        found = run(SweightsRequest(tuple(sources), settings, output, per, cows, replicas), watcher)
        console.print(fit_table(found.fit))
        console.print(weights_table(found))
        for sentence in found.notes:
            say(console, f"• {sentence}")
        for path in dict.fromkeys(found.friends.values()):
            say(console, f"friend tree: {path}")
        say(console, f"fit: {output / 'mass.png'}")


def _settings(fit_file: Path | None, said: dict[str, Any]) -> FitSettings:
    """Returns what is fitted, from a file or the options; an option replaces what the file says.

    Raises:
        UsageError: the mass or its range is missing, or an option contradicts the file.
    """
    from dataclasses import replace

    from pidlab.datadriven.massfit.fit import Component
    from pidlab.datadriven.massfit.settings import FitSettings, load_fit, range_of, with_parameters
    from pidlab.datadriven.massfit.shapes import shape_of

    if fit_file is not None:
        settings = load_fit(fit_file)
        if said["signal"] or said["background"]:
            raise UsageError(f"{fit_file} names the components; leave out --signal and --background")
    else:
        missing = [option for option, key in (("--mass", "mass"), ("--range", "mass_range")) if not said[key]]
        if missing:
            raise UsageError(
                f"{' and '.join(missing)}: missing; say what is fitted, in which range, or name --fit FILE"
            )
        shapes = {"signal": said["signal"] or "gauss", "background": said["background"] or "exponential"}
        for shape in shapes.values():
            shape_of(shape)
        components = {name: Component(shape) for name, shape in shapes.items()}
        settings = FitSettings(said["mass"], *range_of(said["mass_range"]), components)
    low, high = range_of(said["mass_range"]) if said["mass_range"] else (settings.low, settings.high)
    return replace(
        settings,
        mass=said["mass"] or settings.mass,
        low=low,
        high=high,
        components=with_parameters(settings.components, said["fixed"]),
        cut=said["cut"] or settings.cut,
        features=tuple(said["features"]) or settings.features,
        label=said["label"] or settings.label,
    )


@click.command()
@click.argument("run", type=PATH)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--in", "within", default="", metavar='"X: [EDGES]"', help='Bins, such as "p: [1, 2, 3]", or "p: 5".')
@MODELS
@click.option("--cut", default="", help="Only candidates that pass it, besides the selection of RUN.")
@click.option("--weight", default="", help="The weight of each candidate, such as an sWeight.")
@click.option(
    "--bins", "n_bins", type=click.IntRange(min=2, max=1000), help="Of the score; left out: by the templates."
)
@click.option("--tree", help="The tree, where a file holds several.")
@click.option("-o", "--output", type=PATH, required=True, help="The folder for results and figures.")
@click.option("-q", "--quiet", is_flag=True, help="Only the result and notes.")
def fractions(run: Path, files: Sequence[str], output: Path, quiet: bool, **asked: Any) -> None:
    """Measure how many candidates of each class FILES hold, by the scores of the models of RUN.

    The scores of data are fitted with those of each class among the test events of RUN, in bins of a spectator or of
    any expression; the inverted matrix of decisions stands beside the fit. Intervals hold the statistics of the
    templates. fractions.json, fractions.root and a figure of each fit are left in the folder.
    """
    with (
        stoppable(f"nothing was written to {output}"),
        terminal(quiet) as (console, watcher),
    ):
        from pidlab.cli.terminal.datadriven import fractions_table
        from pidlab.datadriven.fractions.analysis import Request, measure_fractions

        found = measure_fractions(Request(run, files, output, **asked), watcher)
        console.print(fractions_table(found))
        say(console, f"wrote {output / 'fractions.json'}")


COMMANDS = (sweights, fractions)
