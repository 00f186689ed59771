"""Apply: score files with the models of a run and write a friend tree for each."""

from pidlab.apply.inputs import UnreadableInput, find_inputs
from pidlab.apply.outputs import Summary, friend_paths
from pidlab.apply.run_friends import write_run_friends
from pidlab.apply.scoring import friend_branches, score_branches
from pidlab.apply.stream import apply

__all__ = [
    "Summary",
    "UnreadableInput",
    "apply",
    "find_inputs",
    "friend_branches",
    "friend_paths",
    "score_branches",
    "write_run_friends",
]
