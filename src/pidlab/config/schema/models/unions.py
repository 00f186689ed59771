"""Which sections a model of a configuration may have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator

from pidlab.config.schema.models.anomaly import AutoencoderModel, MixtureModel
from pidlab.config.schema.models.band import BandModel
from pidlab.config.schema.models.classifiers import (
    BdtModel,
    FisherModel,
    LogisticModel,
    MlpModel,
    NaiveBayesModel,
    SklearnModel,
    TreeModel,
)
from pidlab.config.schema.models.cuts import CutsModel
from pidlab.config.schema.models.likelihood import LikelihoodModel
from pidlab.config.schema.models.regression import (
    BdtRegression,
    ConstantRegression,
    LinearRegression,
    MlpRegression,
    SklearnRegression,
)
from pidlab.config.schema.models.untrained import ExpressionModel, ImportedSpec, ScoreModel

ClassifierSpec = (
    CutsModel
    | FisherModel
    | LogisticModel
    | NaiveBayesModel
    | TreeModel
    | MixtureModel
    | AutoencoderModel
    | BandModel
    | LikelihoodModel
    | BdtModel
    | MlpModel
    | SklearnModel
)
"""Sections of classifiers that a run trains."""

RegressorSpec = ConstantRegression | LinearRegression | BdtRegression | MlpRegression | SklearnRegression
"""Sections of regressors that a run trains."""

TrainableSpec = ClassifierSpec | RegressorSpec
"""Sections of models that a run trains."""

ModelSection = Annotated[ExpressionModel | ScoreModel | ClassifierSpec | ImportedSpec, Discriminator("type")]
RegressionSection = Annotated[ScoreModel | RegressorSpec, Discriminator("type")]
