"""The command `pidlab`: runs a command, and turns what it raises into a sentence and an exit code."""

from __future__ import annotations

import io
import re
import signal
import sys
import traceback
from collections.abc import Sequence

import click

from pidlab import __version__
from pidlab.cli import data, efficiency, runs, start, work
from pidlab.cli.options import STOPPED
from pidlab.cli.printable import echo, printable
from pidlab.credentials import without_secrets
from pidlab.errors import OutputError, PidlabError
from pidlab.process import (
    collect_rarely,
    ended_as_by_ctrl_c,
    every_interrupt,
    give_matplotlib_a_folder,
    import_without_pandas,
    open_streams,
    wait_briefly,
)

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="pidlab")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Particle identification on ROOT files: hand-made cuts, optimised cuts, BDT and network compared fairly."""


for _command in (*start.COMMANDS, *work.COMMANDS, *data.COMMANDS, *efficiency.COMMANDS, *runs.COMMANDS):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0 done, 1 the work failed, 2 wrong usage or configuration, 130 stopped by Ctrl-C.

    A command that SIGTERM or SIGHUP ends has 128 and the number of the signal, 143 or 129.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    open_streams()
    collect_rarely()
    give_matplotlib_a_folder()
    import_without_pandas()
    wait_briefly()
    try:
        with ended_as_by_ctrl_c() as ending, every_interrupt():
            cli.main(words, prog_name="pidlab", standalone_mode=False)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        echo(_printable(text.getvalue()).removesuffix("\n"), error=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _stop("stopped; nothing half-written was left behind", ending.came)
    except PidlabError as error:
        if error.exit_code == STOPPED and not debug:
            _stop(str(error), ending.came)
        _fail(traceback.format_exc() if debug else str(error), error.exit_code)
    except MemoryError:
        _fail("out of memory; read fewer branches or fewer events", 1)
    except (ImportError, SystemError) as error:  # raised by a library that does not fit into the address space
        _fail(traceback.format_exc() if debug else _not_loaded(error), 1)
    except OSError as error:
        if error.errno is None:  # raised by a library in C that could not be loaded
            _fail(traceback.format_exc() if debug else _not_loaded(error), 1)
        sentence = OutputError(f"{error.filename or 'input or output'}: {error.strerror or error}")
        _fail(traceback.format_exc() if debug else str(sentence), 1)
    sys.exit(0)


def _not_loaded(error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    return (
        f"a library cannot be loaded ({type(error).__name__}: {reason}): there is not enough memory or address space "
        "(`ulimit -v`), or the installation is not whole"
    )


def _stop(message: str, number: int | None) -> None:
    """Ends a command that the user or another process stopped, with the exit code that shells give it."""
    if number is None:
        _fail(message, STOPPED)
    else:
        _fail(re.sub("^stopped", f"stopped by {signal.Signals(number).name}", message), 128 + number)


def _fail(message: str, code: int) -> None:
    echo(_printable(f"pidlab: {message}"), error=True)
    sys.exit(code)


def _printable(text: str) -> str:
    return printable(without_secrets(text))
