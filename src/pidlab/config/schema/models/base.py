"""What the sections of all models have in common, and the categories that may have a model each."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from pidlab.config.schema.base import Edges, Expression, Name, Section


class CategoryBins(Section):
    """Categories that are bins of one quantity."""

    x: Expression = Field(description="the quantity")
    bins: Edges = Field(description="rising edges; a bin holds its lower edge and not its upper one")


def _kind_of_categories(value: Any) -> str:
    """Returns the tag of categories; a list of edges tells bins also where their key is misspelt."""
    is_bins = isinstance(value, dict) and ("bins" in value or any(isinstance(v, list) for v in value.values()))
    return "by bins" if is_bins or isinstance(value, CategoryBins) else "by condition"


Categories = Annotated[
    Annotated[dict[Name, Expression], Tag("by condition")] | Annotated[CategoryBins, Tag("by bins")],
    Discriminator(_kind_of_categories),
]


class AnyModel(Section):
    """What every section of a model can be asked."""

    one_sided: ClassVar[bool] = False
    """Whether only the signal has a score if there are more than two classes."""

    type: str

    @property
    def kind(self) -> str:
        """The name of the type of model, under which the registry of models has it."""
        return self.type

    def point_names(self) -> list[str]:
        """Returns the names of the working points that the model itself defines."""
        return []

    def output_names(self, others: list[str]) -> list[str]:
        """Returns the names of the further numbers of each candidate; `others` are the classes but the signal."""
        return []

    @property
    def abundances(self) -> dict[str, float] | Literal["equal", "sample"] | None:
        """The abundances of the classes that the probabilities are for; None: those that `balance` gives."""
        return None

    def own_columns(self) -> dict[tuple[str | int, ...], str]:
        """Returns key path within the section to expression, of what the model reads in place of the features."""
        return {}

    @property
    def categories(self) -> dict[str, str]:
        """Name of each category to its condition; empty if one model serves all candidates."""
        return {}

    @property
    def categories_are_stated(self) -> bool:
        """Whether the configuration writes each condition, and not the edges of bins."""
        return True


class TrainedModel(AnyModel):
    """What models that a run trains have in common."""

    by: Categories | None = Field(
        None,
        description="a model of its own for each category: name to condition, or {x: p, bins: [0.5, 1, 2]}; "
        "the scores of classes become one, calibrated on validation",
    )

    @property
    def categories(self) -> dict[str, str]:
        """Name of each category to its condition; empty if one model serves all candidates."""
        if isinstance(self.by, CategoryBins):
            word = re.sub(r"\W+", "_", self.by.x).strip("_") or "x"
            edges = list(zip(self.by.bins, words_of(self.by.bins), strict=True))
            return {
                f"{word}_{first}_{last}": f"({self.by.x}) >= {low!r} && ({self.by.x}) < {high!r}"
                for (low, first), (high, last) in pairwise(edges)
            }
        return dict(self.by or {})

    @property
    def categories_are_stated(self) -> bool:
        """Whether the configuration writes each condition, and not the edges of bins."""
        return not isinstance(self.by, CategoryBins)


def words_of(edges: list[float]) -> list[str]:
    """Returns numbers as parts of names: 0_5 for 0.5, m1 for -1; with all digits if six make two of them the same."""
    texts = [f"{edge:g}" for edge in edges]
    if len(set(texts)) < len(texts):
        texts = [f"{edge:.17g}" for edge in edges]
    return [text.replace("-", "m").replace(".", "_").replace("+", "") for text in texts]
