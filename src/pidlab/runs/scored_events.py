"""The events of a run as it scored them: kept so that other runs can be compared event by event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from pidlab.errors import ModelError
from pidlab.jsonfile import strict_json
from pidlab.runs.manifest import verify
from pidlab.sample import IntArray, Sample
from pidlab.split import Keys, Part

FILE = "events.safetensors"
SCHEMA = 1
_ROWS_AT_ONCE = 1_000_000
Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScoredEvents:
    """The candidates that a run used, and the scores behind its numbers.

    Attributes:
        sample: all candidates, without their features, and with the spectators that flat working points follow. Runs
            of earlier versions kept no spectators.
        part: (n,) the `Part` of each.
        threshold_rows: (m,) rows of the threshold sample, whose candidates decided the thresholds.
        on_test: model to (n_test, k) scores of the test candidates, in the order of their rows.
        on_threshold_sample: model to (m, k) scores of the candidates of `threshold_rows`.
        widths_on_test: model of a regression to the (n_test,) widths that it predicts; only of models that predict
            some. Runs of earlier versions kept none.
    """

    sample: Sample
    part: NDArray[np.int8]
    threshold_rows: IntArray
    on_test: Mapping[str, Scores]
    on_threshold_sample: Mapping[str, Scores]
    widths_on_test: Mapping[str, Scores] = field(default_factory=dict)

    @property
    def test(self) -> IntArray:
        """(n_test,) rows of the test candidates."""
        return np.flatnonzero(self.part == Part.TEST)


def write_events(run: Path, scored: ScoredEvents) -> None:
    """Writes `events.safetensors` into the folder of a run."""
    sample = scored.sample
    arrays: dict[str, NDArray[Any]] = {
        "event": sample.event,
        "class": sample.y.astype(np.int16),
        "weight": sample.weight,
        "file": sample.file,
        "row": sample.row,
        "part": scored.part,
        "aside": scored.threshold_rows.astype(np.int64),
        **({} if sample.target is None else {"target": sample.target}),
        **{f"spectator.{name}": values for name, values in sample.spectators.items()},
        **{f"test.{name}": values for name, values in scored.on_test.items()},
        **{f"aside.{name}": values for name, values in scored.on_threshold_sample.items()},
        **{f"width.{name}": values for name, values in scored.widths_on_test.items()},
    }
    about = {"schema": SCHEMA, "classes": list(sample.classes), "signal": sample.signal}
    with (run / FILE).open("wb") as file:
        _write_tensors(file, arrays, {"pidlab": json.dumps(about)})


_DTYPES = {"uint64": "U64", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "float64": "F64"} | {
    "float32": "F32"
}


def _write_tensors(file: BinaryIO, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, str]) -> None:
    """Writes arrays in the format of safetensors, one after another: its own writer copies all of them into memory."""
    header: dict[str, Any] = {"__metadata__": dict(about)}
    end = 0
    in_file = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)  # so that each of them is aligned
    for name, values in in_file:
        start, end = end, end + values.nbytes
        header[name] = {"dtype": _DTYPES[values.dtype.name], "shape": values.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for _, values in in_file:
        for start in range(0, len(values), _ROWS_AT_ONCE):
            part = np.ascontiguousarray(values[start : start + _ROWS_AT_ONCE])
            file.write(part.reshape(-1).view(np.uint8).data)


def read_events(run: Path) -> ScoredEvents:
    """Returns the events of a run, from its folder.

    Raises:
        ModelError: the file is missing, damaged, or of another version.
    """
    path = run / FILE
    try:
        with safe_open(path, "numpy") as file:
            about = strict_json((file.metadata() or {}).get("pidlab", "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        if about.get("schema") != SCHEMA:
            raise ModelError(f"{path}: written by another version of pidlab; make the run again")
        n = _checked(arrays, about)
    except (OSError, SafetensorError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); make the run again") from error
    sample = Sample(
        x=np.empty((n, 0), np.float32),
        y=arrays["class"].astype(np.int8),
        weight=arrays["weight"],
        event=arrays["event"],
        features=(),
        classes=tuple(about["classes"]),
        signal=about["signal"],
        spectators=_named(arrays, "spectator."),
        columns={},
        file=arrays["file"],
        row=arrays["row"],
        target=arrays.get("target"),
    )
    of_models = (_named(arrays, f"{kind}.") for kind in ("test", "aside", "width"))
    return ScoredEvents(sample, arrays["part"], arrays["aside"], *of_models)


def _checked(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> int:
    """Returns the number of candidates, after checking the length and the type of every array.

    Raises:
        ValueError: an array is damaged; says which.
    """
    n, classes, signal = len(arrays["event"]), about["classes"], about["signal"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes) or not classes:
        raise ValueError("its classes are damaged")
    if type(signal) is not int or not 0 <= signal < len(classes):
        raise ValueError("its signal is no class")
    for name, kind in {"event": "u", "class": "i", "weight": "f", "file": "i", "row": "i", "part": "i"}.items():
        if arrays[name].shape != (n,) or arrays[name].dtype.kind != kind:
            raise ValueError(f"{name} is not one number for each of {n} candidates")
    if "target" in arrays and (arrays["target"].shape != (n,) or not np.isfinite(arrays["target"]).all()):
        raise ValueError("target is not one finite number for each candidate")
    y, part, threshold_rows = arrays["class"], arrays["part"], arrays["aside"]
    if n and (y.min() < 0 or y.max() >= len(classes)):
        raise ValueError("a candidate is of no class")
    if not np.isfinite(arrays["weight"]).all() or (part > max(Part)).any():
        raise ValueError("a weight or a part is damaged")
    in_range = not len(threshold_rows) or (threshold_rows.min() >= 0 and threshold_rows.max() < n)
    if threshold_rows.ndim != 1 or threshold_rows.dtype.kind != "i" or not in_range:
        raise ValueError("the candidates that decided thresholds are damaged")
    n_test = int((part == Part.TEST).sum())
    expected = {
        "spectator": (n, 1, "biuf", "one number"), "width": (n_test, 1, "f", "one width"),
        "test": (n_test, 2, "f", "a row of scores"), "aside": (len(threshold_rows), 2, "f", "a row of scores"),
    }  # fmt: skip
    for name, values in arrays.items():
        kind, dot, _ = name.partition(".")
        length, n_axes, kinds, what = expected.get(kind, (None, 2, "f", "a row of scores"))
        if dot and (values.dtype.kind not in kinds or values.ndim != n_axes or len(values) != length):
            raise ValueError(f"{name} is not {what} for each of {length} candidates")
        if dot and n_axes == 2 and values.shape[1] < len(classes):
            raise ValueError(f"{name} has {values.shape[1]} columns for {len(classes)} classes")
    return n


def _named(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def read_training_keys(run: Path) -> Keys:
    """Returns (m,) the sorted hashes of all events that a run used for training, validation or test.

    Raises:
        ModelError: the file is missing or damaged.
    """
    verify(run, FILE)
    try:
        with safe_open(run / FILE, "numpy") as file:
            keys: Keys = np.unique(file.get_tensor("event"))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{run / FILE}: cannot be read ({error}); make the run again") from error
    return keys
