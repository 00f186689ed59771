"""Weights that make the classes alike."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pidlab.config.schema.base import Bins, Edges, Expression, Section


class ReweightTarget(Section):
    """Files whose rows are what the classes are made alike to. The selection holds for them too."""

    files: str | list[str] = Field(description="files of the target, relative to this file")
    tree: str | None = Field(None, description="tree in these files; left out: that of data")
    friends: list[str] = Field(
        default_factory=list, description="trees beside them, such as that with the sWeights; as in data"
    )
    cut: Expression = Field("1", description="true for the rows to take, besides the selection")
    weight: Expression = Field("1", description="their weight, of any sign, such as an sWeight")


class Reweight(Section):
    """Weights that make the classes alike in some variables, so that no model can learn from these.

    `to` is a class, or files of their own; then all classes together are made like these. The weights multiply those
    of the data.
    """

    match: Annotated[list[Expression], Field(min_length=1, max_length=20)] = Field(
        description="the variables to make alike: spectators or any expressions"
    )
    to: str | ReweightTarget = Field(description="a class, which keeps its weights, or {files: data.root, weight: sw}")
    classes: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="the classes to reweight; left out: all others"
    )
    method: Literal["classifier", "bins"] = Field(
        "classifier", description="classifier: by boosted trees, also for many variables; bins: by a histogram"
    )
    bins: dict[Expression, Edges | Bins] | Bins = Field(
        20, description="for bins: of each variable its edges, or how many of equal population; or one number for all"
    )
    folds: Annotated[int, Field(ge=2, le=100)] = Field(
        5, description="each training event is weighted by a fit that did not see it; with `folds` at the top, those"
    )
    # A field cannot be called as Python's keyword is, so its name in the configuration is an alias.
    used_for: Literal["training", "evaluation", "both"] = Field(
        "both", alias="for", description="training: of the models; evaluation: of all numbers, thresholds too; or both"
    )
