"""The command line: each command parses its arguments and calls one function."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pidlab import __version__
from pidlab.errors import OutputError, PidlabError

if TYPE_CHECKING:
    from pidlab.terminal import Terminal

_PATH = click.Path(path_type=Path)
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
@click.option("--seed", type=int, default=1, show_default=True)
def simulate(sample: str, output: Path, events: int | None, seed: int) -> None:
    """Make a realistic sample to start from."""
    from pidlab.simulate import simulate as make

    make(sample, output, events, seed)
    click.echo(f"wrote {output}")


@cli.command()
@click.argument("config", type=_PATH)
@click.option("-o", "--output", type=_PATH, help="Folder to leave behind; left out: `output` of CONFIG.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For example models.mlp.epochs=20.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), help="Threads for training; left out: all cores.")
@click.option("-q", "--quiet", is_flag=True, help="Only the table of results.")
def run(
    config: Path, output: Path | None, overrides: Sequence[str], device: str, jobs: int | None, quiet: bool
) -> None:
    """Load, preprocess, train, evaluate: compare the models of CONFIG and leave a run behind."""
    from pidlab.config.load import load_config

    loaded = load_config(config, overrides)
    target = output or Path(loaded.config.output or f"runs/{loaded.name}")
    from pidlab.models.contender import Resources
    from pidlab.pipeline import run as run_pipeline
    from pidlab.terminal import results_table, sentences

    with _terminal(quiet) as (console, terminal):
        results = run_pipeline(loaded, target, Resources(device, jobs), terminal)  # type: ignore[arg-type]  # a click.Choice
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
@click.option("-q", "--quiet", is_flag=True)
def apply(run: Path, files: Sequence[str], output: Path, models: Sequence[str], tree: str | None, quiet: bool) -> None:
    """Score FILES with the models of RUN and write a friend tree for each."""
    from pidlab.apply import apply as apply_bundle
    from pidlab.bundle import load_bundle
    from pidlab.terminal import summary_table

    bundle = load_bundle(run, models)
    sources = bundle.recipe.inputs(list(files), tree)
    with _terminal(quiet) as (console, terminal):
        console.print(summary_table(apply_bundle(bundle, sources, output, terminal)))


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
