"""The command line: each command parses its arguments and calls one function."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pidlab import __version__
from pidlab.errors import DataError, OutputError, PidlabError

if TYPE_CHECKING:
    from pidlab.terminal import Terminal

_PATH = click.Path(path_type=Path)
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
_DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="For the networks and BDTs; auto: the GPU where there is one.",
)
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="pidlab")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Particle identification on ROOT files: hand-made cuts, optimised cuts, BDT and network compared fairly."""


@cli.command()
@click.argument("sample", type=click.Choice(["shms", "workshop", "nano"]), default="shms")
@click.option("-o", "--output", type=_PATH, required=True, help="The ROOT file to write.")
@click.option("--events", type=click.IntRange(min=1), help="Number of events; left out: what suits the sample.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same events.")
def simulate(sample: str, output: Path, events: int | None, seed: int) -> None:
    """Make a realistic sample to start from."""
    from pidlab.simulate import simulate as make

    make(sample, output, events, seed)
    click.echo(f"wrote {output}")


@cli.command()
@click.argument("config", type=_PATH)
@click.option("-o", "--output", type=_PATH, help="Folder to leave behind; left out: `output` of CONFIG.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For example models.mlp.epochs=20.")
@_DEVICE
@click.option("--jobs", type=click.IntRange(min=1), help="Threads for training; left out: all cores.")
@click.option("--allow-import", multiple=True, metavar="PACKAGE", help="Let models of type sklearn import it, too.")
@click.option("-q", "--quiet", is_flag=True, help="Only the table of results.")
def run(
    config: Path,
    output: Path | None,
    overrides: Sequence[str],
    device: str,
    jobs: int | None,
    allow_import: Sequence[str],
    quiet: bool,
) -> None:
    """Load, preprocess, train, evaluate: compare the models of CONFIG and leave a run behind."""
    from pidlab.config.load import load_config

    loaded = load_config(config, overrides)
    target = output or Path(loaded.config.output or f"runs/{loaded.name}")
    from pidlab.models.contender import Resources
    from pidlab.pipeline import run as run_pipeline
    from pidlab.terminal import results_table, sentences

    resources = Resources(device, jobs, tuple(allow_import))  # type: ignore[arg-type]  # a click.Choice
    with _terminal(quiet) as (console, terminal):
        results = run_pipeline(loaded, target, resources, terminal)
        console.print(results_table(results))
        for sentence in sentences(results):
            console.print(f"• {sentence}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"report: {target / 'report.html'}", highlight=False, markup=False, soft_wrap=True)


@cli.command()
@click.argument("run", type=_PATH)
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", type=_PATH, required=True, help="The folder for the friend trees.")
@click.option("--model", "models", multiple=True, help="Only this model; may be repeated.")
@click.option("--tree", help="The tree to score, where a file holds several.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes to score in; left out: a few threads of this one.")
@click.option("--dask", metavar="ADDRESS", default="", help="Score on the cluster of this dask scheduler.")
@click.option("--force", is_flag=True, help="Make finished friend trees again.")
@click.option("-q", "--quiet", is_flag=True, help="Only the summary.")
def apply(
    run: Path,
    files: Sequence[str],
    output: Path,
    models: Sequence[str],
    tree: str | None,
    jobs: int | None,
    dask: str,
    force: bool,
    quiet: bool,
) -> None:
    """Score FILES with the models of RUN and write a friend tree for each.

    FILES are paths, patterns, addresses (root://, https://), FILE:TREE, or @LIST, a file with one of these a line;
    paths in it are relative to the working folder. A friend tree that is whole and was made of the same input by the
    same models is left as it is, so a call that was stopped goes on where it was. An input that cannot be read stops
    no other: it is named at the end, and the exit code is 1.
    """
    from pidlab.apply import apply as apply_bundle
    from pidlab.apply import find_inputs
    from pidlab.bundle import load_bundle
    from pidlab.terminal import failures, stage_line, summary_table

    bundle = load_bundle(run, models)
    sources, lost = find_inputs(bundle.recipe, files, tree)
    with _terminal(quiet) as (console, terminal):
        summaries = apply_bundle(bundle, sources, output, terminal, jobs=jobs, dask=dask, force=force)
        if done := [s for s in summaries if not s.failure]:
            console.print(summary_table(done))
            console.print(stage_line(done), highlight=False, markup=False, soft_wrap=True)
    if failed := failures(summaries, lost):
        raise DataError(failed)


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=_PATH)
@click.option("--json", "json_file", type=_PATH, help="Write the comparison to this file too.")
def compare(runs: Sequence[Path], json_file: Path | None) -> None:
    """Show two finished RUNS or more side by side, paired where they tested the same events."""
    from pidlab.compare_runs import as_json, compare_runs, load_runs
    from pidlab.terminal import pair_lines, runs_table

    if len(runs) < 2:
        raise click.UsageError("name two runs or more")
    finished = load_runs(runs)
    pairs = compare_runs(finished)
    with _terminal(quiet=False) as (console, _):
        console.print(runs_table(finished))
        for line in (line for pair in pairs for line in pair_lines(pair)):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if json_file is not None:
        json_file.write_text(as_json(finished, pairs) + "\n", encoding="utf-8")


