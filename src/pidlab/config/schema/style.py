"""How figures look."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pidlab.config.schema.base import Positive, Section


class Style(Section):
    """How figures are labelled, and in which of mplhep's styles they are drawn."""

    experiment: Literal["CMS", "ATLAS", "LHCb", "ALICE", "DUNE", "ROOT", "none"] = Field(
        "none", description="experiment whose style and name are used"
    )
    label: str = Field("", max_length=60, description="beside the experiment's name, such as Preliminary")
    com: Positive | None = Field(None, description="centre-of-mass energy in TeV")
    lumi: Positive | None = Field(None, description="integrated luminosity in inverse femtobarn")
    data: bool = Field(False, description="false: the experiment's name is followed by Simulation")
    reference: str | None = Field(
        None,
        description="model that the ratio panel of the ROC figures divides by; left out: your own cuts (expression), "
        "else optimised cuts, else the first model",
    )
