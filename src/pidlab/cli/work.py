"""Commands that do the work: run, evaluate, apply, tune."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pidlab.cli.options import (
    ALLOW_IMPORT,
    AS_JSON,
    DASK,
    DEVICE,
    FIGURES,
    FORCE,
    JOBS,
    MEMORY,
    MODELS,
    ONLY,
    PATH,
    VERBOSE,
    ask_before_replacing,
    resource_options,
    resources,
    say,
    stoppable,
    terminal,
)
from pidlab.cli.printable import echo
from pidlab.errors import DataError

if TYPE_CHECKING:
    from pidlab.evaluate.results import AnyResults

_SEARCH = """\b
SPEC of --search:
  log:LOW:HIGH     a number, even in its logarithm: learning_rate=log:0.005:0.3
  float:LOW:HIGH   a number, even: subsample=float:0.5:1
  int:LOW:HIGH     a whole number: max_depth=int:3:8
  logint:LOW:HIGH  a whole number, even in its logarithm: batch_size=logint:64:2048
  A|B|C            one of these: activation=tanh|relu, hidden=[20,20]|[64,64]
  VALUE            always this value: n_estimators=300
  keep             what CONFIG says, of a parameter that is searched by default
The section `tune: {MODEL: {KEY: SPEC}}` of CONFIG says the same, with a list for a choice.
"""
_TABLE_WIDTH = 100


@click.command()
@click.argument("config", type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder to leave behind; left out: `output` of CONFIG.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="For example models.mlp.epochs=20; models.cuts=null leaves the model out.",
)
@ONLY
@click.option("--events", type=click.IntRange(min=1), help="A first look: train and evaluate on so many events.")
@resource_options
@click.option("--tensorboard", is_flag=True, help="Leave event files of TensorBoard behind: losses, rates and norms.")
@AS_JSON
@FIGURES
@FORCE
@VERBOSE
@click.option("-q", "--quiet", is_flag=True, help="Only the table of results and notes.")
def run(
    config: Path,
    output: Path | None,
    overrides: Sequence[str],
    only: Sequence[str],
    events: int | None,
    tensorboard: bool,
    as_json: bool,
    figures: Any,
    force: bool,
    verbose: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Load, preprocess, train, evaluate: compare the models of CONFIG and leave a run behind.

    Results go to stdout as soon as they are known, before any figure is drawn; progress goes to stderr.
    """
    from pidlab.config.load import load_config

    first_look = () if events is None else (f"events={events}",)
    loaded = load_config(config, [*overrides, *first_look], only)
    target = output or Path(loaded.config.output or f"runs/{loaded.name}")
    ask_before_replacing(target, force)
    before = "the run that was there is untouched" if target.exists() else "nothing was left behind"
    with (
        stoppable(f"{before}. Start it again to make {target}"),
        terminal(quiet, verbose) as (console, watcher),
    ):
        from pidlab.pipeline import run as run_pipeline

        allowed, show = resources(**given), partial(_show, console, as_json=as_json)
        run_pipeline(loaded, target, allowed, watcher, figures=figures, tensorboard=tensorboard, found=show)
        _say_what_is_left(console, target, as_json=as_json)


