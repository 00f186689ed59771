"""Reads ONNX files and runs them with onnxruntime; nothing in a file is trusted."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError, UsageError
from pidlab.models.external.columns import ModelMismatchError
from pidlab.models.gpu import gpu_present
from pidlab.models.threads import allowed_threads
from pidlab.sample import FloatArray

LONGEST = 60.0  # seconds for a batch of events
# onnxruntime sums over trees, and cuts matrices, differently for batches of different sizes. All events go through in
# batches of one size, the last one filled up, so that a score does not depend on the other events.
_BATCH, _BATCH_ON_GPU = 4096, 65536
_CUDA = "CUDAExecutionProvider"
# Operators of other domains would have to be loaded from libraries.
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_N_TRIED = 64  # events that are scored together with different ones
_SAME = 1e-4  # tolerance for float32
_MOST_AT_ONCE = 1_000_000  # events of a fixed batch
_MOST_FEATURES = 100_000
_FLOATS = {"float16": np.float16, "float32": np.float32, "float64": np.float64}


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: numpy's name of its type, "" if it is not a tensor; None for a free dimension or shape."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph that was checked and may be run.

    Attributes:
        content: the graph, without the ZipMap at the end of scikit-learn's graphs.
        labels: outputs to the labels of their columns, if a ZipMap named them.
    """

    content: bytes
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    labels: Mapping[str, tuple[str, ...]]

    @property
    def n_features(self) -> int | None:
        """Number of features; None if the only input leaves it open."""
        if len(self.inputs) > 1:
            return len(self.inputs)
        shape = self.inputs[0].shape
        return None if shape is None else shape[1] if len(shape) == 2 else 1

    @property
    def batch(self) -> int | None:
        """The fixed number of events in a batch; None if it is free."""
        fixed = [port.shape[0] for port in self.inputs if port.shape is not None and port.shape[0] is not None]
        return fixed[0] if fixed else None


def package(name: str) -> Any:
    """Returns the package `name`, onnx or onnxruntime.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"models in ONNX need the package {name} ({error}): pip install 'pidlab[onnx]'") from error


def read_graph(content: bytes) -> Graph:
    """Returns the graph in the bytes of an ONNX file.

    Raises:
        ModelMismatchError: the file is damaged, refers to other files or to operators outside ONNX, draws random
            numbers, or has inputs other than floats of shape (n, d) or (n,).
        UsageError: onnx is not installed.
    """
    onnx = package("onnx")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # the implementations of protobuf raise different exceptions
        raise ModelMismatchError(f"is not a whole ONNX file ({error})") from error
    if not model.graph.output:
        raise ModelMismatchError("is not a whole ONNX file (it has no output)")
    try:
        _refuse_foreign(onnx, model)
        labels = _take_off_zipmaps(onnx, model)
        _drop_unused_inputs(model)
        constants = {tensor.name for tensor in model.graph.initializer}
        graph = Graph(
            model.SerializeToString(),
            tuple(_port(onnx, value) for value in model.graph.input if value.name not in constants),
            tuple(_port(onnx, value) for value in model.graph.output),
            labels,
        )
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ModelMismatchError(f"is not a whole ONNX file ({type(error).__name__}: {error})") from error
    _refuse_constants(graph)
    _check_inputs(graph)
    return graph


def _refuse_foreign(onnx: Any, model: Any) -> None:
    own = {function.domain for function in model.functions}
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto) and (message.data_location or message.external_data):
            raise ModelMismatchError(
                "keeps its weights in another file, which is not read; save it as one file "
                "(onnx.save_model(onnx.load(FILE), FILE, save_as_external_data=False))"
            )
        if isinstance(message, onnx.NodeProto) and message.op_type in _RANDOM:
            raise ModelMismatchError(
                f"draws random numbers ({message.op_type}), so that a score would not come out twice the same"
            )
        if isinstance(message, onnx.NodeProto) and message.domain not in _DOMAINS | own:
            raise ModelMismatchError(
                f"uses the operator {message.op_type!r} of {message.domain!r}; only ONNX's own operators are run"
            )


def _messages(message: Any) -> Iterator[Any]:
    """Yields a protobuf message and all messages in it, including subgraphs and functions."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(child)


def _take_off_zipmaps(onnx: Any, model: Any) -> dict[str, tuple[str, ...]]:
    """Replaces outputs that are lists of {label: value} by matrices of the values; returns the labels by output."""
    labels: dict[str, tuple[str, ...]] = {}
    graph = model.graph
    for node in [n for n in graph.node if n.op_type == "ZipMap" and n.domain == "ai.onnx.ml"]:
        place = next((i for i, value in enumerate(graph.output) if value.name in node.output), None)
        if place is None:
            continue
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        texts = [text.decode() for text in given.get("classlabels_strings", [])]
        name = graph.output[place].name
        labels[name] = tuple(texts or map(str, given.get("classlabels_int64s", [])))
        # The matrix takes the name of the output.
        same = onnx.helper.make_node("Identity", [node.input[0]], [name])
        matrix = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, len(labels[name])])
        node.CopyFrom(same)
        graph.output[place].CopyFrom(matrix)
    return labels


