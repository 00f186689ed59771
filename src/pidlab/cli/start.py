"""Commands to start with: simulate, inspect, init, schema, completion."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from pidlab.cli.options import PATH, terminal
from pidlab.cli.printable import echo
from pidlab.errors import DataError, OutputError, UsageError, nearest

# the list in `simulate` takes long to import
_SAMPLES = ("shms", "workshop", "nano", "tracks", "clas12", "probes", "simulated_probes")


@click.command()
@click.argument("sample", type=click.Choice(_SAMPLES), default="shms")
@click.option("-o", "--output", type=PATH, required=True, help="The ROOT file (HIPO for clas12) to write.")
@click.option("--events", type=click.IntRange(min=1), help="Number of events; left out: what suits the sample.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same events.")
@click.option("--force", is_flag=True, help="Replace a file that is no simulated sample.")
def simulate(sample: str, output: Path, events: int | None, seed: int, force: bool) -> None:
    """Make a realistic sample to start from.

    A sample that was simulated before is replaced. Any other file of that name stays, unless --force is given.
    """
    from pidlab.atomic import refuse_foreign
    from pidlab.simulate import is_sample
    from pidlab.simulate import simulate as make

    if not force:
        refuse_foreign(output, is_sample, "simulate", "choose another output with -o, or replace it with --force")
    make(sample, output, events, seed)
    echo(f"wrote {output}")


@click.command()
@click.argument("file")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--ranges", is_flag=True, help="Look at the values: ranges, NaN, missing codes, outliers, duplicates.")
def inspect(file: str, patterns: Sequence[str], ranges: bool) -> None:
    """Show the trees of FILE[:TREE], their branches, types and entries.

    With PATTERN, only the branches that match one, such as 'P.cal.*'; in quotes, or the shell may take it for files.
    """
    from pidlab.cli.terminal import inspection
    from pidlab.read import Table, find_all, is_wide
    from pidlab.read.inspection import inspect as inspect_table
    from pidlab.read.inspection import matching
    from pidlab.read.root.polygons import polygons_among

    with terminal() as (console, _):
        width = console.width if console.is_terminal else None
        unmatched, known, damage = set(patterns), set[str](), list[str]()
        polygons = {} if patterns else polygons_among(file)
        try:
            sources = find_all(file)
        except DataError:
            if not polygons:
                raise
            sources = []
        for source in sources:
            if is_wide(source) and not patterns:
                wide = (
                    f"{source}: {source.n_entries:,} entries; it has so many branches that listing them takes a while"
                )
                console.print(wide, soft_wrap=True, highlight=False, markup=False)
            with Table(source) as table:
                known.update(table.names)
                unmatched = {pattern for pattern in unmatched if not matching(table.names, [pattern])}
                if patterns and not matching(table.names, patterns):
                    continue
                summary = inspect_table(table, ranges, patterns)
                damage += summary.damage
                for part in inspection(summary, ranges, width):
                    console.print(part, soft_wrap=True, highlight=False, markup=False)
        for name, polygon in polygons.items():
            axes = f"axes {polygon.x} and {polygon.y}" if polygon.x and polygon.y else "axes not stated"
            line = f'{name}: TCutG, {len(polygon.points)} points, {axes}; cutg("{name}") asks it'
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    if damage:
        raise DataError("\n".join(damage))
    if unmatched:
        wrong = [pattern for pattern in patterns if pattern in unmatched]
        raise DataError("\n".join(f"{file}: no branch matches {p!r}; {nearest(p.strip('*?'), known)}" for p in wrong))


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", type=PATH, default="analysis.yaml", show_default=True, help="The file to write.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(files: Sequence[str], output: Path, force: bool) -> None:
    """Write a starter configuration for this very FILE[:TREE].

    Of several files, each holds a class, the signal first: pidlab init electrons.root pions.root
    """
    from pidlab.atomic import write_text
    from pidlab.config.starter import ClassFile, class_names, starter_configuration, starter_of_classes
    from pidlab.read import Table, find_one, usual_collection
    from pidlab.read.inspection import inspect as inspect_table

    if output.exists() and not force:
        raise OutputError(f"{output}: is there already; name another file with -o, or replace it with --force")
    sources = [find_one(file) for file in files]
    if len(set(sources)) < len(sources):
        raise UsageError("a file is named twice; name the file of each class once")
    paths = [_as_configured(s.path, output) for s in sources]
    found = []
    for source, path, name in zip(sources, paths, class_names(paths, [s.tree for s in sources]), strict=True):
        with Table(source, usual_collection(source)) as table:
            summary = inspect_table(table)
            if summary.damage:
                raise DataError("\n".join(summary.damage))
            found.append(ClassFile(path, source.tree, name, summary))
    if len(found) == 1:
        text = starter_configuration(paths[0], sources[0].tree, found[0].summary, sources[0].columns)
    else:
        text = starter_of_classes(found, sources[0].columns)
    write_text(output, text)
    echo(f"wrote {output}; look it over, then: pidlab run {output}")


def _as_configured(path: str, output: Path) -> str:
    """Returns the path of a data file as the configuration `output` names it.

    A relative path stays relative, to the folder of the configuration as all paths in it, so that the folder can be
    moved and shared. Absolute paths and addresses stay as they are.
    """
    if "://" in path or Path(path).is_absolute():
        return path
    return os.path.relpath(Path(path).resolve(), output.resolve().parent)


@click.command()
def schema() -> None:
    """Print the JSON schema of the configuration, for editors."""
    import json

    from pidlab.config.schema import editor_schema

    echo(json.dumps(editor_schema(), indent=1))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options and file names.

    \b
    bash   eval "$(pidlab completion bash)"            in ~/.bashrc
    zsh    eval "$(pidlab completion zsh)"             in ~/.zshrc, after compinit
    fish   pidlab completion fish > ~/.config/fish/completions/pidlab.fish
    """
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    assert complete is not None
    echo(complete(context.find_root().command, {}, "pidlab", "_PIDLAB_COMPLETE").source())


COMMANDS = (simulate, inspect, init, schema, completion)
