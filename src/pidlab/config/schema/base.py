"""What sections of the configuration are made of: the kinds of values, and the section itself."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Expression = Annotated[str, Field(min_length=1, max_length=10_000)]
# Numbers are finite, unless it is said here that they need not be; see `Section`.
WholeNumber = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Number = WholeNumber | Annotated[float, Field(allow_inf_nan=True)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
# In any unit, of which only ratios count. Squares and products of larger ones overflow.
Abundance = Annotated[float, Field(gt=0, le=1e18)]
PositiveInt = Annotated[int, Field(gt=0, le=1_000_000_000)]
# Numbers that decide how much memory is needed have limits, far above every useful value.
Width = Annotated[int, Field(gt=0, le=100_000)]
Epochs = Annotated[int, Field(gt=0, le=1_000_000)]
Members = Annotated[int, Field(gt=0, le=1_000)]
Bins = Annotated[int, Field(gt=0, le=10_000)]
FiniteEdges = Annotated[list[float], Field(min_length=2)]
Edges = Annotated[list[Annotated[float, Field(allow_inf_nan=True)]], Field(min_length=2)]
Range = Annotated[list[Annotated[float, Field(allow_inf_nan=True)]], Field(min_length=2, max_length=2)]


def _is_label(text: str) -> str:
    r"""Checks a text with TeX between dollars: `$\theta$ [deg]`.

    Raises:
        ValueError: a dollar has no partner, or TeX is written as ROOT writes it.
    """
    if text.count("$") % 2:
        raise ValueError("has a dollar without a partner; TeX stands between two")
    word = re.search(r"#([A-Za-z]{2,})", text)
    if word:
        raise ValueError(rf"holds {word[0]}; write $\{word[1]}$, from which ROOT's way is made")
    return text


Label = Annotated[str, Field(max_length=200), AfterValidator(_is_label)]


class Section(BaseModel):
    """A section of the configuration. Unknown keys, NaN and infinity are mistakes; text is not converted to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
