"""sWeights: weights that project the signal out of its background, from a fit of the mass to friend trees."""

from pidlab.datadriven.sweights.analysis import SweightsRequest, SweightsResult, run
from pidlab.datadriven.sweights.independence import IndependenceTest, independence_tests
from pidlab.datadriven.sweights.replicas import weight_replicas, weight_sum
from pidlab.datadriven.sweights.weights import Weights, WeightSums, cows, sweights

__all__ = [
    "IndependenceTest",
    "SweightsRequest",
    "SweightsResult",
    "WeightSums",
    "Weights",
    "cows",
    "independence_tests",
    "run",
    "sweights",
    "weight_replicas",
    "weight_sum",
]
