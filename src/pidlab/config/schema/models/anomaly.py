"""Models that are trained without labels or on one class, and tell what is unlike it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pidlab.config.schema.base import PositiveInt, Width
from pidlab.config.schema.models.base import TrainedModel


class MixtureModel(TrainedModel):
    """A Gaussian mixture by scikit-learn, trained without labels or on one class: its density tells what is rare."""

    one_sided: ClassVar[bool] = True

    type: Literal["mixture"]
    train_on: str | None = Field(
        None, description="the class whose density it is; left out: all events, without labels"
    )
    components: PositiveInt | None = Field(
        None, description="number of normal densities; left out: up to 8, by the BIC"
    )
    covariance: Literal["full", "tied", "diag", "spherical"] = Field("full", description="of the normal densities")


class AutoencoderModel(TrainedModel):
    """A network that gives the features back through a bottleneck, trained without labels or on one class.

    The score is the reconstruction error, or minus that if the signal is what it is trained on.
    """

    one_sided: ClassVar[bool] = True

    type: Literal["autoencoder"]
    train_on: str | None = Field(None, description="the class that it learns; left out: all events, without labels")
    hidden: list[Width] = Field(
        [32], description="widths of the layers before the bottleneck, and behind it in reverse"
    )
    bottleneck: PositiveInt | None = Field(None, description="width of the bottleneck; left out: a third of the inputs")
    epochs: PositiveInt | None = Field(None, description="left out: as many as some thousand steps take")
