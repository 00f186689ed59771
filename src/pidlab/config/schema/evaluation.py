"""How models are evaluated."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pidlab.config.schema.base import Abundance, Bins, Edges, Expression, Positive, Section


class Map(Section):
    """Efficiency in bins of one or two spectators: edges, or a number of equally populated bins."""

    x: Expression = Field(description="a spectator")
    bins: Edges | Bins = Field(
        10,
        description="edges, -.inf and .inf at the ends too, or how many bins of equal population; a few whole numbers "
        "have one each",
    )
    y: Expression | None = Field(None, description="a second spectator")
    y_bins: Edges | Bins = Field(10, description="as bins, for y")


class Flat(Map):
    """A threshold that follows one or two spectators, so that the signal efficiency is the same in every bin."""


class Robustness(Section):
    """Changes of the test sample. Smear and shift are in units of the feature's standard deviation in the signal of the
    training sample, estimated without outliers; scale is a factor."""

    smear: list[Positive] = Field(
        default_factory=lambda: [0.01, 0.02, 0.05, 0.1], description="widths of Gaussian noise on a feature"
    )
    scale: list[Positive] = Field(default_factory=lambda: [0.98, 1.02], description="factors on a feature")
    shift: list[float] = Field(default_factory=lambda: [-0.05, 0.05], description="offsets of a feature")
    drop: bool = Field(True, description="set one feature after the other to missing")


class Evaluate(Section):
    """How the models are evaluated."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="threshold of accuracy and confusion matrix"
    )
    working_points: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=lambda: [0.90, 0.95, 0.99], description="signal efficiencies: eff90, eff95, eff99"
    )
    maps: list[Map] = Field(default_factory=list, description="efficiency in bins of spectators")
    flat: list[Flat] = Field(
        default_factory=list, description="spectators that thresholds follow: eff90_flat and so on"
    )
    optimal_points: list[Literal["sweet_spot", "youden"]] = Field(
        default_factory=list,
        description="points of the ROC curve that become working points, with decisions in friends and exports: the "
        "one nearest to (0, 1), and Youden's, where efficiency less misidentification is largest; every ROC marks both",
    )
    thin: Annotated[float, Field(ge=0)] = Field(10.0, description="bins of maps with fewer effective events are marked")
    abundance: dict[str, Abundance] | None = Field(
        None, description="class to its share, for purity, in any unit; left out: as in the sample"
    )
    expected: dict[str, Abundance] | None = Field(
        None, description="candidates of each class before the decision, for S/sqrt(S+B) and Punzi's figure of merit"
    )
    punzi: Positive = Field(3.0, description="Punzi's a, the number of standard deviations of a discovery")
    calibration: Literal["none", "temperature", "isotonic"] = Field(
        "none", description="calibration of probabilities, fitted on validation"
    )
    importance: bool = Field(
        True,
        description="shuffle each feature of the test sample and measure the loss; and how scores go with features",
    )
    robustness: Robustness | None = Field(
        default_factory=Robustness, description="changes of the test sample; null: none"
    )


class RegressionEvaluate(Evaluate):
    """How the models of a regression are evaluated."""

    # What speaks of classes is a class variable in place of a field: no key for pydantic, which mypy does not allow.
    threshold: ClassVar[float] = 0.5  # type: ignore[misc]
    working_points: ClassVar[list[float]] = []  # type: ignore[misc]
    flat: ClassVar[list[Flat]] = []  # type: ignore[misc]
    abundance: ClassVar[None] = None  # type: ignore[misc]
    expected: ClassVar[None] = None  # type: ignore[misc]
    punzi: ClassVar[float] = 3.0  # type: ignore[misc]
    calibration: ClassVar[Literal["none"]] = "none"  # type: ignore[misc]
    importance: bool = Field(
        True,
        description="shuffle each feature of the test sample and measure the residuals; and how predictions go with "
        "features",
    )
    robustness: ClassVar[None] = None  # type: ignore[misc]
    maps: list[Map] = Field(
        default_factory=list, description="spectators in whose bins bias and resolution are shown, besides quantiles"
    )
