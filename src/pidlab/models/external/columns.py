"""Which features a model of another tool reads, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pidlab.errors import ModelError, nearest

Columns = tuple[int, ...]


class ModelMismatchError(ModelError):
    """An imported model that does not fit the configuration; `key` is the option of its section that is to blame."""

    def __init__(self, message: str, *, key: str = "file") -> None:
        self.key = key
        super().__init__(message)


def read_content(path: Path, largest: int) -> bytes:
    """Returns the bytes of a model's file.

    Raises:
        ModelMismatchError: the file is missing, cannot be read, or is larger than `largest` bytes.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ModelMismatchError(f"{path}: is no file; name the one that holds the model")
        if size > largest:
            raise ModelMismatchError(f"{path}: {size:,} bytes are more than the {largest:,} that are read of one model")
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelMismatchError(f"{path}: no such file; the path is relative to the configuration") from None
    except OSError as error:
        raise ModelMismatchError(f"{path}: cannot be read ({error.strerror or error})") from error


def listed(asked: Sequence[str], n: int | None, features: Sequence[str]) -> Columns:
    """Returns the columns of the features `asked`, of which the model takes `n` (None: any number).

    Raises:
        ModelMismatchError: a feature is unknown, or the model takes a different number of them.
    """
    for name in asked:
        if name not in features:
            raise ModelMismatchError(f"{name!r} is none of the features; {nearest(name, features)}", key="features")
    if n is not None and len(asked) != n:
        raise ModelMismatchError(f"the model takes {n} features; {len(asked)} are listed", key="features")
    return tuple(features.index(name) for name in asked)


def in_order(n: int | None, features: Sequence[str]) -> Columns:
    """Returns the columns of all features in their order.

    Raises:
        ModelMismatchError: the model takes a different number of features.
    """
    if n is not None and n != len(features):
        raise ModelMismatchError(
            f"the model takes {n} features, the configuration has {len(features)} ({', '.join(features)}); "
            "say which ones, in the model's order: features: [...]",
            key="features",
        )
    return tuple(range(len(features)))


def named(wanted: Sequence[Sequence[str]], features: Mapping[str, str]) -> Columns:
    """Returns the columns of inputs that have one or more names each; `features` maps names to expressions.

    The names of features are tried before their expressions, and blanks are ignored.

    Raises:
        ModelMismatchError: no feature has a name of an input.
    """
    places: dict[str, int] = {}
    for texts in (features.keys(), features.values()):
        for column, text in enumerate(texts):
            places.setdefault("".join(text.split()), column)
    columns = []
    for names in wanted:
        found = [places[text] for name in names if (text := "".join(name.split())) in places]
        if not found:
            raise ModelMismatchError(
                f"the model's input {names[0]!r} is neither name nor expression of a feature; "
                f"{nearest(names[0], features)}; or say which is which, in the model's order: features: [...]",
                key="features",
            )
        columns.append(found[0])
    return tuple(columns)
