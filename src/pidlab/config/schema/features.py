"""The inputs of the models."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from pidlab.config.schema.base import Expression, Label, Number, Section


class Feature(Section):
    """One input of the models."""

    name: str = Field(min_length=1, description="name in results, figures and files")
    expression: Expression = Field(description="its value")
    missing: list[Number] = Field(default_factory=list, description="values that mean that it was not measured")
    unit: str = Field("", description="unit, in brackets behind the label on every axis")
    label: Label = Field("", description="text for an axis; TeX between dollars, as in $E_{tot}/p$; left out: the name")


class BandFeature(Section):
    """One input of the models: the number of sigmas from a band, which is fitted on the training sample alone."""

    name: str = Field(min_length=1, description="name in results, figures and files")
    band: str = Field(description="a model of type band")
    variable: str | None = Field(None, description="the variable of that band, if it has several")


def _kind_of_feature(value: Any) -> str:
    """Returns the tag of a feature, which is no key, because tags are part of pydantic's places of mistakes."""
    of_band = isinstance(value, BandFeature) or (isinstance(value, dict) and "band" in value)
    return "by band" if of_band else "by expression"


AnyFeature = Annotated[
    Annotated[Feature, Tag("by expression")] | Annotated[BandFeature, Tag("by band")],
    Discriminator(_kind_of_feature),
]
