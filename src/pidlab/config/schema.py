"""The configuration as typed sections: the keys that a user may write, their values, and their defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

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


_BEST = re.compile(r"\s*(max|min)\s*\((.+)\)\s*", re.DOTALL)


def _is_best(text: str) -> str:
    """Checks a text such as `max(energy)`.

    Raises:
        ValueError: it is of another form.
    """
    if not _BEST.fullmatch(text):
        raise ValueError(f"must be max(expression) or min(expression), not {text!r}")
    return text


class Section(BaseModel):
    """A section of the configuration. Unknown keys, NaN and infinity are mistakes; text is not converted to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(Section):
    """The events: files, trees, friends and weights."""

    files: str | list[str] | None = Field(None, description="path, glob, file.root:tree or @LIST, or a list of them")
    tree: str | None = Field(None, description="may be left out if a file holds one tree")
    columns: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="names of the columns of csv and npy files that do not name them"
    )
    friends: list[str] = Field(
        default_factory=list,
        description="trees whose entries belong to the input's: by their stored index or event_id, else by number; "
        "{stem}, {folder} and {tree} are the input's",
    )
    per: str | Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="one row for each candidate of this jagged collection"
    )
    best: Annotated[Expression, AfterValidator(_is_best)] | None = Field(
        None,
        description="of the candidates of an event that pass the selection, only the one with the largest or smallest "
        "value stays: max(expression) or min(expression)",
    )
    event_id: list[str] = Field(default_factory=list, description="integer branches that identify an event")
    weight: Expression = Field("1", description="weight of each row, of any sign; used in training and in every result")
    aliases: dict[Name, Expression] = Field(
        default_factory=dict, description="short names that all expressions may use"
    )

    @property
    def best_by(self) -> tuple[str, str] | None:
        """`max` or `min`, and the expression by which the best candidate of an event is found; None if all stay."""
        match = _BEST.fullmatch(self.best) if self.best is not None else None
        return (match[1], match[2]) if match else None


Point = Annotated[list[float], Field(min_length=2, max_length=2)]


class PolygonSection(Section):
    """A polygon in a plane of two expressions, which `cutg("name")` asks: true inside, as TCutG::IsInside decides."""

    x: Expression | None = Field(None, description="horizontal axis; left out: fVarX of the TCutG")
    y: Expression | None = Field(None, description="vertical axis; left out: fVarY of the TCutG")
    points: Annotated[list[Point], Field(min_length=3, max_length=10_000)] | None = Field(
        None, description="corners [x, y]; the last one is joined with the first"
    )
    file: str | None = Field(
        None, min_length=1, description="file.root:name of a TCutG, relative to this file; its points go into the run"
    )


class ClassTable(Section):
    """A class that has its own table, cut or weight."""

    files: str | list[str] | None = Field(None, description="files of the class; left out: those of data")
    tree: str | None = Field(None, description="tree in these files; left out: that of data")
    cut: Expression = Field("1", description="true for the rows of this class")
    weight: Expression | None = Field(None, description="weight of its rows; left out: that of data")


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


class Split(Section):
    """How the events are divided into training, validation and test samples."""

    test: Fraction | Expression = Field(0.25, description="share of all events, or an expression true for test")
    validation: Fraction = Field(0.15, description="share of the events that are not test events")
    seed: WholeNumber = Field(1, description="another seed divides the events in another way")


class CategoryBins(Section):
    """Categories that are bins of one quantity."""

    x: Expression = Field(description="the quantity")
    bins: FiniteEdges = Field(description="rising edges; a bin holds its lower edge and not its upper one")


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
        "their scores become one, calibrated on validation",
    )

    @property
    def categories(self) -> dict[str, str]:
        """Name of each category to its condition; empty if one model serves all candidates."""
        if isinstance(self.by, CategoryBins):
            word = re.sub(r"\W+", "_", self.by.x).strip("_") or "x"
            return {
                f"{word}_{_word(low)}_{_word(high)}": f"({self.by.x}) >= {low!r} && ({self.by.x}) < {high!r}"
                for low, high in pairwise(self.by.bins)
            }
        return dict(self.by or {})

    @property
    def categories_are_stated(self) -> bool:
        """Whether the configuration writes each condition, and not the edges of bins."""
        return not isinstance(self.by, CategoryBins)


