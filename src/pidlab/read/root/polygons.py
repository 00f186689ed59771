"""Polygons of ROOT files: TCutG objects in any folder and of any cycle, as `expressions.Polygon`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pidlab.errors import DataError, nearest
from pidlab.expressions import Polygon
from pidlab.read.find import each_path, split_tree
from pidlab.read.root.file import opened
from pidlab.read.root.keys import objects_in
from pidlab.read.source import Source

_FEWEST = 3  # corners of a polygon


def read_polygon(text: str, folder: Path) -> Polygon:
    """Returns the TCutG that `file.root:name` means; its name is `text`.

    The name may hold folders and a cycle, as in `cuts/hole;2`; without one the highest cycle is read.

    Args:
        text: the file and the name of the object in it.
        folder: the folder to which the path is relative.

    Raises:
        DataError: there is no such file or object, or the object is no TCutG of three or more finite points.
    """
    found = each_path(text, folder)
    if len(found) != 1:
        raise DataError(f"{text}: means {len(found)} files; name one")
    path, name = split_tree(found[0])
    if name is None:
        raise DataError(f"{text}: names no object; write file.root:name")
    with opened(path) as file:
        polygon = _polygon(text, f"{path}: {name}", _chosen(path, name, _keys(path, file)))
    if len(polygon.points) < _FEWEST:
        few = f"has {len(polygon.points)} points, and a polygon has {_FEWEST} or more"
        raise DataError(f"{path}: the TCutG {name!r} {few}")
    if not all(math.isfinite(number) for point in polygon.points for number in point):
        raise DataError(f"{path}: the TCutG {name!r} has a point that is not finite; draw it again")
    return polygon


def _polygon(name: str, where: str, key: Any) -> Polygon:
    """Returns the polygon of a key of class TCutG.

    Raises:
        DataError: it cannot be read.
    """
    members = _members(where, key)
    points = tuple((float(a), float(b)) for a, b in zip(members["fX"], members["fY"], strict=True))
    return Polygon(name, str(members["fVarX"]), str(members["fVarY"]), points)


def polygons_among(text: str) -> dict[str, Polygon]:
    """Returns every TCutG of the ROOT files that `text` means, in the highest cycle, by `file.root:name`.

    Those that cannot be read are left out, and there are none if `text` names a tree, an address or another format.
    """
    found: dict[str, Polygon] = {}
    with suppress(DataError):
        paths = [text] if "://" in text else each_path(text, Path())
        for path in paths:
            if split_tree(path)[1] is None and "://" not in path and Source(path, "").is_root:
                with opened(path) as file:
                    for name, keys in _keys(path, file).items():
                        with suppress(DataError):
                            if keys[max(keys)].fClassName == "TCutG":
                                found[f"{path}:{name}"] = _polygon(f"{path}:{name}", path, keys[max(keys)])
    return found


def _keys(path: str, file: Any) -> dict[str, dict[int, Any]]:
    """Returns the keys of all objects by name, folders included, and cycle."""
    found: dict[str, dict[int, Any]] = {}
    try:
        for name, key in objects_in(file):
            found.setdefault(name, {})[int(key.fCycle)] = key
    except Exception as error:
        raise DataError(f"{path}: its contents cannot be listed; it is damaged or was cut short") from error
    return found


def _chosen(path: str, wanted: str, known: Mapping[str, Mapping[int, Any]]) -> Any:
    """Returns the key of the TCutG `wanted`, which may state its cycle.

    Raises:
        DataError: there is none.
    """
    name, _, cycle = wanted.strip("/").partition(";")
    polygons = [other for other, keys in known.items() if keys[max(keys)].fClassName == "TCutG"]
    if name not in known:
        hint = nearest(name, polygons) or f"it holds no TCutG at all, but {', '.join(sorted(known)[:8]) or 'nothing'}"
        raise DataError(f"{path}: no TCutG {wanted!r}; {hint}")
    cycles = known[name]
    if cycle and cycle not in map(str, cycles):
        raise DataError(f"{path}: {name!r} has no cycle {cycle}; there are: {', '.join(map(str, sorted(cycles)))}")
    key = cycles[int(cycle) if cycle else max(cycles)]
    if key.fClassName != "TCutG":
        hint = nearest(name, polygons) or "it holds no TCutG at all"
        raise DataError(f"{path}: {wanted!r} is a {key.fClassName}, and a polygon is a TCutG; {hint}")
    return key


def _members(what: str, key: Any) -> Mapping[str, Any]:
    """Returns fX, fY, fVarX and fVarY, among the others.

    Raises:
        DataError: the object cannot be read.
    """
    try:
        members: Mapping[str, Any] = key.get().all_members
        if {"fX", "fY", "fVarX", "fVarY"} <= members.keys():
            return members
    except Exception as error:
        raise DataError(f"{what} cannot be read as a TCutG; the file is damaged, or write it again") from error
    raise DataError(f"{what} cannot be read as a TCutG: it says neither points nor axes; write it again")
