"""How the files of a saved model are read: they must be of the right model, and whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from pidlab.errors import ModelError
from pidlab.jsonfile import read_json

# What restoring a model raises where its files were damaged.
DAMAGED = (OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@contextmanager
def stored_model(path: Path, kind: str, mark: tuple[str, object] | None = None) -> Iterator[dict[str, Any]]:
    """Gives the content of the JSON file `path` to the block that restores a model of type `kind` from it.

    Args:
        path: the file that the model's `save` wrote.
        kind: the type of the model, for messages.
        mark: a key of the file and the value that it must have; None: its `type` must be `kind`.

    Raises:
        ModelError: the file is missing, is no JSON or is of another model; or the block raises what damaged content
            makes it raise.
    """
    key, expected = mark or ("type", kind)
    content = read_json(path)
    if content.get(key) != expected:
        raise ModelError(f"{path}: holds a model of {key} {content.get(key)!r}, not {expected!r}; make the run again")
    try:
        yield content
    except DAMAGED as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"{path}: is not a whole {kind} model ({reason}); make the run again") from error


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a file of safetensors, by name.

    The file is not mapped into memory: one that is cut short meanwhile would end the process.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors ({error}); make the run again") from error
