"""Models of a regression, which predict a number."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from pidlab.config.schema.base import Epochs, Fraction, Members, Positive, PositiveInt, Width
from pidlab.config.schema.models.base import TrainedModel
from pidlab.config.schema.models.classifiers import Activation, BdtModel, Optimizer, Schedule, SklearnModel


class Predicting(TrainedModel):
    """What models of a regression that a run trains have in common."""

    @property
    def kind(self) -> str:
        """The name of the type of model, under which the registry of models has it."""
        return f"{self.type}_regression"

    def output_names(self, others: list[str]) -> list[str]:
        """Returns the names of the further numbers of each candidate: of a width, or of each quantile."""
        loss = getattr(self, "loss", "")
        if loss == "gaussian":
            return ["sigma"]
        return [quantile_name(each) for each in sorted(getattr(self, "quantiles", ()))] if loss == "quantile" else []


def quantile_name(share: float) -> str:
    """Returns the name of a quantile: q16 for 0.16, q2_5 for 0.025."""
    return f"q{100 * share:.6g}".replace(".", "_")


Quantiles = Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1, max_length=100)]
PredictedBy = Literal["squared", "absolute", "quantile", "gaussian"]
_LOSS = "squared: the mean; absolute: the median; quantile: quantiles; gaussian: mean and width together"
_QUANTILES = "predicted with loss: quantile; the one nearest to 0.5 is the prediction"


def _central() -> list[float]:
    return [0.16, 0.5, 0.84]


class ConstantRegression(Predicting):
    """The same prediction for every candidate: what any other model has to beat."""

    type: Literal["constant"]
    loss: PredictedBy = Field("squared", description=_LOSS)
    quantiles: Quantiles = Field(default_factory=_central, description=_QUANTILES)


class LinearRegression(Predicting):
    """A linear function of the features."""

    type: Literal["linear"]
    loss: Literal["squared", "huber", "absolute"] = Field(
        "squared", description="squared: exact least squares; huber: squared near, absolute for outliers; absolute"
    )
    alpha: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 penalty on the slopes of scaled features")


class BdtRegression(BdtModel, Predicting):
    """Boosted regression trees by xgboost. Further keys are passed to xgboost; their names are checked."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    loss: PredictedBy = Field("squared", description=_LOSS)
    quantiles: Quantiles = Field(default_factory=_central, description=_QUANTILES)


class MlpRegression(Predicting):
    """A fully connected network that predicts a number, or a number and its width."""

    type: Literal["mlp"]
    loss: PredictedBy = Field("squared", description=_LOSS)
    quantiles: Quantiles = Field(default_factory=_central, description=_QUANTILES)
    hidden: list[Width] = Field(default_factory=lambda: [64, 64], description="widths of the layers")
    activation: Activation = Field("silu", description="activation of the hidden layers")
    optimizer: Optimizer = Field("adam", description="optimiser of the weights")
    momentum: Fraction = Field(0.9, description="momentum of sgd")
    learning_rate: Positive = Field(0.01, description="largest learning rate")
    schedule: Schedule = Field("one_cycle", description="schedule of the learning rate")
    batch_size: PositiveInt | None = Field(
        None, description="events in a step; left out: 64 to 512, by the size of the sample"
    )
    epochs: Epochs | None = Field(None, description="largest number of epochs; left out: by the size of the sample")
    patience: PositiveInt | None = Field(None, description="epochs without improvement before stopping")
    dropout: Fraction = Field(0.0, description="share of units dropped in a step")
    batch_norm: bool = Field(False, description="normalise batches before each activation")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 penalty; decoupled with adamw")
    members: Members = Field(1, description="number of networks whose mean is predicted")


class SklearnRegression(SklearnModel, Predicting):
    """Any regressor of scikit-learn, xgboost or lightgbm that can be converted to ONNX, in which it is saved."""
