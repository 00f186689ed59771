"""Sample: the one flat table that passes from reading to training and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]
Rows = slice | IntArray | BoolArray
"""Some rows of a sample."""

_ARRAYS = ("x", "y", "weight", "event", "file", "row")
"""The fields of a sample that have one entry a candidate."""


class _Doubles(Mapping[str, FloatArray]):
    """Columns (n,) by name, float64 when they are accessed, and held in the type in which they were given."""

    def __init__(self, held: Mapping[str, FloatArray]) -> None:
        self._held = held

    @classmethod
    def of(cls, columns: Mapping[str, FloatArray]) -> _Doubles:
        """Returns the columns as such a mapping."""
        return columns if isinstance(columns, cls) else cls(dict(columns))

    def take(self, rows: Rows) -> _Doubles:
        """Returns some of the rows; a slice copies nothing."""
        return _Doubles({name: values[rows] for name, values in self._held.items()})

    def __getitem__(self, name: str) -> FloatArray:
        return np.asarray(self._held[name], np.float64)

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


@dataclass(frozen=True, slots=True, eq=False)
class WeightReplicas:
    """What the weights of n candidates would be by other fits of the same kind, whose differences are their error.

    Weights that are fitted, as those that make samples alike, have an error that many candidates share.

    A replica's weight is that of the sample times its factor in the candidate's cell times 1 + steps · directions.

    Attributes:
        factors: (r, m) by r replicas the weight over that of the sample, in m cells.
        cell: (n,) the cell of each candidate.
        directions: (k, n) relative changes of the weights of candidates, by k fits that differ; k may be 0.
        steps: (r, k) how far each replica goes in each of these directions.
    """

    factors: FloatArray
    cell: IntArray
    directions: FloatArray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    steps: FloatArray = field(default_factory=lambda: np.empty((0, 0)))

    def __len__(self) -> int:
        return len(self.factors)

    def __iter__(self) -> Iterator[FloatArray]:
        """Yields for each replica the factor (n,) of each candidate."""
        for r, factor in enumerate(self.factors):
            yield (
                factor[self.cell] * (1 + self.steps[r] @ self.directions) if len(self.directions) else factor[self.cell]
            )

    def take(self, rows: Rows) -> WeightReplicas:
        """Returns those of some of the candidates."""
        directions = self.directions[:, rows] if len(self.directions) else self.directions
        return WeightReplicas(self.factors, self.cell[rows], directions, self.steps)

    def changes(self, influences: FloatArray) -> NDArray[np.float64]:
        """Returns by how much each replica (r,) changes a number, to first order.

        Args:
            influences: (n,) the change of the number by each candidate, in proportion to its weight.
        """
        sums = np.bincount(self.cell, influences, self.factors.shape[1])
        found = np.asarray(self.factors @ sums - sums.sum(), np.float64)
        return found + self.steps @ (self.directions @ influences) if len(self.directions) else found

    def variance(self, influences: FloatArray) -> float:
        """Returns the mean square of `changes`: the variance of the number by the error of the weights."""
        return float(np.mean(self.changes(influences) ** 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Candidates in rows: n of them, d features, k classes.

    Attributes:
        x: (n, d + c) float32, the features in their own units, NaN where a value is missing, and after them c
            conditions of categories, 1 where they hold and 0 elsewhere.
        y: (n,) int8, index into `classes`; of a regression, all candidates are of one class.
        weight: (n,) float64, any sign.
        event: (n,) uint64, hash of the event key; candidates of one event share it.
        features: d names.
        classes: k names.
        signal: index of the signal in `classes`.
        spectators: name to (n,) float64; they are kept for the evaluation and no model is trained on them. They may be
            held in single precision, so that each access makes an array.
        axes: expression to (n,) float64, the axes of polygons, held in the same way; they are kept to be drawn.
        target: (n,) float64, finite, what a regression predicts; None with classes.
        columns: branches that `expression` and `score` models read, by name; (n,) numpy or awkward arrays.
        file: (n,) int32, index of the input (file, tree) that the row came from.
        row: (n,) int64, the candidate's number in that input (the entry number where one row is one event).
        weight_replicas: replicas of the weights, if these were fitted; None if they are known.
    """

    x: FloatArray
    y: IntArray
    weight: FloatArray
    event: NDArray[np.uint64]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    signal: int
    spectators: Mapping[str, FloatArray]
    columns: Mapping[str, Any]
    file: IntArray
    row: IntArray
    axes: Mapping[str, FloatArray] = field(default_factory=dict)
    target: FloatArray | None = None
    weight_replicas: WeightReplicas | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "spectators", _Doubles.of(self.spectators))
        object.__setattr__(self, "axes", _Doubles.of(self.axes))

    def __len__(self) -> int:
        return len(self.y)

    @property
    def is_signal(self) -> BoolArray:
        """(n,) true if the candidate belongs to the signal class."""
        return np.asarray(self.y == self.signal)

    def feature_columns(self) -> Iterator[tuple[str, FloatArray]]:
        """Yields each feature with its values (n,), without the conditions of categories that `x` has behind them."""
        yield from ((name, self.x[:, j]) for j, name in enumerate(self.features))

    def take(self, rows: Rows) -> Sample:
        """Returns the candidates of `rows` (a slice, indices or a mask), in that order; a slice copies nothing."""
        if not isinstance(rows, slice) and rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        return replace(
            self,
            spectators=_Doubles.of(self.spectators).take(rows),
            columns=taken(self.columns, rows),
            axes=_Doubles.of(self.axes).take(rows),
            target=None if self.target is None else self.target[rows],
            weight_replicas=None if self.weight_replicas is None else self.weight_replicas.take(rows),
            **{name: getattr(self, name)[rows] for name in _ARRAYS},
        )

    def map(self, work: Callable[[Sample], NDArray[Any]]) -> NDArray[Any]:
        """Returns (n, …) what `work` says of the candidates: here, or where they are if their features lie elsewhere.

        `work` is then called with several samples that hold these candidates together, and without their spectators.
        """
        mapped: Callable[[Any], NDArray[Any]] | None = getattr(self.x, "mapped", None)
        return work(self) if mapped is None else mapped(work)

    def here(self) -> Sample:
        """Returns the same candidates with their features in the memory of this process."""
        if not hasattr(self.x, "mapped"):
            return self
        return replace(self, x=np.asarray(self.x), columns=dict(self.columns))

    def with_x(self, x: FloatArray) -> Sample:
        """Returns the same candidates with other feature values, (n, d + c)."""
        return replace(self, x=x)


