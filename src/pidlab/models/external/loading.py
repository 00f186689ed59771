"""Models of other tools: files that pidlab scores, and classes of other packages that it trains."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from pidlab.config.load import LoadedConfig
from pidlab.config.schema import ImportedSpec, OnnxModel, SklearnModel
from pidlab.errors import Mistake, ModelError
from pidlab.models.external.columns import Columns, ModelMismatchError, read_content

if TYPE_CHECKING:  # scikit-learn, which a check of the configuration does not need
    from pidlab.models.base import Classifier

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
    """Returns whether an estimator takes NaN for missing values."""
    from pidlab.models.external.sklearn.model import untrained
    from pidlab.models.external.sklearn.to_onnx import keeps_missing

    return keeps_missing(untrained(spec, allowed))


def _with_file(spec: object, loaded: LoadedConfig, error: ModelError) -> str:
    """Returns the message, with the path of the model's file before it."""
    text = str(error)
    path = str(loaded.folder / spec.file) if isinstance(spec, ImportedSpec) else ""
    return text if text.startswith(path) else f"{path}: {text}"


def open_model(name: str, loaded: LoadedConfig, device: str = "auto") -> tuple[Columns, Classifier]:
    """Returns the features that an imported model reads, in its order, and the model, which scores on `device`.

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

        return open_onnx(spec, content, features, classes, signal, device)
    from pidlab.models.external.tmva.model import open_tmva

    return open_tmva(spec, content, features, len(classes), signal)
