"""What the stages tell whoever watches: the terminal, a notebook, or nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Task:
    """One piece of work with a known amount; this one keeps silent."""

    def advance(self, amount: int = 1, numbers: Mapping[str, float] | None = None) -> None:
        """`amount` more is done; `numbers` is what there is to tell, such as the loss."""

    def reach(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """`done` of `total` is done, where the total is known only now."""


class Watcher:
    """Told of stages, tasks and sentences; this one keeps silent."""

    def stage(self, name: str) -> None:
        """A stage begins: load, preprocess, train, evaluate or apply."""

    @contextmanager
    def task(self, name: str, total: int, unit: str = "") -> Iterator[Task]:
        """A task of `total` units; yields where its progress is told."""
        yield Task()

    def note(self, sentence: str) -> None:
        """Something a reader of the results must know."""
