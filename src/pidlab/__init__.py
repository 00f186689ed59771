"""Particle identification on ROOT files: cuts, BDT and network compared fairly, and carried back into ROOT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pidlab import moved

if TYPE_CHECKING:
    from pidlab.config.schema import Config
    from pidlab.models.band.estimator import Band
    from pidlab.models.bdt.estimator import BDT
    from pidlab.models.cuts.estimator import Cuts
    from pidlab.models.fisher import Fisher
    from pidlab.models.likelihood import Likelihood
    from pidlab.models.logistic import Logistic
    from pidlab.models.mlp.estimator import MLP
    from pidlab.models.naive_bayes import NaiveBayes
    from pidlab.models.regressors.bdt import BDTRegressor
    from pidlab.models.regressors.constant import ConstantRegressor
    from pidlab.models.regressors.linear import LinearRegressor
    from pidlab.models.regressors.network import MLPRegressor
    from pidlab.models.tree.estimator import DecisionTree
    from pidlab.pipeline.interface import compare, run
    from pidlab.pipeline.loaded import LoadedRun, load
    from pidlab.pipeline.result import RegressionResult, Result

__version__ = "0.1.0"
__all__ = [
    "BDT",
    "MLP",
    "BDTRegressor",
    "Band",
    "Config",
    "ConstantRegressor",
    "Cuts",
    "DecisionTree",
    "Fisher",
    "Likelihood",
    "LinearRegressor",
    "LoadedRun",
    "Logistic",
    "MLPRegressor",
    "NaiveBayes",
    "RegressionResult",
    "Result",
    "__version__",
    "compare",
    "load",
    "run",
]

_PLACES = {
    "BDT": "models.bdt.estimator",
    "BDTRegressor": "models.regressors.bdt",
    "Band": "models.band.estimator",
    "MLP": "models.mlp.estimator",
    "MLPRegressor": "models.regressors.network",
    "Config": "config.schema",
    "ConstantRegressor": "models.regressors.constant",
    "Cuts": "models.cuts.estimator",
    "DecisionTree": "models.tree.estimator",
    "Fisher": "models.fisher",
    "Likelihood": "models.likelihood",
    "LinearRegressor": "models.regressors.linear",
    "LoadedRun": "pipeline.loaded",
    "Logistic": "models.logistic",
    "NaiveBayes": "models.naive_bayes",
    "RegressionResult": "pipeline.result",
    "Result": "pipeline.result",
    "compare": "pipeline.interface",
    "load": "pipeline.loaded",
    "run": "pipeline.interface",
}

moved.install()

__getattr__ = moved.on_demand(__name__, _PLACES)
"""The public names are imported, with the libraries that they need, when they are asked for."""


def __dir__() -> list[str]:
    return sorted(__all__)