def _drop_unused_inputs(model: Any) -> None:
    """Removes inputs that no operator reads, as tf2onnx leaves behind when it has folded a constant; one always stays.

    Raises:
        ModelMismatchError: no operator reads any input.
    """
    read = {name for message in _messages(model.graph) if hasattr(message, "op_type") for name in message.input}
    read |= {value.name for value in model.graph.output}
    unused = [value for value in model.graph.input if value.name not in read]
    if unused and len(unused) == len(model.graph.input):
        raise ModelMismatchError("reads none of its inputs")
    for value in unused:
        model.graph.input.remove(value)


def _refuse_constants(graph: Graph) -> None:
    """Refuses a graph with inputs that do not take events: constants whose values the exporter did not write.

    Raises:
        ModelMismatchError: some inputs leave the number of events open, and others have fixed shapes.
    """
    shapes = {port.name: port.shape for port in graph.inputs if port.shape}
    fixed = [name for name, shape in shapes.items() if None not in shape]
    if not fixed or not any(shape[0] is None for shape in shapes.values()):
        return
    listed = ", ".join(f"{name!r} {_shown(shapes[name])}" for name in fixed)
    raise ModelMismatchError(
        f"lacks the values of constants, which its exporter left as inputs ({listed}), as tf2onnx does with the "
        "Normalization layer of Keras; export the network without that layer and put the normalisation into the "
        "features, as in {name: x_scaled, expression: (x - 1.2) / 0.4}, or write it as a Dense layer"
    )


def _port(onnx: Any, value: Any) -> Port:
    kind = value.type
    if not kind.HasField("tensor_type"):
        return Port(value.name, "", None)
    tensor = kind.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except KeyError:
        dtype = ""
    if not tensor.HasField("shape"):
        return Port(value.name, dtype, None)
    return Port(value.name, dtype, tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim))


def _check_inputs(graph: Graph) -> None:
    if not graph.inputs:
        raise ModelMismatchError("has no input")
    for port in graph.inputs:
        if port.dtype not in _FLOATS:
            what = port.dtype or "no tensor"
            raise ModelMismatchError(f"its input {port.name!r} is {what}; float32, float64 and float16 are fed")
        shape = port.shape
        fits = shape is None or (
            len(shape) in (1, 2)
            and all(size is None or size > 0 for size in shape)
            and (shape[0] or 1) <= _MOST_AT_ONCE
            and (shape[-1] or 1) <= (_MOST_FEATURES if len(shape) == 2 else _MOST_AT_ONCE)
        )
        if fits and len(graph.inputs) > 1:
            fits = shape is not None and (len(shape) == 1 or shape[1] in (1, None))
        if not fits:
            one = "(n, 1) or (n,) is one feature" if len(graph.inputs) > 1 else "(n, d) is d features"
            one += f", n free or from 1 to {_MOST_AT_ONCE:,}"
            raise ModelMismatchError(f"its input {port.name!r} has the shape {_shown(shape)}; {one}")
    if len({port.shape[0] for port in graph.inputs if port.shape is not None}) > 1:
        raise ModelMismatchError("its inputs take different numbers of events at once")


def _shown(shape: tuple[int | None, ...] | None) -> str:
    return "(" + ", ".join("n" if size is None else str(size) for size in shape or ()) + ")"


