"""Pipeline: one run from beginning to end, in memory or left behind as a folder."""

from typing import TYPE_CHECKING

from pidlab.moved import on_demand
from pidlab.pipeline.run import run, save_run  # a module of this name would take the place of a name on demand
from pidlab.preprocess.parts import preprocess

if TYPE_CHECKING:
    from pidlab.pipeline.analysis import Analysis, analyse, evaluate, score, train

__all__ = ["Analysis", "analyse", "evaluate", "preprocess", "run", "save_run", "score", "train"]

__getattr__ = on_demand(__name__, dict.fromkeys(("Analysis", "analyse", "evaluate", "score", "train"), "analysis"))
