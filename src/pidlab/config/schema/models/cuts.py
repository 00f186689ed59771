"""Cuts that a run optimises."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pidlab.config.schema.base import Fraction, Positive, Range, Section
from pidlab.config.schema.models.base import TrainedModel


class FigureOfMerit(Section):
    """The quantity that the working point `best` of cuts maximises, among their boxes, on the validation sample.

    With S and B the expected numbers of candidates that pass, of the signal and of all other classes:
    `significance` is S / sqrt(S + B), `punzi` efficiency / (a / 2 + sqrt(B)), `purity` S / (S + B). How many
    are expected before the cuts is `evaluate.expected` (left out: the sums of weights of all selected events), and a is
    `evaluate.punzi`.
    """

    name: Literal["significance", "punzi", "purity"] = Field(description="the quantity to maximise")
    efficiency: Fraction = Field(
        0.0, description="the least signal efficiency; needed for purity, which is largest if almost nothing passes"
    )


class CutsModel(TrainedModel):
    """Rectangular cuts, one window a feature, optimised together."""

    type: Literal["cuts"]
    nested: bool = Field(
        True,
        description="each box inside the looser ones, so that there is a score; where the best boxes exclude each "
        "other, one box or another passes; "
        "false: a box of its own at each of evaluate.working_points, and no score, curve or AUC",
    )
    search: Literal["archive", "genetic", "swarm", "annealing", "monte-carlo"] = Field(
        "archive", description="archive finds all efficiencies at once; the others are there to compare with"
    )
    sides: dict[str, Literal["auto", "min", "max", "both"]] = Field(
        default_factory=dict, description="feature to min (x > cut only), max (x < cut only), both, or auto: a search"
    )
    ranges: dict[str, Range] = Field(default_factory=dict, description="feature to [low, high], where its cuts may lie")
    min_width: dict[str, Positive] = Field(default_factory=dict, description="feature to the least width of its window")
    features: list[str] | None = Field(None, description="the features to cut on; left out: all")
    efficiencies: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)] | None = Field(
        None, description="signal efficiencies that get a box of their own, besides evaluate.working_points"
    )
    figure_of_merit: FigureOfMerit | None = Field(
        None, description="adds the working point `best`, where this is largest on the validation sample"
    )
