"""A whole configuration, of classes or of a regression, and its JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pidlab.config.schema.base import Expression, Label, Name, Number, PositiveInt, Section, WholeNumber
from pidlab.config.schema.data import ClassTable, Data, PolygonSection, Split
from pidlab.config.schema.evaluation import Evaluate, RegressionEvaluate
from pidlab.config.schema.features import AnyFeature, BandFeature, Feature
from pidlab.config.schema.models.unions import ModelSection, RegressionSection
from pidlab.config.schema.reweight import Reweight
from pidlab.config.schema.style import Style


class Config(Section):
    """A whole configuration."""

    data: Data = Field(default_factory=Data, description="the events")
    classes: Annotated[dict[Name, Expression | ClassTable], Field(min_length=2)] = Field(
        description="two or more: name to a cut, or to a table of its own"
    )
    signal: str | None = Field(None, description="the signal class; left out: the first")
    polygons: dict[Annotated[str, Field(min_length=1, max_length=1_000)], PolygonSection] = Field(
        default_factory=dict, description='name to a polygon, which expressions ask by cutg("name")'
    )
    selection: dict[str, Expression] = Field(
        default_factory=dict, description="named cuts, in the order of the cut flow"
    )
    features: Annotated[list[Expression | AnyFeature], Field(min_length=1)] = Field(
        description="inputs of the models: expressions, and patterns such as P.cal.* for all branches that match"
    )
    spectators: list[Expression] = Field(
        default_factory=list, description="expressions that are kept with each candidate and never trained on"
    )
    reweight: Reweight | None = Field(
        None, description="weights that make the classes alike in some variables; left out: none"
    )
    split: Split = Field(default_factory=Split, description="training, validation and test samples")
    folds: Annotated[int, Field(ge=2, le=100)] | None = Field(
        None, description="number of folds; every event is scored by a model that never saw it; left out: one split"
    )
    events: PositiveInt | None = Field(
        None,
        description="for a first look: models are trained and evaluated on so many of the selected events, drawn by a "
        "hash of the event; `apply` and exports know nothing of it; left out: all",
    )
    scaling: Literal["none", "minmax", "standard", "robust", "quantile"] = Field(
        "quantile", description="scaling of the features for models that need it, fitted on the training sample"
    )
    models: Annotated[dict[Name, ModelSection], Field(min_length=1)] = Field(description="name to model")
    evaluate: Evaluate = Field(default_factory=Evaluate, description="how the models are evaluated")
    balance: Literal["equal", "none"] = Field(
        "equal", description="equal: in training the weights of each class have the same sum; none: as in the sample"
    )
    negative_weights: Literal["abs", "drop", "zero"] = Field(
        "abs", description="how training treats them; evaluation keeps the sign"
    )
    labels: dict[str, Label] = Field(
        default_factory=dict,
        description="axis text, with its unit, of a feature (by name) or a spectator (by expression): $p$ [GeV]",
    )
    style: Style = Field(default_factory=Style, description="style of the figures")
    tune: dict[Name, dict[str, str | Number | list[Any]]] | None = Field(
        None, description="values that `pidlab tune` tries, by model and parameter: log:0.005:0.3, int:3:8, or a list"
    )
    seed: WholeNumber = Field(1, description="seed of everything random except the split")
    output: str | None = Field(None, description="folder of the run; left out: runs/ and the name of this file")

    @property
    def signal_class(self) -> str:
        """The name of the signal class."""
        return self.signal if self.signal is not None else next(iter(self.classes))

    @property
    def feature_list(self) -> list[Feature]:
        """The features that are expressions, each with its name."""
        stated = (f for f in self.features if not isinstance(f, BandFeature))
        return [f if isinstance(f, Feature) else Feature(name=f, expression=f) for f in stated]

    @property
    def band_features(self) -> dict[str, BandFeature]:
        """The features that are numbers of sigmas from a band, by their names."""
        return {f.name: f for f in self.features if isinstance(f, BandFeature)}

    @property
    def axis_labels(self) -> dict[str, str]:
        """The axis text, with its unit, of the features and spectators that have one.

        `labels` comes first, then a feature's own `label` and `unit`, which serve its expression too.
        """
        texts: dict[str, str] = {}
        for f in self.feature_list:
            if f.label or f.unit:
                text = f"{f.label or f.name} [{f.unit}]" if f.unit else f.label
                texts |= {f.expression: text, f.name: text}
        return texts | self.labels


class Target(Section):
    """What a regression predicts, and where it is known."""

    value: Expression = Field(
        description="the quantity to predict; rows where it is NaN or infinite are not trained on"
    )
    cut: Expression = Field(
        "1", description="true for rows to train and to evaluate on; predictions are made for all selected rows"
    )


class RegressionConfig(Config):
    """A whole configuration of a regression: a target in place of classes."""

    # All candidates with a target are of one class, so that they are read, split and scored as those of classes are.
    # A class variable in place of a field is no key for pydantic; mypy does not allow it, nor narrower models.
    classes: ClassVar[dict[str, str]] = {"events": "1"}  # type: ignore[misc]
    signal: ClassVar[None] = None  # type: ignore[misc]
    balance: ClassVar[Literal["equal"]] = "equal"  # type: ignore[misc]  # a mean weight of one
    target: Expression | Target = Field(description="what is predicted: an expression, or {value: …, cut: …}")
    # A linear model is then one in the features themselves, and what a network learns stays as smooth as it is: ranks
    # doubled the residuals of a network on TMVA's example.
    scaling: Literal["none", "minmax", "standard", "robust", "quantile"] = Field(
        "standard", description="scaling of the features for models that need it, fitted on the training sample"
    )
    models: Annotated[dict[Name, RegressionSection], Field(min_length=1)] = Field(description="name to model")  # type: ignore[assignment]
    evaluate: RegressionEvaluate = Field(default_factory=RegressionEvaluate, description="how the models are evaluated")

    @property
    def predicted(self) -> Target:
        """The target as a section, also if it is given by an expression alone."""
        return self.target if isinstance(self.target, Target) else Target(value=self.target)


def config_class(content: Any) -> type[Config]:
    """Returns the kind of configuration that a file's content is meant to be: with a target, or with classes."""
    return RegressionConfig if isinstance(content, Mapping) and "target" in content else Config


@lru_cache(maxsize=2)
def json_schema(kind: type[Config] = Config) -> dict[str, Any]:
    """Returns the JSON schema of a kind of configuration. It is made once, and must not be changed."""
    return kind.model_json_schema()


def editor_schema() -> dict[str, Any]:
    """Returns the JSON schema of any configuration, for editors: a key `target` tells a regression."""
    of_classes, of_target = dict(json_schema(Config)), dict(json_schema(RegressionConfig))
    sections = {**of_target.pop("$defs"), **of_classes.pop("$defs")}
    return {"$defs": sections, "if": {"required": ["target"]}, "then": of_target, "else": of_classes}
