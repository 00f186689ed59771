"""Tune: search for better parameters of a model, on the validation sample alone, in a study that can be resumed."""

from pidlab.evaluate.results import Tuning
from pidlab.tune.run import TuningRequest, TuningStopped, tune

__all__ = ["Tuning", "TuningRequest", "TuningStopped", "tune"]
