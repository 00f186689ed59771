"""Models that were trained by other tools and saved as ONNX: pidlab scores them and does not train them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import OnnxModel
from pidlab.errors import ModelError, nearest
from pidlab.evaluate.ranking import signal_scores
from pidlab.models.external.base import ImportedClassifier
from pidlab.models.external.columns import Columns, ModelMismatchError, in_order, listed, named
from pidlab.models.external.onnx.runtime import Graph, Runner, read_graph, why_no_gpu
from pidlab.models.link import posterior
from pidlab.sample import FloatArray

Gives = Literal["probability", "logit", "score"]
_ROUNDING = 1e-5  # by which float32 probabilities may leave [0, 1]


@dataclass(eq=False, repr=False)
class OnnxClassifier(ImportedClassifier):
    """An ONNX graph as a classifier of k classes.

    Args:
        content: the bytes of the file.
        output: the output of the graph that holds the scores.
        order: for each class its column of that output; empty if the only column is the signal's.
        n_classes: k.
        signal: index of the signal.
        gives: probabilities; logits, to which the logistic function (one column) or softmax is applied; or scores of
            any range, larger for events that are more like the class.
        missing: replaces NaN; None for no replacement.
        device: cuda: a GPU scores, where there is one that onnxruntime can use; otherwise the CPU.
    """

    kind, what, content_file = "onnx", "model in ONNX", "model.onnx"

    content: bytes
    output: str
    order: Sequence[int]
    n_classes: int
    signal: int
    gives: Gives = "probability"
    missing: float | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        self._check_parameters()
        self.probability = self.gives != "score"
        self._run = Runner(read_graph(self.content), self.output, self.device)
        if self._run.graph.n_features is not None:
            self.n_features_in_ = self._run.graph.n_features

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Returns the model that `save` wrote.

        Raises:
            ModelError: a file is missing, damaged, or of another model.
        """
        model = super().load(directory)
        gives, order, output = model.gives, model.order, model.output
        known = [port.name for port in model._run.graph.outputs]
        fits = gives in get_args(Gives) and output in known and isinstance(order, list | tuple)
        fits = fits and model.device in ("auto", "cpu", "cuda")
        if not fits or len(order) not in (0, model.n_classes) or any(type(i) is not int or i < 0 for i in order):
            raise ModelError(f"{directory / 'model.json'}: does not say how the model is read; make the run again")
        return model

    @property
    def one_sided(self) -> bool:
        """Whether there are more than two classes, of which only the signal has a score."""
        return not self.order and self.n_classes > 2

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k), the same as `scores`."""
        return self.scores(np.asarray(X)).astype(np.float64)

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Maps (n, d) features in the model's order to (n, k) scores, with NaN where the model gives NaN.

        Raises:
            ModelError: the model fails, or gives values outside [0, 1] where probabilities are expected.
        """
        values = self._run(self._filled(X))
        if values.shape[1] <= max(self.order, default=0):
            raise ModelError(f"gives {values.shape[1]} columns, of which column {max(self.order)} should be read")
        if self.gives == "logit":
            values = posterior(values.astype(np.float64))[:, -values.shape[1] :]
        elif self.gives == "probability":
            self._check(values)
        if self.order:
            return np.asarray(values[:, list(self.order)], np.float32)
        signal = values[:, 0].astype(np.float32)
        return signal_scores(signal, self.n_classes, self.signal, probability=self.probability)

    def _check(self, values: NDArray[np.floating[Any]]) -> None:
        known = values[~np.isnan(values)]
        if len(known) and (known.min() < -_ROUNDING or known.max() > 1 + _ROUNDING):
            raise ModelError(
                f"gives values from {known.min():.4g} to {known.max():.4g}, which are no probabilities; "
                "say gives: logit for what a sigmoid or softmax should follow, gives: score for any other discriminant"
            )


