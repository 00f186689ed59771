"""The band: mean and width of the signal, along what they follow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pidlab.config.schema.base import Expression
from pidlab.config.schema.models.base import Categories, TrainedModel, words_of

Sigma = Annotated[float, Field(gt=0, le=1000)]


class BandModel(TrainedModel):
    """The distance from the signal's mean, which follows one or two quantities, in units of its width.

    The mean and the width of each variable are fitted to the signal of the training sample; tails, and events of other
    classes among the signal, do not move them. The score is minus the combined distance, the root of the sum of the
    squared distances of the variables. A variable that is missing adds nothing to it.
    """

    one_sided: ClassVar[bool] = True

    type: Literal["band"]
    variables: Expression | Annotated[list[Expression], Field(min_length=1)] = Field(
        description="one or more: features by their names, or expressions"
    )
    against: Expression | Annotated[list[Expression], Field(min_length=1, max_length=20)] = Field(
        description="one or two quantities that the band follows, such as the momentum; more with shape: network"
    )
    by: Expression | Categories | None = Field(  # type: ignore[assignment]  # a band takes an integer branch too
        None,
        description="an integer branch, such as a sector: a band of its own for each value; or categories, as for "
        "every trained model",
    )
    shape: Literal["spline", "clas12", "polynomial", "network"] = Field(
        "spline",
        description="of mean and width: smooth splines; clas12: p0 (p1 + p2/x + p3/x²); a polynomial; or a network, "
        "which follows any number of quantities",
    )
    degree: Annotated[int, Field(ge=0, le=8)] = Field(3, description="degree of the polynomial")
    core: Literal["symmetric", "asymmetric"] = Field(
        "symmetric", description="asymmetric: the widths below and above the mean are two"
    )
    sides: Literal["low", "high", "both"] | dict[str, Literal["low", "high", "both"]] = Field(
        "both",
        description="the deviations that count: low: below the mean, as of E/p of pions among electrons; for all "
        "variables, or each by its name",
    )
    sigma: Sigma | list[Sigma] = Field(
        default_factory=list, description="working points at so many widths, besides those from validation: 3.5"
    )

    @property
    def variable_list(self) -> list[str]:
        """The variables, in their order."""
        return [self.variables] if isinstance(self.variables, str) else list(self.variables)

    @property
    def against_list(self) -> list[str]:
        """The quantities that the band follows, in their order."""
        return [self.against] if isinstance(self.against, str) else list(self.against)

    @property
    def categories(self) -> dict[str, str]:
        """Name of each category to its condition; empty if `by` is an integer branch."""
        return {} if isinstance(self.by, str) else super().categories

    def own_columns(self) -> dict[tuple[str | int, ...], str]:
        """Returns the variables, then what they are followed against, then `by`."""
        found: dict[tuple[str | int, ...], str] = {}
        for key in ("variables", "against"):
            value = getattr(self, key)
            found |= {(key,): value} if isinstance(value, str) else {(key, i): text for i, text in enumerate(value)}
        return found | ({("by",): self.by} if isinstance(self.by, str) else {})

    def output_names(self, others: list[str]) -> list[str]:
        """Returns `nsigma`, or with several variables `nsigma_` and the name of each."""
        return sigma_names(self.variable_list)

    def point_names(self) -> list[str]:
        """Returns the names of the working points of `sigma`."""
        return [sigma_point(value) for value in (self.sigma if isinstance(self.sigma, list) else [self.sigma])]


def sigma_names(variables: Sequence[str]) -> list[str]:
    """Returns the names of the numbers of sigmas of some variables, which are identifiers."""
    if len(variables) == 1:
        return ["nsigma"]
    words = [re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") for text in variables]
    unique = {word for word in words if word and words.count(word) == 1}
    return [f"nsigma_{word}" if word in unique else f"nsigma_{word}_{i}" for i, word in enumerate(words)]


def sigma_point(sigma: float) -> str:
    """Returns the name of the working point at a number of widths: sigma3_5."""
    return f"sigma{words_of([sigma])[0]}"
