"""Data checks: what in the events would make the results look better or more certain than they are.

The checks find copies of events on both sides of a split, events that outweigh all others, and features that exist in
one class only or that hold the truth. Each finding is a sentence for the notes of a run; none stops it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.preprocess.events import Input
from pidlab.sample import BoolArray, IntArray, Rows, Sample
from pidlab.split import content_hash

_MOST = 0.5  # share of a class's weight that is more than that of all other events together
_HEAVIEST = 0.01  # share of the events that should not carry most of the weight
_MAX_ROWS = 100_000  # rows of a class that are examined, evenly spaced
_NEARLY_ALL = 0.999
_FEW = 20  # with fewer events in a class, a property of all of them means nothing
_BINS = 256
_MAX_COPIES = 4  # of one event among others; more equal rows are a response that is often the same, like "no hit"
_EQUALLY_OFTEN = 0.9
_MIN_ROWS = 20  # different rows that are all there equally often, which rows with the same few codes are not by chance
_PER_INTERVAL = 8  # events in an interval whose class is the commonest among them; fewer agree by chance
_MEASURED = 10  # a column with this many times more rare than frequent values is measured, with or without codes
_BLOCK = 500_000  # rows whose contents are hashed at once
_MIN_COLUMNS = 2  # one rounded number is equal in two events by chance, two are not


def heavy_events(sample: Sample, parts: Mapping[str, Rows]) -> Iterator[str]:
    """Yields a sentence for each class and part without weight, or of which few events carry most of the weight.

    Few are one event, or 1 % of the events. The absolute weights count, and the candidates of one event are one event.

    Args:
        sample: all events.
        parts: name of a part to the rows of the sample in it.
    """
    for (part, rows), (index, name) in itertools.product(parts.items(), enumerate(sample.classes)):
        event, weight, own = sample.event[rows], sample.weight[rows], sample.y[rows] == index
        size = np.bincount(np.unique(event[own], return_inverse=True)[1], np.abs(weight[own]))
        total = float(size.sum())
        if len(size) and not total > 0:
            yield (
                f"All {len(size):,} events of the class {name!r} in the {part} sample have the weight 0: nothing is "
                "measured there that needs them; look at the weight expression."
            )
        if len(size) < 2 or not total > 0:
            continue
        n_eff = total**2 / float(np.sum(size**2))
        n_heaviest = -(-len(size) // round(1 / _HEAVIEST))
        heaviest = np.sort(size)[::-1][:n_heaviest]
        of_class = f" of the class {name!r}" if sample.target is None else ""
        where = f"of the weight{of_class} in the {part} sample"
        means = f"it counts for {n_eff:.1f} events, not {len(size):,}; look at the weight expression."
        if heaviest[0] > _MOST * total:
            yield f"One event carries {heaviest[0] / total:.2%} {where}: {means}"
        elif heaviest.sum() > _MOST * total:
            yield f"{n_heaviest:,} of {len(size):,} events carry {heaviest.sum() / total:.1%} {where}: {means}"


def telling_features(sample: Sample) -> Iterator[str]:
    """Yields a sentence for each feature that is missing or constant in one class only, or separates classes alone.

    A feature separates the classes if nearly all events are assigned correctly when each of up to 256 intervals of its
    values is assigned to the class that fills it most, as for a copy of the truth in whatever coding. Where the events
    are too few to fill intervals, it is asked how often the class changes along their values.
    """
    counts = np.bincount(sample.y, minlength=len(sample.classes))
    if counts.min() < _FEW:
        return
    some = [np.flatnonzero(sample.y == i) for i in range(len(sample.classes))]
    some = [rows[:: max(len(rows) // _MAX_ROWS, 1)] for rows in some]
    for j, name in enumerate(sample.features):
        sentence = _one_class_only(name, [sample.x[rows, j] for rows in some], sample.classes)
        if sentence is not None:
            yield sentence


def determining_features(sample: Sample) -> Iterator[str]:
    """Yields a sentence for each feature of which the target of a regression is a function without any scatter.

    Along the values of such a feature the target rises and falls smoothly, as for a copy of it in whatever unit: it
    turns rarely, where it would turn in two of three events along a feature with the slightest error of measurement.
    """
    assert sample.target is not None
    step = max(len(sample) // _MAX_ROWS, 1)
    target = np.asarray(sample.target[::step], np.float64)
    for j, name in enumerate(sample.features):
        values = np.asarray(sample.x[::step, j])
        known = np.flatnonzero(np.isfinite(values))
        # Values that are equal in float32 have no order: the mean of their targets stands for them.
        _, group, counts = np.unique(values[known], return_inverse=True, return_counts=True)
        steps = np.diff(np.bincount(group, target[known]) / counts)
        signs = np.sign(steps[steps != 0])
        as_fine = len(counts) >= 0.5 * len(np.unique(target[known]))
        turns = int(np.sum(signs[1:] != signs[:-1]))
        if as_fine and len(signs) >= _FEW and turns <= (1 - _NEARLY_ALL) * len(signs):
            yield (
                f"The feature {name!r} alone determines the target: see that it was not made from the truth, and is "
                "the same thing in the files to be scored."
            )


def _one_class_only(name: str, values: Sequence[NDArray[Any]], classes: Sequence[str]) -> str | None:
    """Returns the sentence for a feature with these values (n_i,) in each class; None if there is no finding."""
    ask = "a model learns the class from that, so see that it is so in the files to be scored too, or leave it out."
    missing = [float(np.isnan(v).mean()) for v in values]
    for i, share in enumerate(missing):
        if share >= _NEARLY_ALL and min(missing) <= 0.5:
            return f"The feature {name!r} is missing (NaN) in all events of the class {classes[i]!r} only: {ask}"
    commonest = [_commonest(v) for v in values]
    for i, (value, share) in enumerate(commonest):
        others = [float(np.mean(v == value)) for k, v in enumerate(values) if k != i]
        if share >= _NEARLY_ALL and min(others) <= 0.5:
            return f"The feature {name!r} is {value:g} in all events of the class {classes[i]!r} only: {ask}"
    right, straddled = _assigned_rightly(values)
    if right >= _NEARLY_ALL - straddled:
        return (
            f"The feature {name!r} alone assigns {right:.2%} of the events to their class: see that it was not made "
            "from the truth, and is the same thing in the files to be scored."
        )
    return None


def _commonest(values: NDArray[Any]) -> tuple[float, float]:
    """Returns the most frequent finite value, and its share of all values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.nan, 0.0
    found, counts = np.unique(finite, return_counts=True)
    return float(found[np.argmax(counts)]), float(counts.max() / len(values))