class Runner:
    """Runs a graph on the CPU, or on a GPU.

    On the CPU one thread computes a batch, and as many threads as the process may use take the batches: the last bit of
    what several threads compute together depends on their number.

    Args:
        graph: the graph.
        output: the output of it that is wanted.
        device: cuda for a GPU where there is one that onnxruntime can use; the CPU otherwise.
    """

    def __init__(self, graph: Graph, output: str, device: str = "cpu") -> None:
        self.graph, self.output = graph, output
        self.on_gpu = device == "cuda" and not why_no_gpu()
        self._session: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}

    def __call__(self, x: FloatArray) -> NDArray[np.floating[Any]]:
        """Maps (n, d) features in the model's order to the output (n, m).

        Raises:
            ModelError: onnxruntime refuses the graph or fails, or the output is not m numbers an event.
        """
        size = self.graph.batch or (_BATCH_ON_GPU if self.on_gpu else _BATCH)
        batches = [x[start : start + size] for start in range(0, len(x), size)]
        n_threads = 1 if self.on_gpu else min(allowed_threads(), len(batches))
        if n_threads < 2:
            return np.concatenate([self._batch(each, size) for each in batches])
        self._opened()  # by this thread, so that there is one session
        pool = ThreadPoolExecutor(n_threads)
        try:
            return np.concatenate(list(pool.map(lambda each: self._batch(each, size), batches)))
        finally:
            pool.shutdown(cancel_futures=True)  # after an error, or Ctrl-C, no further batch is begun

    def refuse_neighbours(self, n_features: int) -> None:
        """Refuses a graph whose output for an event depends on the other events of the batch.

        Raises:
            ModelMismatchError: the output depends on them.
        """
        size = self.graph.batch or _N_TRIED
        if size == 1:
            return
        rng = np.random.default_rng(1)
        x = rng.normal(size=(size, n_features)).astype(np.float32)
        x[1::2] *= 100  # some far from zero, where an operator may saturate
        others = rng.normal(3, 10, (size, n_features)).astype(np.float32)
        others[: size // 2] = x[: size // 2]  # the same events at the same places, followed by others
        first, second = (self._batch(each, size)[: size // 2] for each in (x, others))
        if not np.allclose(first, second, rtol=_SAME, atol=_SAME, equal_nan=True):
            raise ModelMismatchError(
                "gives an event another score when it is scored together with other events (an operator works on the "
                "whole batch); save it for inference, or with statistics fixed in training"
            )

    def _batch(self, x: FloatArray, size: int) -> NDArray[np.floating[Any]]:
        n = len(x)
        whole = x if n == size else x[np.minimum(np.arange(size), n - 1)]
        session = self._opened()
        try:
            values = _run(session, self.output, self._fed(whole))
        except ModelError:
            raise
        except Exception as error:  # the exceptions of onnxruntime have no common base
            raise ModelError(f"onnxruntime fails ({_first_line(error)})") from error
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or values.ndim not in (1, 2):
            raise ModelError(f"the output {self.output!r} is not one row of numbers an event; name another: output:")
        if len(values) != size:
            raise ModelError(f"the output {self.output!r} has {len(values)} rows for {size} events")
        return values[:n].reshape(n, -1)

    def _opened(self) -> Any:
        if self._session is None:
            self._session = open_session(self.graph.content, 1, on_gpu=self.on_gpu)
        return self._session

    def _fed(self, x: FloatArray) -> dict[str, FloatArray]:
        """Returns the values of each input for the events of `x`."""
        ports = self.graph.inputs
        columns = [x] if len(ports) == 1 else [x[:, [j]] for j in range(len(ports))]
        flat = [own[:, 0] if len(port.shape or ()) == 1 else own for port, own in zip(ports, columns, strict=True)]
        with np.errstate(over="ignore"):
            return {
                port.name: np.ascontiguousarray(own, _FLOATS[port.dtype]) for port, own in zip(ports, flat, strict=True)
            }


def _run(session: Any, output: str, fed: Mapping[str, FloatArray]) -> Any:
    """Returns the output of a session for a batch.

    It runs in a thread, since a loop in the graph may never end.

    Raises:
        ModelError: the run takes longer than `LONGEST`; onnxruntime is then told to end it after the current operator.
    """
    options, done = package("onnxruntime").RunOptions(), threading.Event()
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(session.run([output], fed, options)[0])
        except Exception as error:  # raised in the waiting thread
            found.append(error)
        done.set()

    try:
        threading.Thread(target=work, daemon=True).start()
        until = time.monotonic() + LONGEST
        while not (ended := done.wait(0.1)) and time.monotonic() < until:
            pass  # in short steps, so that an interrupt is noticed
    finally:  # after Ctrl-C, too
        options.terminate = not done.is_set()
    if not ended:
        raise ModelError(f"does not end within {LONGEST:g} s on {_BATCH:,} events; does it have an endless loop?")
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def why_no_gpu() -> str:
    """Returns why onnxruntime cannot use a GPU here, as the end of a sentence; empty if it can.

    Raises:
        UsageError: onnxruntime is not installed.
    """
    providers = package("onnxruntime").get_available_providers()
    if _CUDA not in providers:
        return (
            f"this onnxruntime has no {_CUDA} (it has {', '.join(providers)}); install onnxruntime-gpu in place of "
            "onnxruntime, or use auto or cpu"
        )
    return "" if gpu_present() else "the driver finds no GPU; use auto or cpu"


def open_session(model: bytes | Path, n_threads: int, *, on_gpu: bool = False) -> Any:
    """Returns an onnxruntime session for a graph in memory or in a file, on the CPU unless it is to be `on_gpu`.

    On a GPU factors are not rounded to TF32, and operators that are not written for it run on the CPU.

    Raises:
        ModelError: onnxruntime refuses the graph.
        UsageError: onnxruntime is not installed.
    """
    onnxruntime = package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, so they need not be logged
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the cores alone
    content = model if isinstance(model, bytes) else str(model)
    try:
        providers = [(_CUDA, {"use_tf32": "0"})] if on_gpu else []
        session = onnxruntime.InferenceSession(content, options, providers=[*providers, "CPUExecutionProvider"])
    except Exception as error:  # the exceptions of onnxruntime have no common base
        raise ModelError(f"onnxruntime refuses the graph ({_first_line(error)})") from error
    if on_gpu and _CUDA not in session.get_providers():  # it says why on the terminal, and would use the CPU
        raise ModelError(
            f"onnxruntime cannot start its {_CUDA}, which needs CUDA and cuDNN of the versions that it was built for; "
            "install these, or use device auto or cpu"
        )
    return session


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
