"""From a section of the configuration to an untrained estimator; its library is imported only where it is used."""

from __future__ import annotations

import resource
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pidlab.config.load import LoadedConfig
from pidlab.config.schema import (
    BdtModel,
    CutsModel,
    MlpModel,
    SklearnModel,
    TrainableSpec,
)
from pidlab.errors import ConfigError, ModelError, UsageError
from pidlab.models.base import Classifier
from pidlab.models.bdt.settings import check_parameters
from pidlab.models.external.loading import external_mistakes

_ADDRESS_SPACE = 800_000_000  # bytes: torch was seen to map 500 MB, and threads need stacks


@dataclass(frozen=True, slots=True)
class Resources:
    """What training may use; `allow_import` names packages that models of type sklearn may import besides the usual."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    n_jobs: int | None = None
    allow_import: tuple[str, ...] = ()


def estimator_class(kind: str) -> type[Classifier]:
    """The estimator of a trained model's type; its library is imported only now."""
    if kind == "cuts":
        from pidlab.models.cuts.estimator import Cuts

        return Cuts
    if kind == "fisher":
        from pidlab.models.fisher import Fisher

        return Fisher
    if kind == "logistic":
        from pidlab.models.logistic import Logistic

        return Logistic
    if kind == "bdt":
        from pidlab.models.bdt.estimator import BDT

        return BDT
    if kind == "mlp":
        _check_address_space()
        from pidlab.models.mlp.estimator import MLP

        return MLP
    if kind == "sklearn":
        from pidlab.models.external.sklearn.model import SklearnClassifier

        return SklearnClassifier
    if kind == "onnx":
        from pidlab.models.external.onnx.model import OnnxClassifier

        return OnnxClassifier
    if kind == "tmva":
        from pidlab.models.external.tmva.model import TmvaClassifier

        return TmvaClassifier
    raise ModelError(f"the model type {kind!r} cannot be trained")


def _check_address_space() -> None:
    """Refuse to load torch where it does not fit: it ends the whole process, without a word, where it cannot.

    Raises:
        ModelError: the limit on the address space of this process leaves too little.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or "torch" in sys.modules:
        return
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if limit - taken < _ADDRESS_SPACE:
        raise ModelError(
            f"networks need {_ADDRESS_SPACE / 1e9:.1f} GB of address space more, and {(limit - taken) / 1e9:.1f} are "
            f"left of the {limit / 1e9:.1f} that this process may use; raise the limit (`ulimit -v unlimited`), "
            "or leave models of type mlp out"
        )


def check_models(loaded: LoadedConfig, allow_import: Collection[str] = ()) -> None:
    """Refuse, before anything is read, what only a model's own library or file knows to be wrong.

    Raises:
        ConfigError: a parameter that xgboost or an estimator does not have; a model's file that does not go with the
            configuration; a class of a package that is neither usual nor in `allow_import`.
    """
    mistakes = list(external_mistakes(loaded, allow_import))
    for name, spec in loaded.config.models.items():
        if isinstance(spec, BdtModel):
            try:
                check_parameters(spec.model_extra or {})
            except UsageError as error:
                mistakes.append(loaded.mistake(("models", name), str(error)))
    if mistakes:
        raise ConfigError(mistakes)


def build_estimator(
    spec: TrainableSpec,
    features: Sequence[str],
    signal: int,
    seed: int,
    resources: Resources,
    working_points: Sequence[float] = (),
) -> Classifier:
    """The untrained estimator that a section of the configuration describes.

    Cuts get a box for each of `working_points` (signal efficiencies), and for each of their own `efficiencies`.
    """
    options = spec.model_dump(exclude={"type", "features", "figure_of_merit"})
    if isinstance(spec, CutsModel):
        wanted = sorted({*working_points, *(spec.efficiencies or ())})
        options |= {"feature_names": list(features), "signal": signal, "seed": seed, "efficiencies": wanted or None}
    elif isinstance(spec, BdtModel):
        extra = dict(spec.model_extra or {})
        options = {name: value for name, value in options.items() if name not in extra}
        options |= {
            "parameters": extra or None,
            "feature_names": list(features),
            "seed": seed,
            "device": resources.device,
            "n_jobs": resources.n_jobs,
        }
    elif isinstance(spec, MlpModel):
        options |= {"seed": seed, "device": resources.device}
    elif isinstance(spec, SklearnModel):
        del options["scaled"]
        options |= {"seed": seed, "n_jobs": resources.n_jobs, "allowed": resources.allow_import}
    return estimator_class(spec.type)(**options)