def _word(edge: float) -> str:
    """Returns a number as a part of a name: 0_5 for 0.5, m1 for -1."""
    return f"{edge:g}".replace("-", "m").replace(".", "_").replace("+", "")


class ExpressionModel(AnyModel):
    """A cut that is given as an expression, and is not trained."""

    type: Literal["expression"]
    cut: Expression = Field(description="true for candidates that are taken as signal")


class ScoreModel(AnyModel):
    """A discriminant that the input already holds; larger values are more like the signal."""

    type: Literal["score"]
    expression: Expression = Field(description="its value")


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
        description="each box inside the looser ones, so that there is a score; "
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


class FisherModel(TrainedModel):
    """Fisher's linear discriminant."""

    type: Literal["fisher"]


class LogisticModel(TrainedModel):
    """Logistic regression, a linear baseline."""

    type: Literal["logistic"]
    C: Positive = Field(1.0, description="inverse strength of the L2 penalty")


class NaiveBayesModel(TrainedModel):
    """Gaussian naive Bayes, which takes the features of each class as normal and independent."""

    type: Literal["naive_bayes"]
    var_smoothing: Positive = Field(
        1e-9, description="share of a feature's variance that is added to its variance in each class"
    )


class TreeModel(TrainedModel):
    """A single decision tree by scikit-learn, whose leaves are boxes: it is drawn, and exported as a cut string."""

    type: Literal["tree"]
    criterion: Literal["entropy", "gini"] = Field("entropy", description="what a split lowers")
    max_depth: PositiveInt | None = Field(5, description="largest depth; null: as deep as min_leaf allows")
    min_leaf: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.002, description="least share of the training weight in a leaf"
    )