def open_onnx(
    spec: OnnxModel,
    content: bytes,
    features: Mapping[str, str],
    classes: Sequence[str],
    signal: int,
    device: str = "auto",
) -> tuple[Columns, OnnxClassifier]:
    """Returns the features that a model reads, in its order, and the model.

    Args:
        spec: the model's section of the configuration.
        content: the bytes of the file.
        features: names to expressions.
        classes: k names.
        signal: index of the signal.
        device: cuda for a GPU; auto and cpu for the CPU, whose scores do not depend on the machine.

    Raises:
        ModelMismatchError: the model does not fit the configuration, or a score depends on the other events.
        ModelError: onnxruntime cannot run the model, or not in time, or not on a GPU that was asked for.
    """
    if device == "cuda" and (reason := why_no_gpu()):
        raise ModelError(f"device: cuda was asked for, but {reason}")
    graph = read_graph(content)
    columns = _columns(spec, graph, features)
    output = _output(spec.output, graph)
    runner = Runner(graph, output, device)
    n_columns = runner(np.zeros((1, len(columns)), np.float32)).shape[1]
    runner.refuse_neighbours(len(columns))
    order = _order(spec.classes, graph.labels.get(output, ()), n_columns, classes)
    return columns, OnnxClassifier(content, output, order, len(classes), signal, spec.gives, spec.missing, device)


def _columns(spec: OnnxModel, graph: Graph, features: Mapping[str, str]) -> Columns:
    """Returns the features that `features:` lists, else those that the inputs are named after, else all in order."""
    if spec.features is not None:
        return listed(spec.features, graph.n_features, list(features))
    if len(graph.inputs) > 1:
        names = [[port.name, port.name.removesuffix(":0")] for port in graph.inputs]
        try:
            return named(names, features)
        except ModelMismatchError:
            if len(names) != len(features):
                raise
    return in_order(graph.n_features, list(features))


def _output(asked: str | int | None, graph: Graph) -> str:
    """Returns the output that holds the scores: the one of the configuration, or the only one with floats."""
    names = [port.name for port in graph.outputs]
    if isinstance(asked, int):
        if not 0 <= asked < len(names):
            raise ModelMismatchError(
                f"the model's outputs are numbered 0 to {len(names) - 1} ({', '.join(names)})", key="output"
            )
        return names[asked]
    if asked is not None:
        if asked not in names:
            raise ModelMismatchError(f"the model has no output {asked!r}; {nearest(asked, names)}", key="output")
        return asked
    floats = [port for port in graph.outputs if port.dtype.startswith("float")]
    fit = [port.name for port in floats if port.shape is None or len(port.shape) in (1, 2)]
    if len(fit) != 1:
        what = "several outputs could be the scores" if fit else "no output is one row of numbers an event"
        raise ModelMismatchError(
            f"{what} ({', '.join(fit or names)}); say which: output: NAME", key="output" if fit else "file"
        )
    return fit[0]


def _order(
    wanted: Sequence[str] | None, labels: Sequence[str], n_columns: int, classes: Sequence[str]
) -> tuple[int, ...]:
    """Returns for each class its column; empty if there is one column, which is the signal's."""
    if n_columns == 1:
        if wanted is not None and len(wanted) > 1:
            raise ModelMismatchError(
                f"the model gives one column, the signal's; {len(wanted)} are named", key="classes"
            )
        return ()
    names = wanted if wanted is not None else labels if set(classes) <= set(labels) else None
    if names is None:
        if n_columns != len(classes):
            raise ModelMismatchError(
                f"the model gives {n_columns} columns for {len(classes)} classes; say what each is: classes: [...] "
                "(names that are no class of the configuration are left aside)",
                key="classes",
            )
        return tuple(range(n_columns))
    if len(names) != n_columns:
        raise ModelMismatchError(f"the model gives {n_columns} columns; {len(names)} are named", key="classes")
    for name in classes:
        if list(names).count(name) != 1:
            raise ModelMismatchError(
                f"the class {name!r} must be the name of one of the {n_columns} columns", key="classes"
            )
    return tuple(list(names).index(name) for name in classes)
