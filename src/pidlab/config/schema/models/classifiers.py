"""Classifiers that a run trains on the features."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from pidlab.config.schema.base import Epochs, Fraction, Members, Positive, PositiveInt, Width
from pidlab.config.schema.models.base import TrainedModel

Activation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout", "silu", "gelu"]
Optimizer = Literal["sgd", "rmsprop", "adam", "adamw", "nadam"]
Schedule = Literal["constant", "one_cycle", "cosine", "exponential", "step"]


class FisherModel(TrainedModel):
    """Fisher's linear discriminant."""

    type: Literal["fisher"]


class LogisticModel(TrainedModel):
    """Logistic regression, a linear baseline."""

    type: Literal["logistic"]
    C: Positive = Field(1.0, description="inverse strength of the L2 penalty")


class NaiveBayesModel(TrainedModel):
    """Gaussian naive Bayes, which takes the features of each class as normal and independent."""

    type: Literal["naive_bayes"]
    var_smoothing: Positive = Field(
        1e-9, description="share of a feature's variance that is added to its variance in each class"
    )


class TreeModel(TrainedModel):
    """A single decision tree by scikit-learn, whose leaves are boxes: it is drawn, and exported as a cut string."""

    type: Literal["tree"]
    criterion: Literal["entropy", "gini"] = Field("entropy", description="what a split lowers")
    max_depth: PositiveInt | None = Field(5, description="largest depth; null: as deep as min_leaf allows")
    min_leaf: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.002, description="least share of the training weight in a leaf"
    )


class BdtModel(TrainedModel):
    """Boosted decision trees by xgboost. Further keys are passed to xgboost; their names are checked."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    type: Literal["bdt"]
    n_estimators: PositiveInt = Field(1000, description="largest number of boosting rounds")
    max_depth: PositiveInt = Field(5, description="largest depth of a tree")
    learning_rate: Positive = Field(0.05, description="factor on each tree that is added")
    early_stopping_rounds: PositiveInt | None = Field(
        50, description="rounds without a better validation loss before training stops; null: never"
    )
    subsample: Annotated[float, Field(gt=0, le=1)] = Field(
        0.7, description="share of the rows that are drawn for a tree"
    )
    colsample_bynode: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="share of the features that are drawn for a node"
    )


class MlpModel(TrainedModel):
    """A fully connected network. `preset: workshop` is batch 128 at a constant 1e-4, without early stopping."""

    type: Literal["mlp"]
    preset: Literal["default", "workshop"] = Field("default", description="the defaults of the keys below")
    hidden: list[Width] | None = Field(None, description="widths of the layers; left out: [64, 64]; workshop: [20, 20]")
    activation: Activation | None = Field(
        None, description="activation of the hidden layers; left out: silu; workshop: tanh"
    )
    loss: Literal["cross_entropy", "squared", "absolute", "focal"] = Field(
        "cross_entropy", description="loss that is minimised"
    )
    optimizer: Optimizer = Field("adam", description="optimiser of the weights")
    momentum: Fraction = Field(0.9, description="momentum of sgd")
    learning_rate: Positive | None = Field(None, description="largest learning rate; left out: 0.01; workshop: 0.0001")
    schedule: Schedule | None = Field(
        None, description="schedule of the learning rate; left out: one_cycle; workshop: constant"
    )
    batch_size: PositiveInt | None = Field(
        None, description="events in a step; left out: 64 to 512, by the size of the sample; workshop: 128"
    )
    epochs: Epochs | None = Field(
        None, description="largest number of epochs; left out: 10 to 200, by the size of the sample; workshop: 50"
    )
    patience: PositiveInt | None = Field(None, description="epochs without improvement before stopping")
    dropout: Fraction | None = Field(
        None,
        description="share of units dropped in a step; left out: 0.1 or 0.2 for samples small for their features, "
        "else 0",
    )
    swap_noise: Fraction | None = Field(
        None,
        description="share of feature values that are another event's in a step; left out: 0.15 where the sample is "
        "small for its features and it lowers the validation loss, else 0",
    )
    batch_norm: bool = Field(False, description="normalise batches before each activation")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 penalty; decoupled with adamw")
    members: Members | None = Field(
        None,
        description="number of networks whose mean probability is the score; left out: 4 for samples small for their "
        "features, 8 with swap noise, else 1",
    )


class SklearnModel(TrainedModel):
    """Any classifier of scikit-learn, xgboost or lightgbm that can be converted to ONNX, in which it is saved."""

    type: Literal["sklearn"]
    estimator: str = Field(min_length=1, description="import path, such as sklearn.ensemble.RandomForestClassifier")
    parameters: dict[str, Any] = Field(default_factory=dict, description="parameters of that class, by name")
    scaled: bool = Field(
        True, description="scale the features as for the network; false: features in their units, which suits trees"
    )
    features: list[str] | None = Field(None, description="the features to train on; left out: all")
    object: bool = Field(
        False, description="written by pidlab.compare: the estimator was given as an object, which no file holds"
    )
