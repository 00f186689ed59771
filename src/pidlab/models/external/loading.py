"""Models of other tools: files that pidlab scores, and classes of other packages that it trains."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from pidlab.config.load import LoadedConfig
from pidlab.config.schema import ImportedSpec, OnnxModel, SklearnModel
from pidlab.errors import Mistake, ModelError
from pidlab.evaluate.ranking import auc
from pidlab.models.base import Classifier
from pidlab.models.external.columns import Columns, ModelMismatchError, read_content
from pidlab.sample import Sample

UNKNOWN_TRAINING = (
    "It was trained elsewhere: on which events is not known, and where some of them are in test its numbers flatter it."
)
_N_SCORED = 20_000  # training events, for the notes
_LARGEST = {"onnx": 500_000_000, "tmva": 300_000_000}  # bytes of a file


def external_mistakes(loaded: LoadedConfig, allowed: Collection[str] = ()) -> Iterator[Mistake]:
    """Yields the mistakes in the sections of models of other tools; packages in `allowed` may be imported for it."""
    for name, spec in loaded.config.models.items():
        try:
            if isinstance(spec, ImportedSpec):
                open_model(name, loaded)
            elif isinstance(spec, SklearnModel) and not spec.object:
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
    """The message, with the path of the model's file before it."""
    text = str(error)
    path = str(loaded.folder / spec.file) if isinstance(spec, ImportedSpec) else ""
    return text if text.startswith(path) else f"{path}: {text}"


def open_model(name: str, loaded: LoadedConfig) -> tuple[Columns, Classifier]:
    """Returns the features that an imported model reads, in its order, and the model.

    Raises:
        ModelMismatchError: its file, or an option, does not fit the configuration.
        ModelError: the model cannot be run.
        UsageError: a package is missing.
    """
    config = loaded.config
    spec = config.models[name]
    assert isinstance(spec, ImportedSpec)
    features = {f.name: f.expression for f in config.feature_list}
    classes, signal = list(config.classes), list(config.classes).index(config.signal_class)
    content = read_content(loaded.folder / spec.file, _LARGEST[spec.type])
    if isinstance(spec, OnnxModel):
        from pidlab.models.external.onnx.model import open_onnx

        return open_onnx(spec, content, features, classes, signal)
    from pidlab.models.external.tmva.model import open_tmva

    return open_tmva(spec, content, features, len(classes), signal)


def notes_of(columns: Columns, model: Classifier, train: Sample) -> tuple[str, ...]:
    """Returns sentences about an imported model for the reader of its numbers; some of `train` is scored for them.

    Raises:
        ModelError: the model cannot score these events.
    """
    rows = np.linspace(0, len(train) - 1, min(len(train), _N_SCORED)).astype(np.int64)
    score = model.scores(train.x[rows][:, list(columns)])[:, train.signal]
    known = ~np.isnan(score)
    notes = [UNKNOWN_TRAINING]
    if known.any() and not known.all() and np.isnan(train.x[rows]).any():
        notes.append(
            f"It has no score for {1 - known.mean():.1%} of the training events; if it was trained with a number for "
            "missing values, say which: missing: VALUE."
        )
    area = auc(score[known], train.is_signal[rows][known], np.ones(known.sum())).value
    if area < 0.5:  # not if it is NaN for want of a class
        notes.append(
            f"It ranks the signal below the rest (AUC {area:.3f} on training events): are its columns, or its signal, "
            "of another class, or its features in another order?"
        )
    return tuple(notes)
