"""The command line: each command parses its arguments and calls one function."""

from pidlab.cli.entry import cli, main

__all__ = ["cli", "main"]
