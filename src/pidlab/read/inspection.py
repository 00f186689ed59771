"""Inspection: what a table holds, and what a user should know of it: missing codes, outliers, constants, duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import DataError
from pidlab.expressions import Number
from pidlab.read import Table
from pidlab.split import content_hash

_CODES = (-9999.0, -999.0, -99.0, -9.0, -1.0, 999.0, 9999.0)
_MAX_LABELS = 10


@dataclass(frozen=True, slots=True)
class BranchSummary:
    """One branch.

    Attributes:
        name: the name of the branch.
        kind: `float`, `int[]`, `text` and so on; "not usable" for objects.
        n, n_nan: the number of values read, and of NaN among them.
        low, high: the smallest and the largest finite value.
        quantiles: at 1 %, 50 % and 99 %.
        codes: values that seem to mean "not measured", with their shares.
        labels: the values of an integer branch that has few of them; empty otherwise.
        words: the values of a text branch that has few of them; empty otherwise.
        remarks: what a user should know, in sentences.
        damage: why its values cannot be read, with file, tree and entries; empty if they can.
    """

    name: str
    kind: str
    n: int = 0
    n_nan: int = 0
    low: float = np.nan
    high: float = np.nan
    quantiles: tuple[float, float, float] = (np.nan, np.nan, np.nan)
    codes: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    damage: str = ""

    @property
    def is_constant(self) -> bool:
        """True if all values are the same, or none is finite."""
        return not self.low < self.high


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One tree.

    Attributes:
        name: the file and tree.
        n_entries, n_read: the number of entries, and of those that were read.
        branches: those that were asked for.
        n_duplicates: the number of rows that repeat an earlier one in every flat branch; 0 if only some were asked for.
        n_branches: the number of branches of the tree.
        per: the collection whose candidates are the rows; empty if a row is an entry.
    """

    name: str
    n_entries: int
    n_read: int
    branches: tuple[BranchSummary, ...]
    n_duplicates: int
    n_branches: int = 0
    per: str = ""

    @property
    def damage(self) -> tuple[str, ...]:
        """Why branches cannot be read, a sentence for each."""
        return tuple(branch.damage for branch in self.branches if branch.damage)


def matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Returns the names that one of the patterns matches, such as `P.cal.*`; all of them if there is no pattern.

    A name that is equal to the text matches too, even if it holds a `[`, which begins a set in a pattern.
    """
    return [n for n in names if not patterns or n in patterns or any(fnmatchcase(n, p) for p in patterns)]


def inspect(table: Table, with_ranges: bool = True, patterns: Sequence[str] = ()) -> TableSummary:
    """Returns a summary of a tree from its first `table.n_inspected` entries, or of its types if not `with_ranges`.

    With `patterns`, only the branches that match one of them are looked at. A branch that cannot be read is remarked
    upon, and the others are summarised.
    """
    names = matching(table.names, patterns)
    kinds = table.kinds(names)
    if not with_ranges:
        types = tuple(BranchSummary(n, str(kinds.get(n, "not usable"))) for n in names)
        return TableSummary(str(table.source), table.n_entries, 0, types, 0, len(table.names))
    n_read = table.n_inspected
    columns: dict[str, NDArray[np.generic]] = {}
    branches = []
    for name in names:
        if name not in kinds:
            branches.append(BranchSummary(name, "not usable", remarks=(table.reason(name),)))
            continue
        try:
            values = table.flat_values(name, n_read)
        except DataError as error:
            branches.append(BranchSummary(name, str(kinds[name]), remarks=("cannot be read",), damage=str(error)))
            continue
        if kinds[name].is_scalar:
            columns[name] = values
        is_text = kinds[name].number is Number.TEXT
        branches.append(summarise_text(name, values) if is_text else summarise(name, str(kinds[name]), values))
    of_rows = table.collection.members & columns.keys() if table.collection else columns.keys()
    n_duplicates = 0 if patterns else count_duplicates({name: columns[name] for name in columns if name in of_rows})
    per = table.collection.name if table.collection else ""
    summary = TableSummary(str(table.source), table.n_entries, n_read, tuple(branches), n_duplicates, len(table.names))
    return replace(summary, per=per)


def summarise(name: str, kind: str, values: NDArray[np.generic]) -> BranchSummary:
    """Returns a summary of the values (n,) of one branch."""
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    n_nan = int(np.isnan(numbers).sum())
    if not len(finite):
        remark = "has no finite value" if len(numbers) else "has no entries"
        return BranchSummary(name, kind, len(numbers), n_nan, remarks=(remark,))
    low, high = float(finite.min()), float(finite.max())
    codes = find_codes(finite) if kind.startswith("float") else ()
    q01, q50, q99 = (float(q) for q in np.quantile(finite, [0.01, 0.5, 0.99]))
    labels = _labels(values) if kind in ("int", "unsigned", "bool") else ()
    remarks = tuple(_remarks(finite, codes, n_nan, len(numbers)))
    quantiles = (q01, q50, q99)
    return BranchSummary(name, kind, len(numbers), n_nan, low, high, quantiles, codes, labels, remarks=remarks)


def summarise_text(name: str, values: NDArray[np.generic]) -> BranchSummary:
    """Returns a summary of a branch of text, from its values (n,)."""
    words, counts = np.unique(values, return_counts=True)
    if len(words) > _MAX_LABELS:
        return BranchSummary(name, "text", len(values), remarks=(f"{len(words):,} different texts",))
    shares = ", ".join(f"{str(word)!r} in {n / len(values):.1%}" for word, n in zip(words, counts, strict=True))
    labels = tuple(map(str, words)) if len(words) > 1 else ()
    return BranchSummary(name, "text", len(values), words=labels, remarks=(shares or "has no entries",))


def find_codes(finite: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """Returns repeated values far from all others, as (value, share of the entries), the most frequent first.

    A value is a code if at least 0.1 % of the entries hold it and the gap to all other values is as wide as their
    central 98 %. For the usual codes (-999, -1, …) one of the two suffices: a gap of 5 % of that width, or two entries.
    Other values of a branch that has few different ones, such as a b-tag of 0, 1.1 or 2.2, are no codes.
    """
    found = []
    values, counts = np.unique(finite, return_counts=True)
    for end in (0, -1):
        while len(values) > 2 and counts[end] >= 2:
            rest = values[1:] if end == 0 else values[:-1]
            low, high = np.quantile(rest, [0.01, 0.99])
            gap = rest[0] - values[0] if end == 0 else values[-1] - rest[-1]
            is_usual, is_frequent = values[end] in _CODES, counts[end] >= max(3, 1e-3 * len(finite))
            least = (high - low) * (0.05 if is_usual and is_frequent else 1.0)
            if gap < least or not (is_usual or (is_frequent and len(values) > _MAX_LABELS)):
                break
            found.append((float(values[end]), float(counts[end] / len(finite))))
            values, counts = (values[1:], counts[1:]) if end == 0 else (values[:-1], counts[:-1])
    return tuple(sorted(found, key=lambda code: -code[1]))


def shortest(value: float) -> str:
    """Returns the fewest digits that mean this value; of a value of float32, those that mean it as a float32."""
    with np.errstate(over="ignore", under="ignore"):
        single = np.float32(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(single) if float(single) == value else repr(value)


def _labels(values: NDArray[np.generic]) -> tuple[int, ...]:
    unique = np.unique(values)
    return tuple(int(v) for v in unique) if 2 <= len(unique) <= _MAX_LABELS else ()


def _remarks(finite: NDArray[np.float64], codes: Sequence[tuple[float, float]], n_nan: int, n: int) -> list[str]:
    remarks = []
    if n_nan:
        remarks.append(f"NaN in {n_nan / n:.2%}")
    if finite.min() == finite.max():
        remarks.append(f"is {shortest(float(finite[0]))} everywhere")
    for value, share in codes:
        remarks.append(f"{shortest(value)} in {share:.2%} looks like a code for missing")
    rest = finite[~np.isin(finite, [value for value, _ in codes])]
    if len(rest) > 100:
        low, middle, high = np.quantile(rest, [0.01, 0.5, 0.99])
        wild = rest[np.abs(rest - middle) > 20 * (high - low)] if high > low else rest[:0]
        if len(wild):
            extreme = wild[np.argmax(np.abs(wild - middle))]
            remarks.append(f"{len(wild)} wild outliers, up to {extreme:.4g}")
    most = np.unique(rest, return_counts=True) if len(rest) else (rest, rest)
    if len(rest) and len(most[0]) > _MAX_LABELS and most[1].max() > 0.5 * len(finite):
        remarks.append(f"{most[1].max() / len(finite):.0%} of the values are {most[0][np.argmax(most[1])]:g}")
    return remarks


def count_duplicates(columns: dict[str, NDArray[np.generic]]) -> int:
    """Returns the number of rows that repeat an earlier row in every column; 0 if there are fewer than two columns."""
    if len(columns) < 2:
        return 0
    hashes = content_hash(list(columns.values()))
    return len(hashes) - len(np.unique(hashes))
