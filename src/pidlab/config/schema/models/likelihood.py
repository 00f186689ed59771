"""The likelihood: densities of each detector's variables in each class."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pidlab.config.schema.base import Expression, Name, Positive
from pidlab.config.schema.models.base import TrainedModel


class LikelihoodModel(TrainedModel):
    """The detectors' likelihoods, multiplied: a density of each detector's variables in each class, which changes
    smoothly along `against`. A detector of which a variable is missing adds nothing.

    The probabilities are for the abundances of `priors`, whatever `balance` says: equal ones, stated ones, or those of
    the training sample in bins of `against`.
    """

    type: Literal["likelihood"]
    detectors: Annotated[
        dict[Name, Annotated[list[Expression], Field(min_length=1, max_length=2)]], Field(min_length=1)
    ] = Field(description="detector to its variable, or to two that are taken jointly: {tpc: [dEdx], tof: [beta]}")
    against: Expression | None = Field(
        None, description="the densities change along this expression, such as the momentum"
    )
    priors: dict[str, Positive] | Literal["sample"] | None = Field(
        None,
        description="abundance of each class, in any unit; sample: as in the training sample, in bins of `against`; "
        "left out: equal",
    )
    weights: Literal["none", "fit"] = Field(
        "none",
        description="fit: a weight for each detector and class, by logistic regression on validation as in Belle II",
    )
    density: Literal["histogram", "kernel"] = Field(
        "histogram", description="smoothed histogram, or adaptive kernel; two variables always take the kernel"
    )
    slices: Annotated[int, Field(ge=2, le=64)] | None = Field(
        None,
        description="slices of `against` between which densities are interpolated; left out: up to 16, by the "
        "size of the sample",
    )
    bins: Annotated[int, Field(ge=20, le=1000)] = Field(160, description="bins of a density of one variable")

    def output_names(self, others: list[str]) -> list[str]:
        """Returns the names of the differences of log-likelihoods: that of the signal minus each other class's."""
        return [f"dll_{name}" for name in others]

    @property
    def abundances(self) -> dict[str, float] | Literal["equal", "sample"] | None:
        """The abundances of the classes that the probabilities are for."""
        return self.priors or "equal"

    def own_columns(self) -> dict[tuple[str | int, ...], str]:
        """Returns key path within the section to expression: the detectors' variables in order, then `against`."""
        found: dict[tuple[str | int, ...], str] = {
            ("detectors", name, i): text
            for name, variables in self.detectors.items()
            for i, text in enumerate(variables)
        }
        return found if self.against is None else found | {("against",): self.against}
