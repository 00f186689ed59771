"""Cautions: what in the events makes every number look better or surer than it is, said before anything is trained.

Copies of events on both sides of a split, one event that outweighs all others, features that are there in one class
only or that hold the truth. Each is a sentence for the notes of a run; none stops it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.preprocess.events import Input
from pidlab.sample import BoolArray, IntArray, Sample
from pidlab.split import content_hash

_MOST = 0.5  # of a class's weight: more than all other events together
_HEAVIEST = 0.01
_LOOKED_AT = 100_000  # rows of a class, evenly spread
_NEARLY_ALL = 0.999
_FEW = 20  # events of a class, below which "all of them" says nothing
_BINS = 256
_COPIES = 4  # of one event; more equal rows than that are a response that is often the same, like "no hit"
_EQUALLY_OFTEN = 0.9
_MEASURED = 10  # times more rare values than frequent ones: a measured number, with or without a few codes
_COLUMNS = 2  # one rounded number is the same in two events by chance, two are not


def heavy_events(sample: Sample, parts: Mapping[str, IntArray]) -> Iterator[str]:
    """One sentence for each class and part without weight, or of which one event or a hundredth carries most of it.

    The sizes |w| count; candidates of one event are one event. `parts` maps names to rows of the sample.
    """
    for (part, rows), (index, name) in itertools.product(parts.items(), enumerate(sample.classes)):
        own = rows[sample.y[rows] == index]
        size = np.bincount(np.unique(sample.event[own], return_inverse=True)[1], np.abs(sample.weight[own]))
        total = float(size.sum())
        if len(size) and not total > 0:
            yield (
                f"All {len(size):,} events of the class {name!r} in the {part} sample have the weight 0: nothing is "
                "measured there that needs them; look at the weight expression."
            )
        if len(size) < 2 or not total > 0:
            continue
        n_eff = total**2 / float(np.sum(size**2))
        few = -(-len(size) // round(1 / _HEAVIEST))
        heaviest = np.sort(size)[::-1][:few]
        where = f"of the weight of the class {name!r} in the {part} sample"
        means = f"it counts for {n_eff:.1f} events, not {len(size):,}; look at the weight expression."
        if heaviest[0] > _MOST * total:
            yield f"One event carries {heaviest[0] / total:.2%} {where}: {means}"
        elif heaviest.sum() > _MOST * total:
            yield f"{few:,} of {len(size):,} events carry {heaviest.sum() / total:.1%} {where}: {means}"


def telling_features(sample: Sample) -> Iterator[str]:
    """One sentence for each feature that is missing or constant in one class only, or that alone tells classes apart.

    The last is judged by the mean over classes of the share of events that the feature's value assigns rightly, each
    of up to 256 intervals to the class that fills it most: nearly 1 for a copy of the truth in whatever coding.
    """
    counts = np.bincount(sample.y, minlength=len(sample.classes))
    if counts.min() < _FEW:
        return
    some = [np.flatnonzero(sample.y == i) for i in range(len(sample.classes))]
    some = [rows[:: max(len(rows) // _LOOKED_AT, 1)] for rows in some]
    for j, name in enumerate(sample.features):
        told = _one_class_only(name, [sample.x[rows, j] for rows in some], sample.classes)
        if told is not None:
            yield told


def _one_class_only(name: str, values: Sequence[NDArray[Any]], classes: Sequence[str]) -> str | None:
    """The sentence for a feature with these values (n_i,) in each class; None where nothing is to be said."""
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
    """The most frequent value, and its share of all."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.nan, 0.0
    found, counts = np.unique(finite, return_counts=True)
    return float(found[np.argmax(counts)]), float(counts.max() / len(values))


def _assigned_rightly(values: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """The mean over classes of the share in intervals that this class fills most, all classes being equally large.

    The second number is what intervals that straddle the border of two classes cost at most, where there is one.
    """
    known = np.concatenate([v[np.isfinite(v)] for v in values])
    distinct, straddled = np.unique(known), 0.0
    if len(distinct) > _BINS:
        distinct = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)))
        straddled = (len(values) - 1) / (2 * _BINS)
    shares = []
    for v in values:
        cell = np.where(np.isnan(v), len(distinct), np.searchsorted(distinct, v, side="right") - 1)
        shares.append(np.bincount(cell, minlength=len(distinct) + 1) / len(v))
    return float(np.max(shares, axis=0).sum() / len(values)), straddled


def equal_inputs(inputs: Sequence[Input], names: Sequence[str]) -> Iterator[str]:
    """One sentence for each input that holds, in every branch read, what an earlier one holds: a copy or a link."""
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
    """The sentence where rows of one part of the split are copies of rows of another; None where there are none.

    Rows are compared by a hash of what was read of them: features, spectators, columns that models read, weight.
    Equal rows are copies where two measured numbers of theirs are found in them alone, or where nearly all rows are
    there equally often, at most four times; rows that merely have the same few codes are not.

    Args:
        sample: all events.
        part: (n,) what each row is for: its `Part`, or its fold.
    """
    columns = _contents(sample)
    hashes = content_hash(columns)
    _, first, group, size = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    crossing = np.zeros(len(size), np.bool_)
    crossing[group[part != part[first[group]]]] = True
    if not crossing.any():
        return None
    of_copies = crossing & _are_copies(columns, group, size)
    n = int(of_copies[group].sum())
    if not n:
        return None
    return (
        f"{n:,} of {len(sample):,} rows ({n / len(sample):.2%}) repeat a row on another side of the split: models are "
        "tested on what they have seen, and every number is too good. Remove the copies (the same file twice, under "
        "another name, or merged twice), or give data.event_id, which keeps copies together."
    )


def _contents(sample: Sample) -> list[NDArray[Any]]:
    """The columns (n,) that make up a row."""
    plain = [v for v in sample.columns.values() if isinstance(v, np.ndarray) and v.ndim == 1]
    return [*sample.x.T, *sample.spectators.values(), *plain, sample.weight]


def _are_copies(columns: Sequence[NDArray[Any]], group: IntArray, size: IntArray) -> BoolArray:
    """(g,) for groups of equal rows, g of them of `size` (g,), which hold copies; `group` (n,) is that of each row."""
    several = (size > 1) & (size <= _COPIES)
    if not several.any():
        return several
    often = np.bincount(size[several]).argmax()
    if np.sum(size == often) >= _EQUALLY_OFTEN * len(size):
        return np.asarray(size == often)
    alone = np.zeros(len(size), np.int64)  # in how many columns the value of a group is found in it alone
    first = np.zeros(len(size), np.int64)
    first[group] = np.arange(len(group))
    for column in columns:
        _, value, counts = np.unique(column, return_inverse=True, return_counts=True)
        if np.sum(counts <= _COPIES) >= _MEASURED * np.sum(counts > _COPIES):
            alone += counts[value[first]] == size
        if np.all(alone[several] >= _COLUMNS):
            break
    return several & (alone >= _COLUMNS)
