"""Models from elsewhere: files of other tools that are scored, and classes of other packages that are trained."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from pidlab.config.load import LoadedConfig
from pidlab.config.schema import ImportedSpec, OnnxModel, SklearnModel, TmvaModel
from pidlab.errors import Mistake, ModelError
from pidlab.models.base import Classifier
from pidlab.models.external.columns import Columns, ModelMismatchError, read_content
from pidlab.models.external.onnx.runtime import LARGEST as LARGEST_ONNX
from pidlab.models.external.tmva.file import LARGEST as LARGEST_TMVA
from pidlab.sample import Sample

UNKNOWN_TRAINING = (
    "It was trained elsewhere: on which events is not known, and where some of them are in test its numbers flatter it."
)
_N_LOOKED_AT = 20_000


def external_mistakes(loaded: LoadedConfig, allowed: Collection[str] = ()) -> Iterator[Mistake]:
    """What is wrong with the models from elsewhere, before any event is read; `allowed` packages may be imported."""
    for name, spec in loaded.config.models.items():
        try:
            if isinstance(spec, ImportedSpec):
                open_model(name, loaded)
            elif isinstance(spec, SklearnModel):
                from pidlab.models.external.sklearn.model import check_sklearn

                check_sklearn(spec, allowed)
        except ModelMismatchError as error:
            yield loaded.mistake(("models", name, error.key), _with_file(spec, loaded, error))
        except ModelError as error:
            key = "estimator" if isinstance(spec, SklearnModel) else "file"
            yield loaded.mistake(("models", name, key), _with_file(spec, loaded, error))


def takes_missing(spec: SklearnModel, allowed: Collection[str]) -> bool:
    """Whether an estimator takes NaN for missing values."""
    from pidlab.models.external.sklearn.model import SklearnClassifier

    return SklearnClassifier(spec.estimator, spec.parameters, allowed=allowed).takes_missing


def _with_file(spec: object, loaded: LoadedConfig, error: ModelError) -> str:
    """The message, behind the file that it is about."""
    text = str(error)
    path = str(_path(spec, loaded)) if isinstance(spec, ImportedSpec) else ""
    return text if text.startswith(path) else f"{path}: {text}"


def _path(spec: ImportedSpec, loaded: LoadedConfig) -> Path:
    return loaded.folder / spec.file


def open_model(name: str, loaded: LoadedConfig) -> tuple[Columns, Classifier]:
    """The features that a brought model reads, in its order, and the model.

    Raises:
        ModelMismatchError: its file, or an option, does not go with the configuration.
        ModelError: it cannot be run.
        UsageError: a package is missing.
    """
    config = loaded.config
    spec = config.models[name]
    features = {f.name: f.expression for f in config.feature_list}
    classes, signal = list(config.classes), list(config.classes).index(config.signal_class)
    if isinstance(spec, OnnxModel):
        from pidlab.models.external.onnx.model import open_onnx

        content = read_content(_path(spec, loaded), LARGEST_ONNX)
        return open_onnx(spec, content, features, classes, signal)
    assert isinstance(spec, TmvaModel)
    from pidlab.models.external.tmva.model import open_tmva

    content = read_content(_path(spec, loaded), LARGEST_TMVA)
    return open_tmva(spec, content, features, len(classes), signal)


def notes_of(columns: Columns, model: Classifier, train: Sample) -> tuple[str, ...]:
    """What a reader must know of a brought model, in sentences; it scores some of `train` for that.

    Raises:
        ModelError: the model cannot score these events.
    """
    rows = np.linspace(0, len(train) - 1, min(len(train), _N_LOOKED_AT)).astype(np.int64)
    score = model.scores(train.x[rows][:, list(columns)])[:, train.signal]
    is_signal = train.is_signal[rows]
    known = ~np.isnan(score)
    notes = [UNKNOWN_TRAINING]
    if known.any() and not known.all() and np.isnan(train.x[rows]).any():
        notes.append(
            f"It has no score for {1 - known.mean():.1%} of the training events; where it was trained with a number "
            "for missing values, say which: missing: VALUE."
        )
    ranks = rankdata(score[known])
    n_signal, n_other = int(is_signal[known].sum()), int((~is_signal[known]).sum())
    if n_signal and n_other:
        area = (ranks[is_signal[known]].mean() - (n_signal + 1) / 2) / n_other
        if area < 0.5:
            notes.append(
                f"It ranks the signal below the rest (AUC {area:.3f} on training events): are its columns, or its "
                "signal, of another class, or its features in another order?"
            )
    return tuple(notes)