@click.command()
@click.argument("run", type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder to leave behind; left out: RUN itself is replaced.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of evaluate, labels, spectators and style, for example evaluate.working_points=[0.8].",
)
@JOBS
@MEMORY
@DASK
@AS_JSON
@FIGURES
@FORCE
@VERBOSE
@click.option("-q", "--quiet", is_flag=True, help="Only the table of results.")
def evaluate(
    run: Path,
    output: Path | None,
    overrides: Sequence[str],
    as_json: bool,
    figures: Any,
    force: bool,
    verbose: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Evaluate the models of RUN again, with other settings and without training.

    The inputs are read again, divided as before and scored by the models as they were trained. Thresholds are set anew
    for the working points that are asked for, and a whole run is left behind.
    """
    target = output or run
    ask_before_replacing(target, force)
    with (
        stoppable(f"{run} is untouched"),
        terminal(quiet, verbose) as (console, watcher),
    ):
        from pidlab.pipeline.again import evaluate_again

        allowed, show = resources(**given), partial(_show, console, as_json=as_json)
        evaluate_again(run, output, overrides, allowed, watcher, figures=figures, found=show)
        _say_what_is_left(console, target, as_json=as_json)


def _show(console: Any, results: AnyResults, *, as_json: bool) -> None:
    """Prints the table and the sentences of a run, unless its numbers are to be printed as JSON."""
    if as_json:
        return
    from pidlab.cli.terminal import results_table, sentences

    console.print(results_table(results), width=min(console.width, _TABLE_WIDTH))
    for sentence in sentences(results):
        say(console, f"• {sentence}")


def _say_what_is_left(console: Any, run: Path, *, as_json: bool) -> None:
    """Prints the numbers of a run that was left behind, or where its report is."""
    if as_json:
        echo((run / "metrics.json").read_text(encoding="utf-8").removesuffix("\n"))
    else:
        say(console, f"report: {run / 'report.html'}")


@click.command()
@click.argument("run", type=PATH)
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="The folder for the friend trees.")
@MODELS
@click.option("--tree", help="The tree to score, where a file holds several.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes to score in; left out: a few threads of this one.")
@click.option("--dask", metavar="ADDRESS", default="", help="Score on the cluster of this dask scheduler.")
@click.option("--efficiency", type=PATH, metavar="DIR", help="Add efficiencies that `pidlab efficiency` measured.")
@click.option("--replicas", type=click.IntRange(0, 1000), default=0, help="Add so many replicas of the efficiencies.")
@click.option("--report", is_flag=True, help="Write report.html too: what is accepted, beside what RUN lets expect.")
@click.option("--force", is_flag=True, help="Make finished friend trees again.")
@click.option("-q", "--quiet", is_flag=True, help="Only the summary and notes.")
def apply(
    run: Path,
    files: Sequence[str],
    output: Path,
    models: Sequence[str],
    tree: str | None,
    jobs: int | None,
    dask: str,
    efficiency: Path | None,
    replicas: int,
    report: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Score FILES with the models of RUN and write a friend tree for each.

    FILES are paths, patterns, addresses (root://, https://), FILE:TREE, or @LIST, a file with one of these a line;
    paths in it are relative to the working folder. A friend tree that is whole and was made of the same input by the
    same models is left as it is, so a call that was stopped goes on where it was. An input that cannot be read stops
    no other: it is named at the end, and the exit code is 1.

    --report adds report.html, report.root and report.json: the cut flow, scores, and features and spectators of what
    each working point accepts and rejects, beside the test sample of RUN, and whether a classifier tells FILES from the
    events of RUN. FILES need no labels.
    """
    rest = "makes all of them again" if force else "goes on with the others"
    with (
        stoppable(f"friend trees that were finished stay in {output}; the same command {rest}"),
        terminal(quiet) as (console, watcher),
    ):
        from pidlab.apply import apply as apply_bundle
        from pidlab.apply import find_inputs
        from pidlab.cli.terminal import failures, stage_line, summary_table
        from pidlab.runs.bundle import load_bundle

        bundle = load_bundle(run, models)
        if not bundle.verified:
            watcher.note(
                f"{run} was made by a version of pidlab that kept no checksums: damage of its files may not be seen."
            )
        if efficiency is not None:
            from pidlab.datadriven.efficiency.weights import with_efficiencies

            bundle, said = with_efficiencies(bundle, efficiency, replicas)
            for sentence in said:
                watcher.note(sentence)
        elif replicas:
            raise click.UsageError("--replicas needs the folder of a measurement: --efficiency DIR")
        made = None
        if report:
            from pidlab.apply.report import ApplyReport
            from pidlab.runs.whole import refuse_run

            refuse_run(output)
            made = ApplyReport.of(bundle)
        sources, unreadable = find_inputs(bundle.recipe, files, tree)
        summaries = apply_bundle(
            bundle,
            sources,
            output,
            watcher,
            jobs=jobs,
            dask=dask,
            force=force,
            tallies=None if made is None else made.tallies,
        )
        if done := [s for s in summaries if not s.failure]:
            console.print(summary_table(done))
            say(console, stage_line(done))
        if made is not None:
            made.unreadable = unreadable
            page = made.write(output, summaries, watcher, n_jobs=jobs)
            say(console, f"report: {page}" if page is not None else "no report: no input could be scored")
    if failed := failures(summaries, unreadable):
        raise DataError(failed)


@click.command(epilog=_SEARCH)
@click.argument("config", type=PATH)
@click.option("--model", required=True, help="The model of CONFIG to tune.")
@click.option("--trials", type=click.IntRange(min=1), default=50, show_default=True, help="How many to make now.")
@click.option(
    "--objective",
    default="",
    help="auc or misid:eff90; with a target rms, mae or sigma68; always on validation. Left out: auc, or rms.",
)
@click.option("--search", multiple=True, metavar="KEY=SPEC", help="What to try for a parameter; see below.")
@click.option("--storage", help="Database of the trials: file or address. Left out: STEM.tune.db beside the output.")
@click.option("--together", type=click.IntRange(min=1), default=4, show_default=True, help="Networks in one pass.")
@click.option("--pruner", type=click.Choice(["median", "halving", "none"]), default="median", show_default=True)
@click.option("-o", "--output", type=PATH, help="Configuration to write. Left out: STEM.tuned.yaml beside CONFIG.")
@DEVICE
@JOBS
@click.option("--dask", metavar="ADDRESS", default="", help="Make the trials on the cluster of this dask scheduler.")
@ALLOW_IMPORT
@click.option("-q", "--quiet", is_flag=True, help="Only what was found, and notes.")
def tune(
    config: Path,
    model: str,
    trials: int,
    search: tuple[str, ...],
    device: str,
    jobs: int | None,
    dask: str,
    allow_import: tuple[str, ...],
    quiet: bool,
    **how: Any,
) -> None:
    """Look for better parameters of a model and write a configuration that has them.

    Trials are judged on the validation sample; test events are not looked at. They are kept in a database: the same
    command goes on with them, and processes that share it work together.
    """
    with (
        stoppable("trials that were finished are kept; the same command goes on"),
        terminal(quiet) as (console, watcher),
    ):
        from pidlab.cli.terminal import trials_table, tuning_lines
        from pidlab.tune import TuningRequest
        from pidlab.tune import tune as tune_model

        request = TuningRequest(config, model, trials, search=search, **how)
        found = tune_model(request, resources(device, jobs, allow_import, dask=dask), watcher)
        console.print(trials_table(found))
        for line in tuning_lines(found):
            say(console, line)
        say(console, f"wrote {request.target}")


COMMANDS = (run, evaluate, apply, tune)