class BdtModel(TrainedModel):
    """Boosted decision trees by xgboost. Further keys are passed to xgboost; their names are checked."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    type: Literal["bdt"]
    n_estimators: Epochs = Field(1000, description="largest number of boosting rounds")
    max_depth: PositiveInt = Field(5, description="largest depth of a tree")
    learning_rate: Positive = Field(0.05, description="factor on each tree that is added")
    early_stopping_rounds: PositiveInt | None = Field(
        50, description="rounds without a better validation loss before training stops; null: never"
    )
    subsample: Annotated[float, Field(gt=0, le=1)] = Field(
        0.7, description="share of the rows that are drawn for a tree"
    )
    colsample_bynode: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="share of the features that are drawn for a node"
    )


class MlpModel(TrainedModel):
    """A fully connected network. `preset: workshop` is batch 128 at a constant 1e-4, without early stopping."""

    type: Literal["mlp"]
    preset: Literal["default", "workshop"] = Field("default", description="the defaults of the keys below")
    hidden: list[Width] | None = Field(None, description="widths of the layers; left out: [64, 64]; workshop: [20, 20]")
    activation: Literal["sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout", "silu", "gelu"] | None = Field(
        None, description="activation of the hidden layers; left out: silu; workshop: tanh"
    )
    loss: Literal["cross_entropy", "squared", "absolute", "focal"] = Field(
        "cross_entropy", description="loss that is minimised"
    )
    optimizer: Literal["sgd", "rmsprop", "adam", "adamw", "nadam"] = Field(
        "adam", description="optimiser of the weights"
    )
    momentum: Fraction = Field(0.9, description="momentum of sgd")
    learning_rate: Positive | None = Field(None, description="largest learning rate; left out: 0.01; workshop: 0.0001")
    schedule: Literal["constant", "one_cycle", "cosine", "exponential", "step"] | None = Field(
        None, description="schedule of the learning rate; left out: one_cycle; workshop: constant"
    )
    batch_size: PositiveInt | None = Field(
        None, description="events in a step; left out: 64 to 512, by the size of the sample; workshop: 128"
    )
    epochs: Epochs | None = Field(
        None, description="largest number of epochs; left out: 10 to 200, by the size of the sample; workshop: 50"
    )
    patience: PositiveInt | None = Field(None, description="epochs without improvement before stopping")
    dropout: Fraction | None = Field(
        None,
        description="share of units dropped in a step; left out: 0.1 or 0.2 for samples small for their features, "
        "else 0",
    )
    swap_noise: Fraction | None = Field(
        None,
        description="share of feature values that are another event's in a step; left out: 0.15 where the sample is "
        "small for its features and it lowers the validation loss, else 0",
    )
    batch_norm: bool = Field(False, description="normalise batches before each activation")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 penalty; decoupled with adamw")
    members: Members | None = Field(
        None,
        description="number of networks whose mean probability is the score; left out: 4 for samples small for their "
        "features, 8 with swap noise, else 1",
    )


Sigma = Annotated[float, Field(gt=0, le=1000)]


class MixtureModel(TrainedModel):
    """A Gaussian mixture by scikit-learn, trained without labels or on one class: its density tells what is rare."""

    one_sided: ClassVar[bool] = True

    type: Literal["mixture"]
    train_on: str | None = Field(
        None, description="the class whose density it is; left out: all events, without labels"
    )
    components: Members | None = Field(None, description="number of normal densities; left out: up to 8, by the BIC")
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
    bottleneck: Width | None = Field(None, description="width of the bottleneck; left out: a third of the inputs")
    epochs: Epochs | None = Field(None, description="left out: as many as some thousand steps take")


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
    return f"sigma{_word(sigma)}"


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
    priors: dict[str, Abundance] | Literal["sample"] | None = Field(
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


class OnnxModel(AnyModel):
    """A model trained elsewhere (Keras, TensorFlow, PyTorch, scikit-learn, hipe4ml) and saved as ONNX; not trained."""

    type: Literal["onnx"]
    file: str = Field(min_length=1, description="relative to this file; its content is copied into the run")
    features: list[str] | None = Field(
        None, description="the features in the model's order; left out: by the names of its inputs, else all in order"
    )
    output: str | int | None = Field(None, description="name or number of the output, if several could be the scores")
    classes: list[str] | None = Field(
        None,
        description="class of each column of the output; left out: the classes in order; of one column the signal",
    )
    gives: Literal["probability", "logit", "score"] = Field(
        "probability", description="logit: a sigmoid or softmax follows; score: any other discriminant"
    )
    missing: Number | None = Field(None, description="replaces missing values; left out: NaN is passed on")


class TmvaModel(AnyModel):
    """A BDT, MLP, Fisher or LD trained by TMVA: its weights XML; not trained."""

    type: Literal["tmva"]
    file: str = Field(min_length=1, description="relative to this file; its content is copied into the run")
    features: list[str] | None = Field(
        None, description="the features in the order of TMVA's variables; left out: by name or expression"
    )
    missing: Number | None = Field(None, description="replaces missing values; left out: NaN is passed on")


class SklearnModel(TrainedModel):
    """Any classifier of scikit-learn, xgboost or lightgbm that can be converted to ONNX, in which it is saved."""

    type: Literal["sklearn"]
    estimator: str = Field(min_length=1, description="import path, such as sklearn.ensemble.RandomForestClassifier")
    parameters: dict[str, Any] = Field(default_factory=dict, description="parameters of that class, by name")
    scaled: bool = Field(
        True, description="scale the features as for the network; false: features in their units, which suits trees"
    )
    features: list[str] | None = Field(None, description="the features to train on; left out: all")
    object: bool = Field(
        False, description="written by pidlab.compare: the estimator was given as an object, which no file holds"
    )


class Predicting(TrainedModel):
    """What models of a regression that a run trains have in common."""

    by: ClassVar[None] = None  # type: ignore[misc]  # no field of a section whose predictions have no common scale

    @property
    def kind(self) -> str:
        """The name of the type of model, under which the registry of models has it."""
        return f"{self.type}_regression"

    def output_names(self, others: list[str]) -> list[str]:
        """Returns the names of the further numbers of each candidate: of a width, or of each quantile."""
        loss = getattr(self, "loss", "")
        if loss == "gaussian":
            return ["sigma"]
        return [quantile_name(each) for each in sorted(getattr(self, "quantiles", ()))] if loss == "quantile" else []


def quantile_name(share: float) -> str:
    """Returns the name of a quantile: q16 for 0.16, q2_5 for 0.025."""
    return f"q{100 * share:.6g}".replace(".", "_")


Quantiles = Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1, max_length=100)]
PredictedBy = Literal["squared", "absolute", "quantile", "gaussian"]
_LOSS = "squared: the mean; absolute: the median; quantile: quantiles; gaussian: mean and width together"
_QUANTILES = "predicted with loss: quantile; the one nearest to 0.5 is the prediction"


def _central() -> list[float]:
    return [0.16, 0.5, 0.84]


class ConstantRegression(Predicting):
    """The same prediction for every candidate: what any other model has to beat."""

    type: Literal["constant"]
    loss: PredictedBy = Field("squared", description=_LOSS)
    quantiles: Quantiles = Field(default_factory=_central, description=_QUANTILES)


class LinearRegression(Predicting):
    """A linear function of the features."""

    type: Literal["linear"]
    loss: Literal["squared", "huber", "absolute"] = Field(
        "squared", description="squared: exact least squares; huber: squared near, absolute for outliers; absolute"
    )
    alpha: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 penalty on the slopes of scaled features")


class BdtRegression(BdtModel, Predicting):
    """Boosted regression trees by xgboost. Further keys are passed to xgboost; their names are checked."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    by: ClassVar[None] = None  # type: ignore[misc]  # as of every model of a regression
    loss: PredictedBy = Field("squared", description=_LOSS)
    quantiles: Quantiles = Field(default_factory=_central, description=_QUANTILES)


