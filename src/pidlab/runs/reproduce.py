"""Reproduce: makes a finished run again, compares every number, and lists what differs between then and now."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pidlab.config.load import load_config
from pidlab.errors import ModelError
from pidlab.jsonfile import read_json
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.runs.manifest import from_run, input_differences, read_manifest, refuse_other_folder, verify
from pidlab.runs.record import manifest_of, metrics

_TIMING = frozenset({"seconds", "scoring"})
"""Keys of `metrics.json` that hold times, in which no two runs agree."""

_ABOUT = ("pidlab", "python", "platform", "processor", "device", "seeds")


@dataclass(frozen=True, slots=True)
class Moved:
    """A number that has changed.

    Attributes:
        name: its path in `metrics.json`, with dots.
        before, after: the values; None if there was none, or is none now.
        errors: the change in units of the number's standard error; None if it has none.
    """

    name: str
    before: Any
    after: Any
    errors: float | None


@dataclass(frozen=True, slots=True)
class Added:
    """What `metrics.json` did not hold then and holds now: the path of a key, and how many numbers there are in it.

    Later versions of pidlab measure more. There is nothing to compare these numbers with, so that they are not moved.
    """

    name: str
    n_numbers: int


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How many numbers were compared, those that moved, and sentences on what differs between then and now.

    `added` is what is measured now and was not measured then.
    """

    n_compared: int
    moved: tuple[Moved, ...]
    differences: tuple[str, ...]
    added: tuple[Added, ...] = ()

    @property
    def identical(self) -> bool:
        """True if every number that there was is what it was, to the last bit."""
        return not self.moved


def reproduce(run: Path, resources: Resources, watcher: Watcher) -> Reproduction:
    """Makes a finished run again, in memory, and compares every number of `metrics.json`.

    Raises:
        UsageError: `run` is not the folder of a run.
        ModelError: a file of the run is damaged.
        DataError: an input cannot be read.
    """
    refuse_other_folder(run, "config.yaml", "metrics.json")
    verify(run, "config.yaml", "metrics.json")
    before, manifest = read_json(run / "metrics.json"), _manifest(run)
    loaded = load_config(run / "config.yaml")
    started = time.time()
    done = analyse(loaded, resources, watcher)
    after = json.loads(json.dumps(metrics(done.results)))
    now = json.loads(json.dumps(manifest_of(loaded, done.read, resources, started)))
    with from_run(run):
        changes = list(_changes("", before, after))
        moved = sorted((each for each in changes if isinstance(each, Moved)), key=lambda m: -(m.errors or 0.0))
        added = tuple(each for each in changes if isinstance(each, Added))
        return Reproduction(_count(before), tuple(moved), tuple(_differences(manifest, now)), added)


def _manifest(run: Path) -> dict[str, Any]:
    """Returns the manifest, checked for all that is compared before the run is made again.

    Raises:
        ModelError: the manifest is missing or damaged.
    """
    manifest = read_manifest(run)
    inputs = manifest.get("inputs")
    whole = isinstance(inputs, list) and isinstance(manifest.get("packages"), dict)
    for each in inputs if whole and isinstance(inputs, list) else ():
        texts = isinstance(each, dict) and all(isinstance(each.get(key), str) for key in ("file", "tree"))
        whole = whole and texts and type(each.get("entries")) is int and isinstance(each.get("hashes"), dict)
    if not whole:
        raise ModelError(f"{run / 'manifest.json'}: is missing or damaged; copy the folder again")
    return manifest


_MEASURED = frozenset({"value", "low", "high", "n"})


def _is_measured(value: Any) -> bool:
    """Returns whether a value is a number with its interval and n; an AUC also tells the n of each class."""
    if not isinstance(value, Mapping) or not set(value) >= _MEASURED:
        return False
    numbers = (value[key] for key in _MEASURED)
    return all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in numbers)


def _parts_of(value: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a number with its interval, and what else is told of it."""
    return {k: v for k, v in value.items() if k in _MEASURED}, {k: v for k, v in value.items() if k not in _MEASURED}


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields the members of a mapping or list by name; those of a list by their own names if they have any."""
    if isinstance(value, Mapping):
        yield from ((key, inner) for key, inner in value.items() if key not in _TIMING)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            named = isinstance(inner, Mapping) and isinstance(inner.get("name"), str)
            yield (inner["name"] if named else str(i)), inner


def _count(value: Any) -> int:
    """Returns how many numbers there are in `value`; a number with its interval counts once."""
    if _is_measured(value):
        return 1 + _count(_parts_of(value)[1])
    if not isinstance(value, Mapping | list):
        return int(isinstance(value, int | float) and not isinstance(value, bool))
    return sum(_count(inner) for _, inner in _items(value))


def _changes(name: str, before: Any, after: Any) -> Iterator[Moved | Added]:
    """Yields the numbers that moved, and the keys that were added; a key that is no longer there has moved to None."""
    if _is_measured(before) and _is_measured(after):
        (old_number, old_rest), (new_number, new_rest) = _parts_of(before), _parts_of(after)
        if old_number != new_number:
            yield Moved(name, before["value"], after["value"], _in_errors(before, after))
        yield from _changes(name, old_rest, new_rest)
        return
    if isinstance(before, Mapping | list) and type(before) is type(after):
        old, new = list(_items(before)), list(_items(after))
        by_name = isinstance(before, Mapping) or (_are_named(before, old) and _are_named(after, new))
        if by_name:
            keys = dict.fromkeys([k for k, _ in old] + [k for k, _ in new])
            pairs = [(key, dict(old).get(key), dict(new).get(key)) for key in keys]
        else:
            both = itertools.zip_longest(old, new, fillvalue=("", None))
            pairs = [(a[0] or b[0], a[1], b[1]) for a, b in both]
        there = {key for key, _ in old}
        for key, a, b in pairs:
            inner = f"{name}.{key}" if name else key
            if by_name and key not in there:
                yield Added(inner, _count(b))
            else:
                yield from _changes(inner, a, b)
        return
    if before != after:
        yield Moved(name, before, after, None)


def _are_named(values: Any, items: Sequence[tuple[str, Any]]) -> bool:
    """Returns whether all members of a list have a name of their own."""
    named = all(isinstance(value, Mapping) and isinstance(value.get("name"), str) for value in values)
    return named and len({key for key, _ in items}) == len(items)


def _in_errors(before: Mapping[str, Any], after: Mapping[str, Any]) -> float | None:
    """Returns the change of a value over half the width of its 68.3 % interval; None if either is not known."""
    values = before["value"], after["value"], before["low"], before["high"]
    if any(v is None or not math.isfinite(v) for v in values) or not before["high"] > before["low"]:
        return None
    return float(abs(after["value"] - before["value"]) / (before["high"] - before["low"]) * 2)


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence for each input, version, device and seed that has changed."""
    yield from input_differences(then.get("inputs", []), now.get("inputs", []))
    packages = then.get("packages", {}), now.get("packages", {})
    for name in dict.fromkeys([*packages[0], *packages[1]]):
        old, new = (p.get(name, "none") for p in packages)
        if old != new:
            yield f"version of {name}: {old} then, {new} now"
    for key in _ABOUT:
        if then.get(key) != now.get(key):
            yield f"{key}: {_in_words(then.get(key))} then, {_in_words(now.get(key))} now"
    if then.get("n_cores") != now.get("n_cores"):
        yield f"number of cores: {then.get('n_cores')} then, {now.get('n_cores')} now"


def _in_words(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
