"""Pipeline: one run from beginning to end, in memory or left behind as a folder."""

from pidlab.pipeline.analysis import Analysis, analyse, evaluate, score, train
from pidlab.pipeline.run import run, save_run
from pidlab.preprocess.parts import preprocess

__all__ = ["Analysis", "analyse", "evaluate", "preprocess", "run", "save_run", "score", "train"]
