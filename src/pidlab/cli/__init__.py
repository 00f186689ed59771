"""The command line: each command parses its arguments and calls one function."""

from pidlab.cli.entry import main
from pidlab.cli.group import cli

__all__ = ["cli", "main"]
