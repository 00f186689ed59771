"""The terminal: progress while a command works, and tables and sentences of its results."""

from pidlab.cli.terminal.console import PlainConsole
from pidlab.cli.terminal.friends import failures, stage_line, summary_table
from pidlab.cli.terminal.inspection import inspection
from pidlab.cli.terminal.progress import Terminal
from pidlab.cli.terminal.results import results_table, sentences
from pidlab.cli.terminal.runs import pair_lines, reproduction_lines, runs_table, summary_line
from pidlab.cli.terminal.tuning import trials_table, tuning_lines
