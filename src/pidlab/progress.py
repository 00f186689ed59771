"""Progress: what the stages of a run report to a terminal, a notebook, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Task:
    """One piece of work with a known amount; this base class reports nothing."""

    def advance(self, amount: int = 1, numbers: Mapping[str, float] | None = None) -> None:
        """Reports that `amount` more is done, with `numbers` such as the loss."""

    def reach(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Reports that `done` of `total` is done, if the total was not known before."""


class Watcher:
    """Receives reports of stages and tasks, and notes; this base class ignores them."""

    def stage(self, name: str) -> None:
        """Reports that a stage begins: load, preprocess, train, evaluate or apply."""

    @contextmanager
    def task(self, name: str, total: int, unit: str = "") -> Iterator[Task]:
        """Yields a task of `total` units, which receives its progress."""
        yield Task()

    def note(self, sentence: str) -> None:
        """Reports a sentence that a reader of the results must know."""

    def remark(self, sentence: str) -> None:
        """Reports what was chosen where the configuration leaves it open, without which the results can be read."""
        self.note(sentence)