@cli.command()
@click.argument("run", type=_PATH)
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", type=_PATH, required=True, help="The folder for domain.json and the figures.")
@click.option("--tree", help="The tree to read, where a file holds several.")
@click.option("--jobs", type=click.IntRange(min=1), help="Threads for training; left out: all cores.")
@click.option("-q", "--quiet", is_flag=True, help="Only the answer.")
def domain(run: Path, files: Sequence[str], output: Path, tree: str | None, jobs: int | None, quiet: bool) -> None:
    """Say whether FILES look like the events of RUN: how well a classifier tells them apart, and by what."""
    from pidlab.domain import compare_domain

    with _terminal(quiet) as (console, terminal):
        shift = compare_domain(run, files, output, terminal, tree=tree, n_jobs=jobs)
        console.print(shift.sentence, highlight=False, markup=False, soft_wrap=True)
        console.print(f"figures: {output / 'domain.png'}", highlight=False, markup=False, soft_wrap=True)


@cli.command()
@click.argument("run", type=_PATH)
@_DEVICE
@click.option("--jobs", type=click.IntRange(min=1), help="Threads for training; left out: all cores.")
@click.option("--allow-import", multiple=True, metavar="PACKAGE", help="Let models of type sklearn import it, too.")
@click.option("-q", "--quiet", is_flag=True, help="Only the verdict.")
def reproduce(run: Path, device: str, jobs: int | None, allow_import: Sequence[str], quiet: bool) -> None:
    """Make RUN again, compare every number, and say what changed. Exits with 1 where a number moved."""
    from pidlab.models.contender import Resources
    from pidlab.reproduce import reproduce as make_again
    from pidlab.terminal import reproduction_lines

    resources = Resources(device, jobs, tuple(allow_import))  # type: ignore[arg-type]  # a click.Choice
    with _terminal(quiet) as (console, terminal):
        found = make_again(run, resources, terminal)
        for line in reproduction_lines(found):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not found.identical:
        sys.exit(1)


@cli.command()
@click.argument("run", type=_PATH)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-o", "--output", type=_PATH, default=".", show_default=True, help="The folder for the figures.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["pdf", "png", "svg"]),
    default=["pdf"],
    help="May be repeated.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For example style.experiment=CMS.")
def plot(run: Path, names: Sequence[str], output: Path, formats: Sequence[str], overrides: Sequence[str]) -> None:
    """Make figures of a finished RUN again, with other labels, in another style or format.

    Without NAME, list what there is.
    """
    from pidlab.replot import figure_titles, replot

    if names:
        for path in replot(run, names, output, formats, overrides):
            click.echo(f"wrote {path}")
        return
    titles = figure_titles(run)
    for name, title in titles.items():
        click.echo(f"{name:<{max(map(len, titles))}}  {title}")


