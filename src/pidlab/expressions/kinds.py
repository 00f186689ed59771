"""What a branch holds in each row: one number or text, a fixed array, or a list of varying length; of which type."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np


class Number(Enum):
    """The type of a number, as far as expressions tell them apart."""

    FLOAT = "float"
    INT = "int"
    UNSIGNED = "unsigned"
    BOOL = "bool"
    TEXT = "text"
    OTHER = "no number"

    @property
    def is_integer(self) -> bool:
        """True for what bit operators take."""
        return self in (Number.INT, Number.UNSIGNED, Number.BOOL)


@dataclass(frozen=True, slots=True)
class Kind:
    """What one row holds.

    Attributes:
        number: the type of each number.
        shape: () for one number, (3,) for a fixed array; None stands for a length that varies from row to row.
    """

    number: Number
    shape: tuple[int | None, ...] = ()

    @property
    def is_scalar(self) -> bool:
        """True where a row holds one number."""
        return not self.shape

    @property
    def is_jagged(self) -> bool:
        """True where the number of elements varies from row to row."""
        return None in self.shape

    def __str__(self) -> str:
        return self.number.value + "".join("[]" if n is None else f"[{n}]" for n in self.shape)


_NUMBERS = {
    "f": Number.FLOAT,
    "i": Number.INT,
    "u": Number.UNSIGNED,
    "b": Number.BOOL,
    "T": Number.TEXT,
    "U": Number.TEXT,
}


def kind_from_numpy(dtype: Any, shape: tuple[int | None, ...] = ()) -> Kind:
    """The kind of a numpy type; a type with a shape of its own (`("f4", (3,))`) is a fixed array.

    Args:
        dtype: a numpy dtype, or what makes one.
        shape: dimensions of a row in front of those of the type, None where the length varies.
    """
    base, inner = d.subdtype if (d := np.dtype(dtype)).subdtype is not None else (d, ())
    return Kind(_NUMBERS.get(base.kind, Number.OTHER), (*shape, *inner))


def kind_from_array(array: Any) -> Kind:
    """The kind of a numpy array (n, ...) or an awkward array whose first axis is rows."""
    if isinstance(array, np.ndarray):
        return kind_from_numpy(array.dtype, array.shape[1:])
    return _kind_from_awkward(array.type.content)


def _kind_from_awkward(content: Any) -> Kind:
    """The kind of an awkward type; records, strings and options are no numbers."""
    from awkward.types import ListType, NumpyType, RegularType

    shape: list[int | None] = []
    while isinstance(content, ListType | RegularType) and content.parameters.get("__array__") is None:
        shape.append(content.size if isinstance(content, RegularType) else None)
        content = content.content
    if not isinstance(content, NumpyType):
        return Kind(Number.OTHER, tuple(shape))
    return kind_from_numpy(content.primitive, tuple(shape))
