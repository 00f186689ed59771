"""The command that measures efficiencies in data by tag and probe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pidlab.cli.options import MODELS, PATH, TREE, TwoNumbers, say, terminal

_INTERVAL = TwoNumbers(":", "60:120")


@click.command()
@click.argument("run", type=PATH)
@click.argument("files", nargs=-1, required=True)
@click.option("--mass", required=True, metavar="EXPRESSION", help="The mass of tag and probe.")
@click.option("--range", "interval", type=_INTERVAL, required=True, help="Of the mass, for example 60:120.")
@click.option("--bins", required=True, help='For example "p: [10, 20, 50]; abs(eta): [0, 1.2, 2.4]".')
@click.option("--signal", default="crystal_ball", show_default=True, help="Shape of the signal's mass.")
@click.option("--background", default="exponential", show_default=True, help="Shape of the background's mass.")
@click.option(
    "--share",
    type=click.Choice(["signal", "background", "both", "none"]),
    default="signal",
    show_default=True,
    help="Whose shape is the same for passing and failing probes.",
)
@click.option("--alternative-signal", "signals", multiple=True, metavar="SHAPE", help="For a systematic; or none.")
@click.option("--alternative-background", "backgrounds", multiple=True, metavar="SHAPE", help="The same.")
@click.option(
    "--method",
    type=click.Choice(["fit", "sweights", "sideband"]),
    default="fit",
    show_default=True,
    help="How background is separated.",
)
@click.option("--window", type=_INTERVAL, help="Of the mass, for sidebands; left out: the middle third of the range.")
@click.option(
    "--mass-bins", "n_mass", type=click.IntRange(10, 10_000), default=60, show_default=True, help="Bins of the mass."
)
@click.option("--simulation", multiple=True, metavar="FILE", help="Probes of a simulation; may be repeated.")
@click.option("--truth", default="", metavar="EXPRESSION", help="Signal in the simulation, which is then counted.")
@click.option("--simulation-weight", default="", metavar="EXPRESSION", help="Weight of the simulation's probes.")
@click.option("--weight", default="", metavar="EXPRESSION", help="Weight of the probes in data; left out: 1.")
@click.option("--cut", default="", metavar="EXPRESSION", help="Rows that are probes, among those the run selects.")
@MODELS
@click.option("--point", "working_points", multiple=True, help="Only this working point; may be repeated.")
@TREE
@click.option("--no-fit-figures", is_flag=True, help="Draw no figure of single fits.")
@click.option("--replicas", type=click.IntRange(0, 1000), default=0, help="Write so many replicas of the maps, too.")
@click.option("-o", "--output", type=PATH, required=True, help="The folder to leave behind.")
@click.option("-q", "--quiet", is_flag=True, help="Only the tables and notes.")
def efficiency(
    run: Path,
    files: Sequence[str],
    mass: str,
    interval: tuple[float, float],
    bins: str,
    signal: str,
    background: str,
    share: str,
    signals: Sequence[str],
    backgrounds: Sequence[str],
    weight: str,
    cut: str,
    no_fit_figures: bool,
    replicas: int,
    output: Path,
    quiet: bool,
    **asked: Any,
) -> None:
    """Measure the efficiency of RUN's decisions in data by tag and probe, and scale factors to simulation.

    FILES hold probes with the mass of tag and probe, of signal and background without labels. For each model, working
    point and bin the passing and failing probes are fitted at once. Shapes: gauss, double_gauss, bifurcated_gauss,
    crystal_ball, double_crystal_ball, student, voigt; exponential, chebyshev:N, cms_shape, argus, uniform.
    """
    from pidlab.cli.terminal.datadriven import efficiency_table
    from pidlab.datadriven.efficiency.binning import parse_bins
    from pidlab.datadriven.efficiency.estimate import Shapes
    from pidlab.datadriven.efficiency.measure import EfficiencyRequest, default_alternatives, measure
    from pidlab.datadriven.efficiency.output import write_efficiencies
    from pidlab.datadriven.efficiency.probes import ProbeExpressions
    from pidlab.runs.whole import refuse_run

    refuse_run(output)
    shapes = Shapes(signal, background, share in ("signal", "both"), share in ("background", "both"))
    usual = default_alternatives(shapes)
    binning = parse_bins(bins)
    request = EfficiencyRequest(
        run=run,
        files=tuple(files),
        expressions=ProbeExpressions(mass, binning.names, weight, cut),
        low=interval[0],
        high=interval[1],
        binning=binning,
        shapes=shapes,
        signals=_wanted(signals, usual[0]),
        backgrounds=_wanted(backgrounds, usual[1]),
        **asked,
    )
    with terminal(quiet) as (console, watcher):
        result, probes = measure(request, watcher)
        for point in result.points:
            console.print(efficiency_table(result, point))
        for sentence in result.notes:
            say(console, f"• {sentence}")
        write_efficiencies(output, result, probes, watcher, fits=not no_fit_figures, n_replicas=replicas)
        say(console, f"report: {output / 'report.html'}")


def _wanted(given: Sequence[str], usual: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the alternatives that were asked for: the usual ones if none was named, none for the word none."""
    return usual if not given else tuple(name for name in given if name != "none")


COMMANDS = (efficiency,)
