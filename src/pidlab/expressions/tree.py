"""The parsed expression: a tree stored in postfix order, so that no reader of it needs to recurse."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_STEPS = 4_000
"""Nodes in an expression, aliases expanded."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a truth value or a text. Integers fit into 64 bits.

    Attributes:
        word: the name that stands for it, as `pi` does; empty for what is spelled out.
    """

    value: float | int | bool | str
    position: int
    length: int
    word: str = ""


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch, or with `indices` one element of it (or a part of it, where it has more dimensions)."""

    name: str
    indices: tuple[int, ...]
    position: int
    length: int


@dataclass(frozen=True, slots=True)
class Entry:
    """The number of the entry: in all inputs one after another, `Entry$`, or in its own, `LocalEntry$`."""

    name: str
    position: int
    length: int


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on the `arity` results before it; `name` is a key of the table of operations or reductions."""

    name: str
    arity: int
    position: int
    length: int


Step = Constant | Branch | Entry | Apply


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression.

    Attributes:
        text: what the user wrote.
        steps: the tree in postfix order: operands stand before the operation that takes them.
        branches: every branch that is read, aliases expanded.
    """

    text: str
    steps: tuple[Step, ...]
    branches: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "branches", frozenset(s.name for s in self.steps if isinstance(s, Branch)))

    def __str__(self) -> str:
        return self.text
