"""The types of models: one row says all that pidlab needs to know of a type besides its own module."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel

from pidlab.config.load import LoadedConfig
from pidlab.config.schema import TrainableSpec
from pidlab.config.schema.models import anomaly, band, classifiers, cuts, likelihood, regression, untrained
from pidlab.errors import ConfigError
from pidlab.models.external.loading import external_mistakes
from pidlab.models.gpu import gpu_present
from pidlab.models.threads import usable_cores

if TYPE_CHECKING:  # scikit-learn, which comes with the estimators when they are used
    from pidlab.models.base import Classifier


@dataclass(frozen=True, slots=True)
class ModelType:
    """A type of model. Classes and functions are written as "module:name" and are imported when they are used.

    Attributes:
        section: the section of the configuration; its key `type` names the type.
        estimator: the class that is fitted or loaded; empty if the model is an expression.
        scaled: whether features are scaled and missing values filled, unless the section has a key `scaled` of its own.
        probability: whether scores may be probabilities; otherwise they only rank candidates.
        exports: format to the function that writes an estimator of this type in it.
        search: parameter to the values that `pidlab tune` tries unless the user names others.
        apart: whether it is a network that another process can train.
    """

    section: type[BaseModel]
    estimator: str = ""
    scaled: bool = False
    probability: bool = False
    exports: Mapping[str, str] = field(default_factory=dict)
    search: Mapping[str, str] = field(default_factory=dict)
    apart: bool = False

    @property
    def type(self) -> str:
        """The value of the key `type`."""
        return str(get_args(self.section.model_fields["type"].annotation)[0])

    @property
    def name(self) -> str:
        """The value of the key `type`, followed by `_regression` for models of a regression."""
        return f"{self.type}_regression" if issubclass(self.section, regression.Predicting) else self.type


_TREES_SEARCH = {
    "max_depth": "int:3:10",
    "learning_rate": "log:0.01:0.3",
    "min_child_weight": "log:0.1:100",
    "subsample": "float:0.5:1",
    "colsample_bynode": "float:0.4:1",
    "lambda": "log:0.001:100",
}
_NETWORK_SEARCH = {
    "hidden": "[32,32]|[64,64]|[128,128]|[64,64,64]|[128,128,128]",
    "activation": "silu|relu|tanh",
    "batch_size": "128|256|512|1024",
    "dropout": "0.0|0.1|0.2|0.3",
    "learning_rate": "log:0.0003:0.05",
    "weight_decay": "log:0.0000001:0.01",
}

_LINEAR_EXPORTS = {"header": "pidlab.export.cpp.models:linear", "onnx": "pidlab.export.onnx.models:linear_scores"}
_TREE_EXPORTS = {"header": "pidlab.export.cpp.models:trees", "onnx": "pidlab.export.onnx.models:tree_scores"}

_ROWS = (
    ModelType(untrained.ExpressionModel),
    ModelType(untrained.ScoreModel),
    ModelType(
        cuts.CutsModel,
        "pidlab.models.cuts.estimator:Cuts",
        exports={"header": "pidlab.export.cpp.models:cuts", "onnx": "pidlab.export.onnx.models:cut_scores"},
        search={"search": "archive|genetic|swarm|annealing|monte-carlo"},
    ),
    ModelType(
        classifiers.FisherModel,
        "pidlab.models.fisher:Fisher",
        scaled=True,
        probability=True,
        exports=_LINEAR_EXPORTS,
    ),
    ModelType(
        classifiers.LogisticModel,
        "pidlab.models.logistic:Logistic",
        scaled=True,
        probability=True,
        exports=_LINEAR_EXPORTS,
        search={"C": "log:0.0001:10000"},
    ),
    ModelType(
        classifiers.NaiveBayesModel,
        "pidlab.models.naive_bayes:NaiveBayes",
        scaled=True,
        probability=True,
        exports={"onnx": "pidlab.export.onnx.models:naive_bayes_scores"},
        search={"var_smoothing": "log:0.000000001:0.1"},
    ),
    ModelType(
        anomaly.MixtureModel,
        "pidlab.models.unlabelled.mixture:Mixture",
        scaled=True,
        search={"components": "1|2|3|4|6|8|12", "covariance": "full|tied|diag|spherical"},
    ),
    ModelType(
        anomaly.AutoencoderModel,
        "pidlab.models.unlabelled.autoencoder:Autoencoder",
        scaled=True,
        search={"bottleneck": "1|2|3|4|6|8", "hidden": "[16]|[32]|[64]|[64,32]"},
        apart=True,
    ),
    ModelType(
        likelihood.LikelihoodModel,
        "pidlab.models.likelihood.estimator:Likelihood",
        probability=True,
        exports={
            "header": "pidlab.export.cpp.models:likelihood",
            "header_outputs": "pidlab.export.cpp.models:likelihood_outputs",
            "onnx": "pidlab.export.onnx.models:likelihood_scores",
        },
        search={"density": "histogram|kernel", "weights": "none|fit"},
    ),
    ModelType(
        classifiers.TreeModel,
        "pidlab.models.tree.estimator:DecisionTree",
        probability=True,
        exports=_TREE_EXPORTS,
        search={"max_depth": "int:2:12", "min_leaf": "log:0.0001:0.05", "criterion": "entropy|gini"},
    ),
    ModelType(
        classifiers.BdtModel,
        "pidlab.models.bdt.estimator:BDT",
        probability=True,
        exports=_TREE_EXPORTS | {"xgboost": "pidlab.export.xgboost_json:booster_json"},
        search=_TREES_SEARCH,
    ),
    ModelType(
        classifiers.MlpModel,
        "pidlab.models.mlp.estimator:MLP",
        scaled=True,
        probability=True,
        exports={"header": "pidlab.export.cpp.models:network", "onnx": "pidlab.export.onnx.models:network_scores"},
        search=_NETWORK_SEARCH,
        apart=True,
    ),
    ModelType(
        band.BandModel,
        "pidlab.models.band.estimator:Band",
        exports={
            "header": "pidlab.export.cpp.bands:band_scores",
            "header_outputs": "pidlab.export.cpp.bands:band_outputs",
            "onnx": "pidlab.export.onnx.bands:band_scores",
            "onnx_outputs": "pidlab.export.onnx.bands:band_outputs",
        },
    ),
    ModelType(
        classifiers.SklearnModel,
        "pidlab.models.external.sklearn.model:SklearnClassifier",
        probability=True,
    ),
    ModelType(untrained.OnnxModel, "pidlab.models.external.onnx.model:OnnxClassifier", probability=True),
    ModelType(untrained.TmvaModel, "pidlab.models.external.tmva.model:TmvaClassifier"),
    ModelType(
        regression.ConstantRegression,
        "pidlab.models.regressors.constant:ConstantRegressor",
        exports={"header": "pidlab.export.cpp.regressors:constant", "onnx": "pidlab.export.onnx.regressors:constant"},
    ),
    ModelType(
        regression.LinearRegression,
        "pidlab.models.regressors.linear:LinearRegressor",
        scaled=True,
        exports={"header": "pidlab.export.cpp.regressors:linear", "onnx": "pidlab.export.onnx.regressors:linear"},
        search={"alpha": "log:0.000001:1"},
    ),
    ModelType(
        regression.BdtRegression,
        "pidlab.models.regressors.bdt:BDTRegressor",
        exports={
            "header": "pidlab.export.cpp.regressors:trees",
            "onnx": "pidlab.export.onnx.regressors:trees",
            "xgboost": "pidlab.export.xgboost_json:booster_json",
        },
        search=_TREES_SEARCH,
    ),
    ModelType(
        regression.MlpRegression,
        "pidlab.models.regressors.network:MLPRegressor",
        scaled=True,
        exports={"header": "pidlab.export.cpp.regressors:network", "onnx": "pidlab.export.onnx.regressors:network"},
        search=_NETWORK_SEARCH,
        apart=True,
    ),
    ModelType(regression.SklearnRegression, "pidlab.models.regressors.sklearn:SklearnRegressor"),
)
MODEL_TYPES: Mapping[str, ModelType] = {row.name: row for row in _ROWS}
"""The name of a type of model to its row."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What training may use.

    Attributes:
        device: for networks, BDTs and models in ONNX; auto trains on the GPU if there is one.
        n_jobs: number of threads; None for all cores.
        allow_import: packages that models of type sklearn may import besides the usual.
        memory: the bytes that the process may take; None for what the machine has.
        objects: name of a model to the estimator that was given as an object in Python.
        dask: the address of a dask scheduler on whose workers events are read and models trained; empty for none.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    n_jobs: int | None = None
    allow_import: tuple[str, ...] = ()
    memory: int | None = None
    objects: Mapping[str, GivenEstimator] = field(default_factory=dict)
    dask: str = ""


