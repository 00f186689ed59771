"""The terminal: progress while it works, and tables and sentences of what came out."""

from pidlab.terminal.console import PlainConsole
from pidlab.terminal.friends import failures, stage_line, summary_table
from pidlab.terminal.inspection import inspection
from pidlab.terminal.progress import Terminal
from pidlab.terminal.results import results_table, sentences
from pidlab.terminal.runs import MOST_MOVED, pair_lines, reproduction_lines, runs_table
from pidlab.terminal.tuning import trials_table, tuning_lines

__all__ = [
    "MOST_MOVED",
    "PlainConsole",
    "Terminal",
    "failures",
    "inspection",
    "pair_lines",
    "reproduction_lines",
    "results_table",
    "runs_table",
    "sentences",
    "stage_line",
    "summary_table",
    "trials_table",
    "tuning_lines",
]
