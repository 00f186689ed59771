"""Kinds: what a branch holds in each row, that is one number or text, a fixed array, or a list of varying length."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np


class Number(Enum):
    """The type of a number, as far as expressions distinguish it."""

    FLOAT = "float"
    INT = "int"
    UNSIGNED = "unsigned"
    BOOL = "bool"
    TEXT = "text"
    OTHER = "no number"

    @property
    def is_integer(self) -> bool:
        """True for the types that bit operators take."""
        return self in (Number.INT, Number.UNSIGNED, Number.BOOL)


@dataclass(frozen=True, slots=True)
class Kind:
    """What one row holds.

    Attributes:
        number: the type of each number.
        shape: () for one number, (3,) for a fixed array; None is a length that varies from row to row.
    """

    number: Number
    shape: tuple[int | None, ...] = ()

    @property
    def is_scalar(self) -> bool:
        """True if a row holds one number."""
        return not self.shape

    @property
    def is_jagged(self) -> bool:
        """True if the number of elements varies from row to row."""
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


def kind_from_array(array: Any) -> Kind:
    """Returns the kind of a numpy array (n, ...) or of an awkward array whose first axis is rows.

    Records, strings and options of awkward arrays are no numbers.
    """
    if isinstance(array, np.ndarray):
        return Kind(_NUMBERS.get(array.dtype.kind, Number.OTHER), array.shape[1:])
    from awkward.types import ListType, NumpyType, RegularType

    content = array.type.content
    shape: list[int | None] = []
    while isinstance(content, ListType | RegularType) and content.parameters.get("__array__") is None:
        shape.append(content.size if isinstance(content, RegularType) else None)
        content = content.content
    kind = np.dtype(content.primitive).kind if isinstance(content, NumpyType) else ""
    return Kind(_NUMBERS.get(kind, Number.OTHER), tuple(shape))