class MlpRegression(Predicting):
    """A fully connected network that predicts a number, or a number and its width."""

    type: Literal["mlp"]
    loss: PredictedBy = Field("squared", description=_LOSS)
    quantiles: Quantiles = Field(default_factory=_central, description=_QUANTILES)
    hidden: list[Width] = Field(default_factory=lambda: [64, 64], description="widths of the layers")
    activation: Literal["sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout", "silu", "gelu"] = Field(
        "silu", description="activation of the hidden layers"
    )
    optimizer: Literal["sgd", "rmsprop", "adam", "adamw", "nadam"] = Field(
        "adam", description="optimiser of the weights"
    )
    momentum: Fraction = Field(0.9, description="momentum of sgd")
    learning_rate: Positive = Field(0.01, description="largest learning rate")
    schedule: Literal["constant", "one_cycle", "cosine", "exponential", "step"] = Field(
        "one_cycle", description="schedule of the learning rate"
    )
    batch_size: PositiveInt | None = Field(
        None, description="events in a step; left out: 64 to 512, by the size of the sample"
    )
    epochs: Epochs | None = Field(None, description="largest number of epochs; left out: by the size of the sample")
    patience: PositiveInt | None = Field(None, description="epochs without improvement before stopping")
    dropout: Fraction = Field(0.0, description="share of units dropped in a step")
    batch_norm: bool = Field(False, description="normalise batches before each activation")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 penalty; decoupled with adamw")
    members: Members = Field(1, description="number of networks whose mean is predicted")


class SklearnRegression(SklearnModel, Predicting):
    """Any regressor of scikit-learn, xgboost or lightgbm that can be converted to ONNX, in which it is saved."""

    by: ClassVar[None] = None  # type: ignore[misc]  # as of every model of a regression


TrainableSpec = (
    CutsModel
    | FisherModel
    | LogisticModel
    | NaiveBayesModel
    | TreeModel
    | MixtureModel
    | AutoencoderModel
    | BandModel
    | LikelihoodModel
    | BdtModel
    | MlpModel
    | SklearnModel
    | ConstantRegression
    | LinearRegression
    | BdtRegression
    | MlpRegression
    | SklearnRegression
)
"""Sections of models that a run trains."""

_Classifying = (
    CutsModel
    | FisherModel
    | LogisticModel
    | NaiveBayesModel
    | TreeModel
    | MixtureModel
    | AutoencoderModel
    | BandModel
    | LikelihoodModel
    | BdtModel
    | MlpModel
    | SklearnModel
)

ImportedSpec = OnnxModel | TmvaModel
"""Sections of models that were trained elsewhere, each a file: one estimator for all folds."""

ModelSection = Annotated[ExpressionModel | ScoreModel | _Classifying | ImportedSpec, Discriminator("type")]
RegressionSection = Annotated[
    ScoreModel | ConstantRegression | LinearRegression | BdtRegression | MlpRegression | SklearnRegression,
    Discriminator("type"),
]


