"""The parsed expression: a tree in postfix order, so that no function needs to recurse into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from pidlab.expressions.polygons import Polygon
from pidlab.expressions.reductions import LISTS

T = TypeVar("T")

MAX_STEPS = 4_000
"""The largest number of nodes in an expression, aliases expanded."""
CHOICE = "[]"
"""The operation on a list and what stands in brackets behind it, which chooses elements of the list."""
ITERATION = "Iteration$"
"""The number of the candidate in its event, counted from 0."""
COUNTERS = ("Entry$", "LocalEntry$", ITERATION)
"""Words for numbers that the rows have although they are no branches."""
_WHOLE = "[]"


def whole_list(name: str) -> str:
    """Returns the name among the arrays of rows for what a branch holds in the whole event of a candidate."""
    return name + _WHOLE


def branch_of(name: str) -> str:
    """Returns the branch that has to be read for a name of `Expression.reads`."""
    return name.removesuffix(_WHOLE)


def stored(reads: Iterable[str]) -> set[str]:
    """Returns the branches that have to be read for `Expression.reads`."""
    return {branch_of(name) for name in reads if name not in COUNTERS}


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a truth value or a text. Integers fit into 64 bits.

    Attributes:
        word: the name that stands for it, such as `pi`; empty if the value itself is written.
    """

    value: float | int | bool | str
    position: int
    length: int
    word: str = ""


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch, or with `indices` one element of it (a part of it, if it has more dimensions).

    Attributes:
        is_whole: true for a branch with brackets behind it: if the rows are candidates and it has one value for each of
            them, the brackets choose among all candidates of the event.
    """

    name: str
    indices: tuple[int, ...]
    position: int
    length: int
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A number of the row itself: of its entry, counted through all inputs (`Entry$`) or in its own input
    (`LocalEntry$`), or of the candidate in its entry (`Iteration$`)."""

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


@dataclass(frozen=True, slots=True)
class Inside(Apply):
    """The operation `cutg` on the two results before it: whether the point (x, y) lies inside `polygon`.

    `polygon.x` and `polygon.y` are the texts of these two, also where `cutg` was given others than its own axes.
    """

    polygon: Polygon


Step = Constant | Branch | Entry | Apply


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression.

    Attributes:
        text: what the user wrote.
        steps: the tree in postfix order; operands precede the operation that takes them.
        branches: all branches that are read, aliases expanded.
        reads: the names among the arrays of rows that are looked up: the branches, `whole_list` of those with brackets
            behind them or in a place that takes lists, and the words of `COUNTERS`.
        polygons: all polygons that are asked, each once, in the order of the text.
    """

    text: str
    steps: tuple[Step, ...]
    branches: frozenset[str] = field(init=False)
    reads: frozenset[str] = field(init=False)
    polygons: tuple[Polygon, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "branches", frozenset(s.name for s in self.steps if isinstance(s, Branch)))
        further = {s.name for s in self.steps if isinstance(s, Entry)}
        further |= {whole_list(s.name) for s in self.steps if isinstance(s, Branch) and s.is_whole}
        within = (s for _, place in self.takers_of_lists() for s in self.steps[place])
        further |= {whole_list(s.name) for s in within if isinstance(s, Branch)}
        object.__setattr__(self, "reads", self.branches | further)
        asked = dict.fromkeys(s.polygon for s in self.steps if isinstance(s, Inside))
        object.__setattr__(self, "polygons", tuple(asked))

    def __str__(self) -> str:
        return self.text

    @property
    def counts_candidates(self) -> bool:
        """True if the number of the candidate in its event is asked for."""
        return any(isinstance(s, Entry) and s.name == ITERATION for s in self.steps)

    @property
    def chooses(self) -> bool:
        """True if elements of a list are chosen by a condition or by an index that is no constant."""
        return any(isinstance(s, Apply) and s.name == CHOICE for s in self.steps)

    def takers_of_lists(self) -> Iterator[tuple[int, slice]]:
        """Yields the number of each step that takes lists, and the place of the steps which it takes them from.

        Such a step is a reduction, all of whose arguments may be lists, or brackets, what stands between which may be.
        Inner ones come before outer ones.
        """
        starts: list[int] = []
        for i, step in enumerate(self.steps):
            if not isinstance(step, Apply):
                starts.append(i)
                continue
            taken = starts[len(starts) - step.arity :]
            del starts[len(starts) - step.arity + 1 :]
            if step.name in LISTS or step.name == CHOICE:
                yield i, slice(taken[-1] if step.name == CHOICE else taken[0], i)

    def fold(self, leaf: Callable[[Constant | Branch | Entry], T], apply: Callable[[Apply, list[T]], T]) -> T:
        """Returns the result of the last step: `leaf` gives that of operands, `apply` that of operations on results."""
        return fold(self.steps, leaf, apply)[-1]


def fold(
    steps: Iterable[Step], leaf: Callable[[Constant | Branch | Entry], T], apply: Callable[[Apply, list[T]], T]
) -> list[T]:
    """Returns the results of steps that no later step takes, as `Expression.fold`."""
    stack: list[T] = []
    for step in steps:
        if isinstance(step, Apply):
            arguments = stack[len(stack) - step.arity :]
            del stack[len(stack) - step.arity :]
            stack.append(apply(step, arguments))
        else:
            stack.append(leaf(step))
    return stack