@dataclass(frozen=True, slots=True)
class GivenEstimator:
    """An estimator of scikit-learn that was given as an object in Python.

    Attributes:
        estimator: is trained as a clone; a fitted one is used unchanged.
        labels: the label of each of the k classes, as the estimator is to see them in y; empty for a regressor.
    """

    estimator: Any
    labels: tuple[Any, ...]

    @property
    def is_fitted(self) -> bool:
        """Whether the estimator was trained before."""
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        try:
            check_is_fitted(self.estimator)
        except NotFittedError:
            return False
        return True

    @property
    def takes_missing(self) -> bool:
        """Whether the estimator itself deals with NaN: it imputes first, or its trees send NaN to a side."""
        from pidlab.models.external.sklearn.to_onnx import keeps_missing

        first, last = _ends(self.estimator)
        return keeps_missing(last) or type(first).__module__.startswith("sklearn.impute")


def _ends(estimator: Any) -> tuple[Any, Any]:
    """Returns the first and the last step of a pipeline; an estimator that is no pipeline is both.

    The steps of a `TransformedTargetRegressor` are those of the regressor inside.
    """
    estimator = getattr(estimator, "regressor", None) or estimator
    steps = getattr(estimator, "steps", None)
    if not isinstance(steps, list) or not steps:
        return estimator, estimator
    return _ends(steps[0][1])[0], _ends(steps[-1][1])[1]