def _assigned_rightly(values: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Returns the share of events that lie in intervals filled most by their own class, all classes weighted equally.

    The second number is the largest share that can be lost to intervals that contain the border of two classes.
    """
    known = np.concatenate([v[np.isfinite(v)] for v in values])
    distinct, straddled = np.unique(known), 0.0
    if len(known) < _PER_INTERVAL * min(len(distinct), _BINS):
        return 1 - max(_changes(values) - (len(values) - 1), 0) / sum(map(len, values)), straddled
    if len(distinct) > _BINS:
        distinct = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)))
        straddled = (len(values) - 1) / (2 * _BINS)
    shares = []
    for v in values:
        cell = np.where(np.isnan(v), len(distinct), np.searchsorted(distinct, v, side="right") - 1)
        shares.append(np.bincount(cell, minlength=len(distinct) + 1) / len(v))
    return float(np.max(shares, axis=0).sum() / len(values)), straddled


def _changes(values: Sequence[NDArray[Any]]) -> int:
    """Returns how often the class changes from one event to the next along the values (n_i,) of each class."""
    y = np.repeat(np.arange(len(values)), [len(v) for v in values])
    ordered = y[np.lexsort((y, np.concatenate(values)))]
    return int(np.sum(ordered[1:] != ordered[:-1]))


def equal_inputs(inputs: Sequence[Input], names: Sequence[str]) -> Iterator[str]:
    """Yields a sentence for each input that is equal to an earlier one in every branch that was read."""
    seen: dict[tuple[Any, ...], str] = {}
    for one, name in zip(inputs, names, strict=True):
        content = (one.n_entries, *sorted(one.hashes.values()))
        if one.n_entries < 2 or not one.hashes:
            continue
        if content in seen:
            yield (
                f"{name} repeats {seen[content]} in every branch that is read: its {one.n_entries:,} entries count "
                "twice, and intervals are too narrow. Remove one of them from data.files."
            )
        seen.setdefault(content, name)


def copies_across(sample: Sample, part: NDArray[np.integer[Any]]) -> str | None:
    """Returns a sentence if rows of one part of the split are copies of rows of another; None if there are no copies.

    Rows are compared by a hash of what was read: features, spectators, and columns that models read. The weight does
    not count, since a copy may have another one. Equal rows are copies if there are at most four and two of their
    measured numbers occur in no other row, or if nearly all rows occur equally often. Rows that only have the same few
    codes are no copies.

    Args:
        sample: all events.
        part: (n,) the `Part` of each row, or its fold.
    """
    hashes = np.empty(len(sample), np.uint64)
    texts = _numbered_texts(sample)
    for start in range(0, len(sample), _BLOCK):
        rows = slice(start, start + _BLOCK)
        hashes[rows] = content_hash(
            _contents(sample.take(rows), {name: values[rows] for name, values in texts.items()})
        )
    in_order = np.sort(hashes)
    if not (in_order[1:] == in_order[:-1]).any():
        return None
    _, first, group, size = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    crossing = np.zeros(len(size), np.bool_)
    crossing[group[part != part[first[group]]]] = True
    if not crossing.any():
        return None
    of_copies = crossing & _are_copies(_contents(sample, texts), group, size)
    n = int(of_copies[group].sum())
    if not n:
        return None
    return (
        f"{n:,} of {len(sample):,} rows ({n / len(sample):.2%}) repeat a row on another side of the split: models are "
        "tested on what they have seen, and every number is too good. Remove the copies (the same file twice, under "
        "another name, or merged twice), or give data.event_id, which keeps copies together."
    )


def _numbered_texts(sample: Sample) -> dict[str, NDArray[Any]]:
    """Returns the columns of texts, each text as a number that is the same for equal texts."""
    columns = sample.columns.items()
    texts = {name: v for name, v in columns if isinstance(v, np.ndarray) and v.ndim == 1 and v.dtype.kind == "T"}
    return {name: np.unique(values, return_inverse=True)[1] for name, values in texts.items()}


def _contents(sample: Sample, texts: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Returns everything flat that was read of the rows but their weight, each (n,); texts as their numbers."""
    flat = {name: v for name, v in sample.columns.items() if isinstance(v, np.ndarray) and v.ndim == 1}
    features = (sample.x[:, j] for j in range(sample.x.shape[1]))
    return [*features, *sample.spectators.values(), *{**flat, **texts}.values()]


def _are_copies(columns: Sequence[NDArray[Any]], group: IntArray, size: IntArray) -> BoolArray:
    """Returns (g,) which groups of equal rows are copies.

    Args:
        columns: the contents of the rows, each (n,).
        group: (n,) the group of each row.
        size: (g,) the number of rows in each group.
    """
    often = np.bincount(size[size > 1]).argmax()
    if len(size) >= _MIN_ROWS and np.sum(size == often) >= _EQUALLY_OFTEN * len(size):
        return np.asarray(size == often)
    several = (size > 1) & (size <= _MAX_COPIES)
    if not several.any():
        return several
    alone = np.zeros(len(size), np.int64)  # the number of columns in which a group has a value that no other row has
    first = np.zeros(len(size), np.int64)
    first[group] = np.arange(len(group))
    for column in columns:
        _, value, counts = np.unique(column, return_inverse=True, return_counts=True)
        if np.sum(counts <= _MAX_COPIES) >= _MEASURED * np.sum(counts > _MAX_COPIES):
            alone += counts[value[first]] == size
        if np.all(alone[several] >= _MIN_COLUMNS):
            break
    return several & (alone >= _MIN_COLUMNS)