class Map(Section):
    """Efficiency in bins of one or two spectators: edges, or a number of equally populated bins."""

    x: Expression = Field(description="a spectator")
    bins: Edges | Bins = Field(10, description="edges, or how many bins of equal population")
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

    threshold: ClassVar[float] = 0.5  # type: ignore[misc]  # what follows speaks of classes
    working_points: ClassVar[list[float]] = []  # type: ignore[misc]
    flat: ClassVar[list[Flat]] = []  # type: ignore[misc]
    abundance: ClassVar[None] = None  # type: ignore[misc]
    expected: ClassVar[None] = None  # type: ignore[misc]
    punzi: ClassVar[float] = 3.0  # type: ignore[misc]
    calibration: ClassVar[Literal["none"]] = "none"  # type: ignore[misc]
    importance: ClassVar[bool] = False  # type: ignore[misc]
    robustness: ClassVar[None] = None  # type: ignore[misc]
    maps: list[Map] = Field(
        default_factory=list, description="spectators in whose bins bias and resolution are shown, besides quantiles"
    )


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


class ReweightTarget(Section):
    """Files whose rows are what the classes are made alike to. The selection holds for them too."""

    files: str | list[str] = Field(description="files of the target, relative to this file")
    tree: str | None = Field(None, description="tree in these files; left out: that of data")
    friends: list[str] = Field(
        default_factory=list, description="trees beside them, such as that with the sWeights; as in data"
    )
    cut: Expression = Field("1", description="true for the rows to take, besides the selection")
    weight: Expression = Field("1", description="their weight, of any sign, such as an sWeight")


class Reweight(Section):
    """Weights that make the classes alike in some variables, so that no model can learn from these.

    `to` is a class, or files of their own; then all classes together are made like these. The weights multiply those
    of the data.
    """

    match: Annotated[list[Expression], Field(min_length=1, max_length=20)] = Field(
        description="the variables to make alike: spectators or any expressions"
    )
    to: str | ReweightTarget = Field(description="a class, which keeps its weights, or {files: data.root, weight: sw}")
    classes: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="the classes to reweight; left out: all others"
    )
    method: Literal["classifier", "bins"] = Field(
        "classifier", description="classifier: by boosted trees, also for many variables; bins: by a histogram"
    )
    bins: dict[Expression, FiniteEdges | Bins] | Bins = Field(
        20, description="for bins: of each variable its edges, or how many of equal population; or one number for all"
    )
    folds: Annotated[int, Field(ge=2, le=100)] = Field(
        5, description="each training event is weighted by a fit that did not see it; with `folds` at the top, those"
    )
    # A field cannot be called as Python's keyword is, so its name in the configuration is an alias.
    used_for: Literal["training", "evaluation", "both"] = Field(
        "both", alias="for", description="training: of the models; evaluation: of all numbers, thresholds too; or both"
    )


class Config(Section):
    """A whole configuration."""

    data: Data = Field(default_factory=Data, description="the events")
    classes: Annotated[dict[Name, Expression | ClassTable], Field(min_length=2)] = Field(
        description="two or more: name to a cut, or to a table of its own"
    )
    signal: str | None = Field(None, description="the signal class; left out: the first")
    polygons: dict[Annotated[str, Field(min_length=1, max_length=1_000)], PolygonSection] = Field(
        default_factory=dict, description='name to a polygon, which expressions ask by cutg("name")'
    )
    selection: dict[str, Expression] = Field(
        default_factory=dict, description="named cuts, in the order of the cut flow"
    )
    features: Annotated[list[Expression | AnyFeature], Field(min_length=1)] = Field(
        description="inputs of the models: expressions, and patterns such as P.cal.* for all branches that match"
    )
    spectators: list[Expression] = Field(
        default_factory=list, description="expressions that are kept with each candidate and never trained on"
    )
    reweight: Reweight | None = Field(
        None, description="weights that make the classes alike in some variables; left out: none"
    )
    split: Split = Field(default_factory=Split, description="training, validation and test samples")
    folds: Annotated[int, Field(ge=2, le=100)] | None = Field(
        None, description="number of folds; every event is scored by a model that never saw it; left out: one split"
    )
    events: PositiveInt | None = Field(
        None,
        description="for a first look: models are trained and evaluated on so many of the selected events, drawn by a "
        "hash of the event; `apply` and exports know nothing of it; left out: all",
    )
    scaling: Literal["none", "minmax", "standard", "robust", "quantile"] = Field(
        "quantile", description="scaling of the features for models that need it, fitted on the training sample"
    )
    models: Annotated[dict[Name, ModelSection], Field(min_length=1)] = Field(description="name to model")
    evaluate: Evaluate = Field(default_factory=Evaluate, description="how the models are evaluated")
    balance: Literal["equal", "none"] = Field(
        "equal", description="equal: in training the weights of each class have the same sum; none: as in the sample"
    )
    negative_weights: Literal["abs", "drop", "zero"] = Field(
        "abs", description="how training treats them; evaluation keeps the sign"
    )
    labels: dict[str, Label] = Field(
        default_factory=dict,
        description="axis text, with its unit, of a feature (by name) or a spectator (by expression): $p$ [GeV]",
    )
    style: Style = Field(default_factory=Style, description="style of the figures")
    tune: dict[Name, dict[str, str | Number | list[Any]]] | None = Field(
        None, description="values that `pidlab tune` tries, by model and parameter: log:0.005:0.3, int:3:8, or a list"
    )
    seed: WholeNumber = Field(1, description="seed of everything random except the split")
    output: str | None = Field(None, description="folder of the run; left out: runs/ and the name of this file")

    @property
    def signal_class(self) -> str:
        """The name of the signal class."""
        return self.signal if self.signal is not None else next(iter(self.classes))

    @property
    def feature_list(self) -> list[Feature]:
        """The features that are expressions, each with its name."""
        stated = (f for f in self.features if not isinstance(f, BandFeature))
        return [f if isinstance(f, Feature) else Feature(name=f, expression=f) for f in stated]

    @property
    def band_features(self) -> dict[str, BandFeature]:
        """The features that are numbers of sigmas from a band, by their names."""
        return {f.name: f for f in self.features if isinstance(f, BandFeature)}

    @property
    def axis_labels(self) -> dict[str, str]:
        """The axis text, with its unit, of the features and spectators that have one.

        `labels` comes first, then a feature's own `label` and `unit`, which serve its expression too.
        """
        texts: dict[str, str] = {}
        for f in self.feature_list:
            if f.label or f.unit:
                text = f"{f.label or f.name} [{f.unit}]" if f.unit else f.label
                texts |= {f.expression: text, f.name: text}
        return texts | self.labels


