"""The group of all commands."""

from __future__ import annotations

import click

from pidlab import __version__
from pidlab.cli import runs, start, work

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="pidlab")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Particle identification on ROOT files: hand-made cuts, optimised cuts, BDT and network compared fairly."""


for _command in (*start.COMMANDS, *work.COMMANDS, *runs.COMMANDS):
    cli.add_command(_command)
