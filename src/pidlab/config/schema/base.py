"""What sections of the configuration are made of: the kinds of values, and the section itself."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Expression = Annotated[str, Field(min_length=1, max_length=10_000)]
Number = int | float
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
PositiveInt = Annotated[int, Field(gt=0)]
# Numbers that decide how much memory is needed have limits, far above every useful value.
Width = Annotated[int, Field(gt=0, le=100_000)]
Epochs = Annotated[int, Field(gt=0, le=1_000_000)]
Members = Annotated[int, Field(gt=0, le=1_000)]
Bins = Annotated[int, Field(gt=0, le=10_000)]
Edges = Annotated[list[float], Field(min_length=2)]


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
    """A section of the configuration. Unknown keys are mistakes, and text is not converted to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