def taken(columns: Mapping[str, Any], rows: Rows) -> Mapping[str, Any]:
    """Returns some of the rows of columns (n,); columns that lie elsewhere are not fetched."""
    take: Callable[[Rows], Mapping[str, Any]] | None = getattr(columns, "take", None)
    return take(rows) if take is not None else {name: values[rows] for name, values in columns.items()}


def joined(parts: Sequence[Any]) -> Any:
    """Returns the arrays of one branch, numpy or awkward, one after another."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    import awkward as ak

    return ak.concatenate(parts)


def concatenate(samples: Sequence[Sample]) -> Sample:
    """Returns one sample from several with the same features and classes, in their order.

    It has replicas of the weights if those of all samples are by the same fits.
    """
    first = samples[0]
    if len(samples) == 1:
        return first
    arrays: dict[str, Any] = {name: np.concatenate([getattr(s, name) for s in samples]) for name in _ARRAYS}
    if first.target is not None:
        arrays["target"] = np.concatenate([s.target for s in samples if s.target is not None])
    return replace(
        first,
        spectators={name: joined([s.spectators[name] for s in samples]) for name in first.spectators},
        columns={name: joined([s.columns[name] for s in samples]) for name in first.columns},
        axes={name: joined([s.axes[name] for s in samples]) for name in first.axes},
        weight_replicas=_joined_replicas([s.weight_replicas for s in samples]),
        **arrays,
    )


def _joined_replicas(parts: Sequence[WeightReplicas | None]) -> WeightReplicas | None:
    held = [part for part in parts if part is not None]
    if len(held) < len(parts) or any(part.factors is not held[0].factors for part in held):
        return None
    cell, directions = np.concatenate([part.cell for part in held]), held[0].directions
    if len(directions):
        directions = np.concatenate([part.directions for part in held], axis=1)
    return WeightReplicas(held[0].factors, cell, directions, held[0].steps)
