"""Commands on finished runs: compare, reproduce, plot, export, domain, explain."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pidlab.cli.options import JOBS, MODELS, PATH, TREE, TwoNumbers, resource_options, resources, say, terminal
from pidlab.cli.printable import echo

_LIMITS = TwoNumbers(",", "0.8,1")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--json", "json_file", type=PATH, help="Write the comparison to this file too.")
@click.option("--force", is_flag=True, help="Replace the file even if it is no comparison.")
def compare(runs: Sequence[Path], json_file: Path | None, force: bool) -> None:
    """Show two finished RUNS or more side by side, paired where they tested the same events."""
    from pidlab.atomic import refuse_foreign, write_text
    from pidlab.cli.terminal import pair_lines, runs_table
    from pidlab.runs.compare import as_json, compare_runs, is_comparison, load_runs

    if len(runs) < 2:
        raise click.UsageError("name two runs or more")
    if json_file is not None and not force:
        advice = "choose another file with --json, or replace it with --force"
        refuse_foreign(json_file, is_comparison, "compare", advice)
    finished = load_runs(runs)
    pairs = compare_runs(finished)
    with terminal() as (console, _):
        console.print(runs_table(finished))
        for line in pair_lines(pairs):
            say(console, line)
    if json_file is not None:
        write_text(json_file, as_json(finished, pairs) + "\n")


@click.command()
@click.argument("run", type=PATH)
@resource_options
@click.option("-q", "--quiet", is_flag=True, help="Only the verdict and notes.")
def reproduce(run: Path, quiet: bool, **given: Any) -> None:
    """Make RUN again, compare every number, and say what changed. Exits with 1 where a number moved."""
    from pidlab.cli.terminal import reproduction_lines
    from pidlab.runs.reproduce import reproduce as make_again

    with terminal(quiet) as (console, watcher):
        found = make_again(run, resources(**given), watcher)
        for line in reproduction_lines(found):
            say(console, line)
    if not found.identical:
        sys.exit(1)


@click.command()
@click.argument("run", type=PATH)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-o", "--output", type=PATH, default=".", show_default=True, help="The folder for the figures.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["pdf", "png", "svg"]),
    default=["pdf"],
    help="May be repeated.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For example style.experiment=CMS.")
@click.option("--models", metavar="NAME,NAME", help="Only these models, in this order.")
@click.option("--reference", metavar="NAME", help="The model that ratios and differences refer to.")
@click.option("--log/--no-log", default=None, help="Logarithmic or linear y axis.")
@click.option("--logx/--no-logx", default=None, help="Logarithmic or linear x axis.")
@click.option("--xlim", type=_LIMITS, help="For example 0.8,1.")
@click.option("--ylim", type=_LIMITS, help="For the first panel, and all of the same quantity.")
@click.option("--title", help="A text above the figure; TeX stands between dollars.")
def plot(
    run: Path,
    names: Sequence[str],
    output: Path,
    formats: Sequence[str],
    overrides: Sequence[str],
    models: str | None,
    **options: Any,
) -> None:
    """Make figures of a finished RUN again: other models, limits, labels, another style or format.

    Without NAME, list what there is.
    """
    from pidlab.runs.replot import figure_titles, replot

    chosen = None if models is None else [name.strip() for name in models.split(",") if name.strip()]
    if names:
        for path in replot(run, names, output, formats, overrides, models=chosen, **options):
            echo(f"wrote {path}")
        return
    given = [name for name, value in (("models", models), *options.items()) if value is not None]
    if given:
        raise click.UsageError(f"--{given[0]} needs the NAME of a figure; without options, the figures are listed")
    titles = figure_titles(run)
    for name, title in titles.items():
        echo(f"{name:<{max(map(len, titles))}}  {title}")


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["header", "onnx", "xgboost", "cuts", "correctionlib"]),
    required=True,
    help="header: C++ without any library. cuts: ROOT cut strings.",
)
@MODELS
@click.option("--events", multiple=True, metavar="FILE", help="Check on these events; left out: those of the run.")
@click.option("-o", "--output", type=PATH, required=True, help="The folder for the files.")
def export(run: Path, format_: str, models: Sequence[str], events: Sequence[str], output: Path) -> None:
    """Write the models of RUN for other programs, and check what is written against pidlab on events."""
    from pidlab.cli.terminal import summary_line
    from pidlab.export import export as export_bundle
    from pidlab.runs.bundle import load_bundle

    bundle = load_bundle(run, models)
    sources = bundle.recipe.inputs(list(events), None) if events else None
    for exported in export_bundle(bundle, run, format_, models, output, sources):
        echo(summary_line(exported))


@click.command()
@click.argument("run", type=PATH)
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="The folder for domain.json and the figures.")
@TREE
@JOBS
@click.option("-q", "--quiet", is_flag=True, help="Only the answer and notes.")
def domain(run: Path, files: Sequence[str], output: Path, tree: str | None, jobs: int | None, quiet: bool) -> None:
    """Say whether FILES look like the events of RUN: how well a classifier tells them apart, and by what."""
    from pidlab.runs.shift import compare_domain

    with terminal(quiet) as (console, watcher):
        shift = compare_domain(run, files, output, watcher, tree=tree, n_jobs=jobs)
        say(console, shift.sentence)
        say(console, f"figures: {output / 'domain.png'}")


@click.command()
@click.argument("run", type=PATH)
@click.argument("file")
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="ID,…",
    help="The values of data.event_id, in its order or as run=5,event=123; may be repeated.",
)
@click.option(
    "--entry", "entries", multiple=True, type=click.IntRange(min=0), help="An entry, from 0; may be repeated."
)
@MODELS
@TREE
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of tables.")
@click.option("-o", "--output", type=PATH, help="A figure (.png, .pdf, .svg), or a folder for one of each event.")
def explain(
    run: Path,
    file: str,
    events: Sequence[str],
    entries: Sequence[int],
    models: Sequence[str],
    tree: str | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Explain single events of FILE by the models of RUN: features, scores, and what each feature contributes.

    FILE is any file with the branches of the run. Contributions sum to the margin, the log-odds of the signal.
    """
    from pidlab.apply.explanation import event_key
    from pidlab.apply.explanation import explain as explain_events
    from pidlab.apply.scoring import Scorer, training_keys
    from pidlab.runs.bundle import load_bundle

    bundle = load_bundle(run, models)
    keys = [event_key(bundle.recipe, text) for text in events]
    found = explain_events(Scorer(bundle, training_keys(bundle)), file, events=keys, entries=entries, tree=tree)
    written = []
    if output is not None:
        from pidlab.plots.exploring.waterfall import write_figures

        written = write_figures(found, output, bundle.recipe.loaded.config.style)
    if as_json:
        import json

        echo(json.dumps({"run": str(run), "events": [event.to_json() for event in found]}, indent=1, allow_nan=False))
        return
    from pidlab.cli.terminal.explanation import explanation_notes, explanation_tables

    with terminal() as (console, _):
        for event in found:
            for table in explanation_tables(event):
                console.print(table)
            for note in explanation_notes(event):
                say(console, note)
    for path in written:
        echo(f"wrote {path}")


COMMANDS = (compare, reproduce, plot, export, domain, explain)
