"""Models that a run does not train: cuts and scores that are given, and models trained elsewhere."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pidlab.config.schema.base import Expression, Number
from pidlab.config.schema.models.base import AnyModel


class ExpressionModel(AnyModel):
    """A cut that is given as an expression, and is not trained."""

    type: Literal["expression"]
    cut: Expression = Field(description="true for candidates that are taken as signal")


class ScoreModel(AnyModel):
    """A discriminant that the input already holds; larger values are more like the signal."""

    type: Literal["score"]
    expression: Expression = Field(description="its value")


class OnnxModel(AnyModel):
    """A model trained elsewhere (Keras, TensorFlow, PyTorch, scikit-learn, hipe4ml) and saved as ONNX; not trained."""

    type: Literal["onnx"]
    file: str = Field(min_length=1, description="relative to this file; its content is copied into the run")
    features: list[str] | None = Field(
        None, description="the features in the model's order; left out: by the names of its inputs, else all in order"
    )
    output: str | int | None = Field(None, description="name or number of the output, if several could be the scores")
    classes: list[str] | None = Field(
        None,
        description="class of each column of the output; left out: the classes in order; of one column the signal",
    )
    gives: Literal["probability", "logit", "score"] = Field(
        "probability", description="logit: a sigmoid or softmax follows; score: any other discriminant"
    )
    missing: Number | None = Field(None, description="replaces missing values; left out: NaN is passed on")


class TmvaModel(AnyModel):
    """A BDT, MLP, Fisher or LD trained by TMVA: its weights XML; not trained."""

    type: Literal["tmva"]
    file: str = Field(min_length=1, description="relative to this file; its content is copied into the run")
    features: list[str] | None = Field(
        None, description="the features in the order of TMVA's variables; left out: by name or expression"
    )
    missing: Number | None = Field(None, description="replaces missing values; left out: NaN is passed on")


ImportedSpec = OnnxModel | TmvaModel
"""Sections of models that were trained elsewhere, each a file: one estimator for all folds."""
