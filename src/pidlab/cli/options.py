"""Types and options that several commands share, and the terminal that they write to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pidlab.cli.printable import not_shown, printable
from pidlab.errors import PidlabError
from pidlab.process import every_interrupt

if TYPE_CHECKING:
    from rich.console import Console

    from pidlab.cli.terminal import Terminal
    from pidlab.models.registry import Resources


class _Size(click.ParamType[int]):
    """A number of bytes, such as 4GB."""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Returns the bytes; anything that is no size is a usage error."""
        from pidlab.preprocess.store import bytes_of

        try:
            return bytes_of(value)
        except PidlabError as error:
            self.fail(str(error), param, ctx)


PATH = click.Path(path_type=Path)
DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="For networks, BDTs and models in ONNX; auto: train on the GPU where there is one.",
)
JOBS = click.option("--jobs", type=click.IntRange(min=1), help="Threads for training; left out: all cores.")
MEMORY = click.option(
    "--memory",
    type=_Size(),
    metavar="SIZE",
    help="What the process may take, such as 4GB; columns that would take over half of it become temporary files.",
)
ALLOW_IMPORT = click.option(
    "--allow-import", multiple=True, metavar="PACKAGE", help="Let models of type sklearn import it, too."
)
DASK = click.option(
    "--dask",
    metavar="ADDRESS",
    default="",
    help="Work on the cluster of this dask scheduler; the events stay in the memory of its workers.",
)
AS_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print the numbers, metrics.json, in place of the table."
)
FIGURES = click.option(
    "--figures",
    type=click.Choice(["none", "quick", "all"]),
    default="all",
    show_default=True,
    help="Figures to draw: none; quick: ROC curves and responses; `pidlab plot` draws others later.",
)
FORCE = click.option("--force", is_flag=True, help="Replace a finished run without asking.")
ONLY = click.option(
    "--only", multiple=True, metavar="NAME", help="Train and evaluate only this model; may be repeated."
)
MODELS = click.option("--model", "models", multiple=True, help="Only this model; may be repeated.")
TREE = click.option("--tree", help="The tree to read, where a file holds several.")
VERBOSE = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Seconds of each stage; where stderr is no terminal, lines of progress too.",
)


class TwoNumbers(click.ParamType[tuple[float, float]]):
    """Two numbers with a separator between them, such as LOW,HIGH."""

    def __init__(self, separator: str, example: str) -> None:
        self.name = f"LOW{separator}HIGH"
        self.separator, self.example = separator, example

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float]:
        """Returns both numbers; anything else is a usage error."""
        if isinstance(value, tuple):
            return value
        if "−" in value or "–" in value:
            self.fail(f"{value!r} has a dash that is no minus sign; type '-'", param, ctx)
        try:
            low, high = (float(number) for number in value.split(self.separator))
        except ValueError:
            self.fail(f"{value!r} is not two numbers {self.name}, as in {self.example}", param, ctx)
        return low, high


STOPPED = 130
"""The exit code of a command that Ctrl-C ended, as in shells."""


class Stopped(PidlabError):  # noqa: N818  # not an error, since the user wanted it
    """The user stopped a command."""

    exit_code = STOPPED


@contextmanager
def stoppable(continuation: str) -> Iterator[None]:
    """Lets Ctrl-C in the block end the command with a sentence that says how to go on.

    Raises:
        Stopped: the user pressed Ctrl-C.
    """
    try:
        with every_interrupt():
            yield
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {continuation}") from None


def ask_before_replacing(target: Path, force: bool) -> None:
    """Asks on a terminal whether a finished run may be replaced. Elsewhere it may, and a note says so.

    Raises:
        Stopped: the answer is no.
    """
    from pidlab.runs.manifest import is_run, said_of

    in_notebook = "JPY_PARENT_PID" in os.environ  # Jupyter gives a command a terminal on which nobody can answer
    if force or in_notebook or not (sys.stdin.isatty() and sys.stderr.isatty()) or not is_run(target):
        return
    question = f"{target} holds {said_of(target)}. Replace it when the new one is whole?"
    if not click.confirm(printable(question), err=True):
        raise Stopped(f"{target} is untouched; -o names another folder, and --force replaces it without asking")


def resource_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of what a run may use, which the command hands on to `resources`."""
    for option in (ALLOW_IMPORT, DASK, MEMORY, JOBS, DEVICE):  # in --help the last one is first
        command = option(command)
    return command


def resources(
    device: str = "auto",
    jobs: int | None = None,
    allow_import: Sequence[str] = (),
    memory: int | None = None,
    dask: str = "",
) -> Resources:
    """Returns what a run may use, from the options of a command."""
    from pidlab.models.registry import Resources

    return Resources(device, jobs, tuple(allow_import), memory, dask=dask)  # type: ignore[arg-type]  # a click.Choice


@contextmanager
def terminal(quiet: bool = False, verbose: bool = False) -> Iterator[tuple[Console, Terminal]]:
    """Gives the console for results, on stdout, and the watcher that shows progress on stderr.

    Raises:
        OutputError: in the end, if stdout could not be written.
    """
    from pidlab.cli.terminal import PlainConsole, Terminal

    console = PlainConsole()
    if not console.is_terminal:
        console = PlainConsole(width=140)
    watcher = Terminal(PlainConsole(stderr=True), quiet, verbose)
    yield console, watcher
    watcher.finish()
    if console.failure is not None:
        raise not_shown(console.failure) from console.failure


def say(console: Any, sentence: str) -> None:
    """Prints a sentence on one line, without colours."""
    console.print(sentence, highlight=False, soft_wrap=True)