class Target(Section):
    """What a regression predicts, and where it is known."""

    value: Expression = Field(
        description="the quantity to predict; rows where it is NaN or infinite are not trained on"
    )
    cut: Expression = Field(
        "1", description="true for rows to train and to evaluate on; predictions are made for all selected rows"
    )


class RegressionConfig(Config):
    """A whole configuration of a regression: a target in place of classes."""

    # All candidates with a target are of one class, so that they are read, split and scored as those of classes are.
    classes: ClassVar[dict[str, str]] = {"events": "1"}  # type: ignore[misc]
    signal: ClassVar[None] = None  # type: ignore[misc]
    reweight: ClassVar[None] = None  # type: ignore[misc]
    balance: ClassVar[Literal["equal"]] = "equal"  # type: ignore[misc]  # a mean weight of one
    target: Expression | Target = Field(description="what is predicted: an expression, or {value: …, cut: …}")
    # A linear model is then one in the features themselves, and what a network learns stays as smooth as it is: ranks
    # doubled the residuals of a network on TMVA's example.
    scaling: Literal["none", "minmax", "standard", "robust", "quantile"] = Field(
        "standard", description="scaling of the features for models that need it, fitted on the training sample"
    )
    models: Annotated[dict[Name, RegressionSection], Field(min_length=1)] = Field(description="name to model")  # type: ignore[assignment]
    evaluate: RegressionEvaluate = Field(default_factory=RegressionEvaluate, description="how the models are evaluated")

    @property
    def predicted(self) -> Target:
        """The target as a section, also if it is given by an expression alone."""
        return self.target if isinstance(self.target, Target) else Target(value=self.target)


def config_class(content: Any) -> type[Config]:
    """Returns the kind of configuration that a file's content is meant to be: with a target, or with classes."""
    return RegressionConfig if isinstance(content, Mapping) and "target" in content else Config


@lru_cache(maxsize=2)
def json_schema(kind: type[Config] = Config) -> dict[str, Any]:
    """Returns the JSON schema of a kind of configuration. It is made once, and must not be changed."""
    return kind.model_json_schema()


def editor_schema() -> dict[str, Any]:
    """Returns the JSON schema of any configuration, for editors: a key `target` tells a regression."""
    of_classes, of_target = dict(json_schema(Config)), dict(json_schema(RegressionConfig))
    sections = {**of_target.pop("$defs"), **of_classes.pop("$defs")}
    return {"$defs": sections, "if": {"required": ["target"]}, "then": of_target, "else": of_classes}