@cli.command(epilog=_SEARCH)
@click.argument("config", type=_PATH)
@click.option("--model", required=True, help="The model of CONFIG to tune.")
@click.option("--trials", type=click.IntRange(min=1), default=50, show_default=True, help="How many to make now.")
@click.option("--objective", default="auc", show_default=True, help="auc, or misid:eff90; always on validation.")
@click.option("--search", multiple=True, metavar="KEY=SPEC", help="What to try for a parameter; see below.")
@click.option("--storage", help="Database of the trials: file or address. Left out: STEM.tune.db beside the output.")
@click.option("--together", type=click.IntRange(min=1), default=4, show_default=True, help="Networks in one pass.")
@click.option("--pruner", type=click.Choice(["median", "halving", "none"]), default="median", show_default=True)
@click.option("-o", "--output", type=_PATH, help="Configuration to write. Left out: STEM.tuned.yaml beside CONFIG.")
@_DEVICE
@click.option("--jobs", type=click.IntRange(min=1), help="Threads for training; left out: all cores.")
@click.option("--allow-import", multiple=True, metavar="PACKAGE", help="Let models of type sklearn import it, too.")
@click.option("-q", "--quiet", is_flag=True, help="Only what was found.")
def tune(
    config: Path,
    model: str,
    trials: int,
    search: tuple[str, ...],
    device: str,
    jobs: int | None,
    allow_import: tuple[str, ...],
    quiet: bool,
    **how: Any,
) -> None:
    """Look for better parameters of a model and write a configuration that has them.

    Trials are judged on the validation sample; test events are not looked at. They are kept in a database: the same
    command goes on with them, and processes that share it work together.
    """
    from pidlab.models.contender import Resources
    from pidlab.terminal_tune import trials_table, tuning_lines
    from pidlab.tune import Order
    from pidlab.tune import tune as tune_model

    order = Order(config, model, trials, search=search, **how)
    with _terminal(quiet) as (console, terminal):
        resources = Resources(device, jobs, allow_import)  # type: ignore[arg-type]  # a click.Choice
        found = tune_model(order, resources, terminal)
        console.print(trials_table(found))
        for line in tuning_lines(found):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        console.print(f"wrote {order.target}", highlight=False, markup=False, soft_wrap=True)


@cli.command()
@click.argument("run", type=_PATH)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["header", "onnx", "xgboost", "cuts", "correctionlib"]),
    required=True,
    help="header: C++ without any library. cuts: ROOT cut strings.",
)
@click.option("--model", "models", multiple=True, help="Only this model; may be repeated.")
@click.option("--events", multiple=True, metavar="FILE", help="Check on these events; left out: those of the run.")
@click.option("-o", "--output", type=_PATH, required=True, help="The folder for the files.")
def export(run: Path, format_: str, models: Sequence[str], events: Sequence[str], output: Path) -> None:
    """Write the models of RUN for other programs, and check what is written against pidlab on events."""
    from pidlab.bundle import load_bundle
    from pidlab.export import export as export_bundle
    from pidlab.export import told

    bundle = load_bundle(run, models)
    sources = bundle.recipe.inputs(list(events), None) if events else None
    for exported in export_bundle(bundle, run, format_, models, output, sources):
        click.echo(told(exported))


@cli.command()
@click.argument("file")
@click.option("--ranges", is_flag=True, help="Look at the values: ranges, NaN, missing codes, outliers, duplicates.")
def inspect(file: str, ranges: bool) -> None:
    """Show the trees of FILE[:TREE], their branches, types and entries."""
    from pidlab.inspect import inspect as inspect_table
    from pidlab.read import Table, find_all
    from pidlab.terminal import inspection

    with _terminal(quiet=False) as (console, _):
        for source in find_all(file):
            with Table(source) as table:
                for part in inspection(inspect_table(table, ranges), ranges):
                    console.print(part, soft_wrap=isinstance(part, str), highlight=False, markup=False)


@cli.command()
@click.argument("file")
@click.option("-o", "--output", type=_PATH, default="analysis.yaml", show_default=True, help="The file to write.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(file: str, output: Path, force: bool) -> None:
    """Write a starter configuration for this very FILE[:TREE]."""
    from pidlab.inspect import inspect as inspect_table
    from pidlab.read import Table, find_one
    from pidlab.starter import starter_configuration

    if output.exists() and not force:
        raise OutputError(f"{output}: is there already; name another file with -o, or replace it with --force")
    source = find_one(file)
    path = source.path if "://" in source.path else str(Path(source.path).resolve())
    with Table(source) as table:
        text = starter_configuration(path, source.tree, inspect_table(table), source.columns)
    output.write_text(text, encoding="utf-8")
    click.echo(f"wrote {output}; look it over, then: pidlab run {output}")


@cli.command()
def schema() -> None:
    """Print the JSON schema of the configuration, for editors."""
    import json

    from pidlab.config.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=1))


@contextlib.contextmanager
def _terminal(quiet: bool) -> Iterator[tuple[Any, Terminal]]:
    from rich.console import Console

    from pidlab.terminal import Terminal

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    yield console, Terminal(Console(stderr=True), quiet)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 the work failed, 2 wrong usage or configuration."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        cli.main(words, prog_name="pidlab", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped; nothing half-written was left behind", 130)
    except PidlabError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except MemoryError:
        _fail("out of memory; read fewer branches or fewer events", 1)
    except OSError as error:
        if debug:
            raise
        _fail(str(OutputError(f"{error.filename or 'input or output'}: {error.strerror or error}")), 1)
    sys.exit(0)


def _fail(message: str, code: int) -> None:
    click.echo(f"pidlab: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
