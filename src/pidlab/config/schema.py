"""The configuration as typed sections: what may be said, and what it means when it is left out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field

Expression = Annotated[str, Field(min_length=1, max_length=10_000)]
Number = int | float
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
PositiveInt = Annotated[int, Field(gt=0)]
Edges = Annotated[list[float], Field(min_length=2)]


class Section(BaseModel):
    """A section of the configuration: unknown keys are mistakes, values are not coerced from strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Data(Section):
    """Where the events are."""

    files: str | list[str] | None = Field(None, description="path, glob or file.root:tree, or a list of them")
    tree: str | None = Field(None, description="may be left out where a file holds one tree")
    columns: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="names for the columns of csv and npy files that do not name them"
    )
    friends: list[str] = Field(
        default_factory=list,
        description="trees with one entry for each entry of the input; {stem}, {folder} and {tree} are the input's",
    )
    per: str | Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="one row a candidate of this jagged collection"
    )
    event_id: list[str] = Field(default_factory=list, description="integer branches that identify an event")
    weight: Expression = "1"
    aliases: dict[Name, Expression] = Field(default_factory=dict)


class ClassTable(Section):
    """A class with a table of its own, or with a cut and a weight of its own."""

    files: str | list[str] | None = None
    tree: str | None = None
    cut: Expression = "1"
    weight: Expression | None = None


class Feature(Section):
    """One input of the models."""

    name: str = Field(min_length=1)
    expression: Expression
    missing: list[Number] = Field(default_factory=list, description="values that mean: not measured")
    unit: str = ""
    label: str = ""


class Split(Section):
    """How the events are divided."""

    test: Fraction | Expression = Field(0.25, description="share of all events, or an expression true for test")
    validation: Fraction = Field(0.15, description="share of what is left after test")
    seed: int = 1


class ExpressionModel(Section):
    """Somebody's cuts, as they are."""

    type: Literal["expression"]
    cut: Expression


class ScoreModel(Section):
    """A discriminant that the file already holds; larger means more like the signal."""

    type: Literal["score"]
    expression: Expression


class CutsModel(Section):
    """Rectangular cuts, one window a feature, optimised together."""

    type: Literal["cuts"]
    nested: bool = True
    search: Literal["archive", "genetic", "annealing", "monte-carlo"] = "archive"
    sides: dict[str, Literal["auto", "min", "max", "both"]] = Field(default_factory=dict)
    ranges: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(default_factory=dict)
    min_width: dict[str, Positive] = Field(default_factory=dict)
    features: list[str] | None = Field(None, description="the features to cut on; left out: all")


class FisherModel(Section):
    """Fisher's linear discriminant."""

    type: Literal["fisher"]


class LogisticModel(Section):
    """Logistic regression, as a linear baseline."""

    type: Literal["logistic"]
    C: Positive = 1.0


class BdtModel(BaseModel):
    """Boosted decision trees by xgboost; any xgboost parameter is passed on, checked by name."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    type: Literal["bdt"]
    n_estimators: PositiveInt = 1000
    max_depth: PositiveInt = 5
    learning_rate: Positive = 0.05
    early_stopping_rounds: PositiveInt | None = 50
    subsample: Annotated[float, Field(gt=0, le=1)] = 0.7
    colsample_bynode: Annotated[float, Field(gt=0, le=1)] = 0.8


class MlpModel(Section):
    """A fully connected network. `preset: workshop` is batch 128 at a constant 1e-4, without early stopping."""

    type: Literal["mlp"]
    preset: Literal["default", "workshop"] = "default"
    hidden: list[PositiveInt] | None = Field(None, description="left out: [64, 64]; workshop: [20, 20]")
    activation: Literal["sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout", "silu", "gelu"] | None = None
    loss: Literal["cross_entropy", "squared", "absolute", "focal"] = "cross_entropy"
    optimizer: Literal["sgd", "rmsprop", "adam", "adamw", "nadam"] = "adam"
    momentum: Fraction = 0.9
    learning_rate: Positive | None = None
    schedule: Literal["constant", "one_cycle", "cosine", "exponential", "step"] | None = None
    batch_size: PositiveInt | None = None
    epochs: PositiveInt | None = None
    patience: PositiveInt | None = Field(None, description="epochs without improvement before stopping")
    dropout: Fraction | None = Field(None, description="left out: 0.2 for samples small for their features, else 0")
    batch_norm: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    members: PositiveInt = 1


Model = Annotated[
    ExpressionModel | ScoreModel | CutsModel | FisherModel | LogisticModel | BdtModel | MlpModel,
    Discriminator("type"),
]


class Map(Section):
    """Efficiency in bins of one or two spectators: edges, or a number of equally populated bins."""

    x: Expression
    bins: Edges | PositiveInt = 10
    y: Expression | None = None
    y_bins: Edges | PositiveInt = 10


class Robustness(Section):
    """Changes of the test sample: sizes are in units of the feature's spread in the signal of the training sample
    (smear, shift) or factors (scale)."""

    smear: list[Positive] = Field(default_factory=lambda: [0.01, 0.02, 0.05, 0.1])
    scale: list[Positive] = Field(default_factory=lambda: [0.98, 1.02])
    shift: list[float] = Field(default_factory=lambda: [-0.05, 0.05])
    drop: bool = True


class Evaluate(Section):
    """What is asked of the models."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    working_points: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=lambda: [0.90, 0.95, 0.99])
    maps: list[Map] = Field(default_factory=list)
    abundance: dict[str, Positive] | None = None
    robustness: Robustness | None = Field(default_factory=Robustness)


class Config(Section):
    """A whole configuration."""

    data: Data = Field(default_factory=Data)
    classes: Annotated[dict[Name, Expression | ClassTable], Field(min_length=2)]
    signal: str | None = Field(None, description="left out: the first class")
    selection: dict[str, Expression] = Field(default_factory=dict, description="named and ordered: the cut flow")
    features: Annotated[list[Expression | Feature], Field(min_length=1)]
    spectators: list[Expression] = Field(default_factory=list)
    split: Split = Field(default_factory=Split)
    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    scaling: Literal["none", "minmax", "standard", "robust", "quantile"] = "quantile"
    models: Annotated[dict[Name, Model], Field(min_length=1)]
    evaluate: Evaluate = Field(default_factory=Evaluate)
    balance: Literal["equal", "none"] = "equal"
    negative_weights: Literal["abs", "drop", "zero"] = "abs"
    seed: int = 1
    output: str | None = None

    @property
    def signal_class(self) -> str:
        """The signal's name."""
        return self.signal if self.signal is not None else next(iter(self.classes))

    @property
    def feature_list(self) -> list[Feature]:
        """The features, each with its name and expression."""
        return [f if isinstance(f, Feature) else Feature(name=f, expression=f) for f in self.features]


def json_schema() -> dict[str, Any]:
    """The JSON schema of a configuration, for editors."""
    return Config.model_json_schema()
