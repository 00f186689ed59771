"""Polygons: those that a configuration states, those that it takes from files, and where its expressions ask them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from pidlab.config.names import KeyPath
from pidlab.config.schema import Config, PolygonSection
from pidlab.errors import DataError, ExpressionError, UsageError
from pidlab.expressions import Polygon
from pidlab.expressions.grammar import CUTG
from pidlab.expressions.tokens import tokens

_WRONG = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
"""The points of a polygon that is wrong, so that the expressions that ask it can be checked all the same."""


def polygons_of(config: Config) -> dict[str, Polygon]:
    """Returns the polygons of a configuration from `load_config`, by their names in `cutg`."""
    return {
        name: Polygon(name, each.x or "", each.y or "", tuple((float(x), float(y)) for x, y in each.points or _WRONG))
        for name, each in config.polygons.items()
    }


class CompletePolygons(NamedTuple):
    """The polygons of a configuration, complete.

    Attributes:
        config: the configuration with the points and, as far as they are stated, the axes of every polygon.
        mistakes: key path and message of what is wrong with a polygon.
        first_use: the key path in `polygons` of each polygon that an expression takes from a file, and that of the
            first expression that does.
    """

    config: Config
    mistakes: list[tuple[KeyPath, str]]
    first_use: dict[KeyPath, KeyPath]


def with_points(config: Config, texts: Iterable[tuple[KeyPath, str]], folder: Path) -> CompletePolygons:
    """Returns the configuration with the points and axes of every polygon, and what is wrong with its polygons.

    The points of `file` are read, and a polygon that an expression names as `cutg("file.root:name")` becomes one of
    `polygons`. A run keeps this configuration, so that it does not need the file.

    Args:
        config: the configuration.
        texts: the key path and text of each expression.
        folder: the folder to which paths are relative.
    """
    known = dict(config.polygons)
    mistakes: list[tuple[KeyPath, str]] = []
    first_use: dict[KeyPath, KeyPath] = {}
    for name, section in config.polygons.items():
        key: KeyPath = ("polygons", name)
        if (section.points is None) == (section.file is None):
            what = "gives points and a file; keep one of them" if section.points else "give points, or a file"
            mistakes.append(((*key, "points"), what))
        elif section.file is not None:
            try:
                read = _section(section.file, folder)
            except (DataError, UsageError) as error:
                mistakes.append(((*key, "file"), str(error)))
                read = PolygonSection(x="0", y="0")
            known[name] = PolygonSection(x=section.x or read.x, y=section.y or read.y, points=read.points)
    for key, text in texts:
        for name in _asked(text):
            if name in known or ":" not in name:
                continue
            first_use["polygons", name] = key
            try:
                known[name] = _section(name, folder)
            except (DataError, UsageError) as error:
                mistakes.append((key, f'cutg("{name}"): {error}'))
                known[name] = PolygonSection(x="0", y="0")
    return CompletePolygons(config.model_copy(update={"polygons": known}), mistakes, first_use)


def _section(text: str, folder: Path) -> PolygonSection:
    """Returns the TCutG that `file.root:name` means.

    Raises:
        DataError: it cannot be read.
    """
    from pidlab.read.root.polygons import read_polygon  # uproot takes a second to load

    polygon = read_polygon(text, folder)
    points = [list(point) for point in polygon.points]
    return PolygonSection(x=polygon.x.strip() or None, y=polygon.y.strip() or None, points=points)


def _asked(text: str) -> Iterator[str]:
    """Yields the names of the polygons that an expression asks."""
    try:
        listed = tokens(text)
    except ExpressionError:  # is told where the expression is parsed
        return
    for i, (token, opening) in enumerate(pairwise(listed)):
        named = listed[min(i + 2, len(listed) - 1)]
        if token.text == CUTG and opening.text == "(" and named.kind == "quoted":
            yield named.text


def polygon_texts(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yields the key path and text of the axes of each polygon, as far as they are stated."""
    for name, section in config.polygons.items():
        yield from ((("polygons", name, axis), text) for axis in ("x", "y") if (text := getattr(section, axis)))