def imported(place: str) -> Any:
    """Imports the object that is written as "module:name"."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def estimator_class(kind: str) -> type[Classifier]:
    """Imports the estimator of a type of model."""
    found: type[Classifier] = imported(MODEL_TYPES[kind].estimator)
    return found


def _given_estimator(spec: TrainableSpec, given: GivenEstimator, features: Sequence[str]) -> Classifier:
    """Returns the untrained estimator of an object of scikit-learn: a regressor in a regression, else a classifier."""
    if isinstance(spec, regression.SklearnRegression):
        made = imported("pidlab.models.regressors.sklearn:GivenRegressor")
        regressor: Classifier = made(given.estimator, given.is_fitted, tuple(features))
        return regressor
    from pidlab.models.external.sklearn.given import GivenClassifier

    return GivenClassifier(given.estimator, given.labels, given.is_fitted, tuple(features))


def networks_train_apart(kinds: Iterable[str], device: str) -> bool:
    """Returns whether another process is to train the networks: there are some, a core is free for it, and no GPU.

    Args:
        kinds: the types of the models of a run.
        device: as of `Resources`.
    """
    if "torch" in sys.modules or not any(MODEL_TYPES[kind].apart for kind in kinds):
        return False
    return usable_cores() > 1 and (device == "cpu" or not gpu_present())


def check_models(loaded: LoadedConfig, resources: Resources) -> None:
    """Checks, before anything is read, what only the library or the file of a model can tell.

    Raises:
        ConfigError: a parameter is unknown to an estimator, the file of a model does not fit the
            configuration, or a class is of a package that is neither usual nor in `allow_import`.
    """
    mistakes = list(external_mistakes(loaded, resources.allow_import))
    for name, spec in loaded.config.models.items():
        if isinstance(spec, classifiers.SklearnModel) and spec.object and name not in resources.objects:
            what = f"the {spec.estimator} was an object in Python, and only its trained form is in the run"
            mistakes.append(loaded.mistake(("models", name, "object"), f"{what}; train it by pidlab.compare"))
    if mistakes:
        raise ConfigError(mistakes)


def build_estimator(
    spec: TrainableSpec,
    features: Sequence[str],
    signal: int,
    seed: int,
    resources: Resources,
    working_points: Sequence[float] = (),
    given: GivenEstimator | None = None,
    classes: Sequence[str] = (),
) -> Classifier:
    """Returns the untrained estimator that a section of the configuration describes, or that was `given` as an object.

    Its constructor gets the keys of the section, and of `feature_names`, `class_names` (`classes`), `signal`, `seed`,
    `device`, `n_jobs` and `allowed` those that it takes. Cuts get a box for each of
    `working_points` (signal efficiencies), and for each of their own `efficiencies`.
    """
    if given is not None:
        return _given_estimator(spec, given, features)
    estimator = estimator_class(spec.kind)
    not_passed = {"type", "features", "scaled", "figure_of_merit", "object"}  # used before or after the training
    options = spec.model_dump(include=type(spec).model_fields.keys() - not_passed)
    if spec.model_extra is not None:
        options["parameters"] = spec.model_extra or None
    if isinstance(spec, cuts.CutsModel):
        options["efficiencies"] = sorted({*working_points, *(spec.efficiencies or ())}) or None
    surroundings = {
        "feature_names": list(features),
        "class_names": list(classes) or None,
        "signal": signal,
        "seed": seed,
        "device": resources.device,
        "n_jobs": resources.n_jobs,
        "allowed": resources.allow_import,
    }
    taken = inspect.signature(estimator).parameters
    if spec.categories or "by" not in taken:  # a band itself has a group for each value of an integer
        options.pop("by", None)
    return estimator(**options, **{name: value for name, value in surroundings.items() if name in taken})
