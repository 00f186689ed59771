"""TStreamerInfo records, by which a file describes the members of the classes of its objects to ROOT.

The layout follows ROOT's documentation (io/doc/TFile/dobject.md and TStreamerInfo): an object is preceded by its length
with bit 30 set and, behind a pointer, by the name of its class.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from uproot.const import kByteCountMask
from uproot.serialization import numbytes_version, string

BASE: Final = 0
DOUBLE: Final = 8
ENUM: Final = 3
STRING: Final = 65
STL: Final = 500
OBJECT_ALWAYS: Final = 63
"""A pointer that is never null (`->` in the comment of the class), stored as the object without a class name."""
OBJECT_POINTER: Final = 64

_TNAMED: Final = 67
_SIZES: Final = {BASE: 0, _TNAMED: 0, DOUBLE: 8, ENUM: 4, STRING: 24, STL: 24, OBJECT_ALWAYS: 8, OBJECT_POINTER: 8}
_CLASSES: Final = {
    BASE: "TStreamerBase",
    _TNAMED: "TStreamerBase",
    STL: "TStreamerSTL",
    STRING: "TStreamerString",
    OBJECT_ALWAYS: "TStreamerObjectPointer",
    OBJECT_POINTER: "TStreamerObjectPointer",
}
_VERSIONS: Final = {"TStreamerBase": 3, "TStreamerSTL": 3}
_VECTOR_OF_CLASS: Final = struct.pack(">ii", 1, 61)


@dataclass(frozen=True, slots=True)
class Element:
    """A base class or a member of a class.

    Attributes:
        kind: one of the constants of this module.
        comment: the comment in the header of the class.
        type_name: the C++ type.
        version, checksum: of a base class, those of its own description.
    """

    name: str
    comment: str
    kind: int
    type_name: str = "BASE"
    version: int = 0
    checksum: int = 0


def streamer_info(name: str, checksum: int, elements: Sequence[Element]) -> bytes:
    """Returns the TStreamerInfo of version 2 of a class in the form in which a file stores it."""
    array = _TOBJECT + string("") + struct.pack(">ii", len(elements), 0) + b"".join(map(_element, elements))
    content = _named(name, "") + struct.pack(">Ii", checksum, 2) + _pointed_to("TObjArray", _versioned(3, array))
    return _pointed_to("TStreamerInfo", _versioned(9, content)) + b"\x00"


_TOBJECT: Final = struct.pack(">hII", 1, 0, 0x02000000)


def _element(element: Element) -> bytes:
    kind = _TNAMED if element.name == "TNamed" else element.kind
    cls = _CLASSES.get(kind, "TStreamerBasicType")
    common = _named(element.name, element.comment)
    # type, size, array length and dimension, then five array bounds, the second of which holds a base's checksum
    common += struct.pack(">iiii", kind, _SIZES[kind], 0, 0)
    common += struct.pack(">iIiii", 0, element.checksum, 0, 0, 0) + string(element.type_name)
    tail = {"TStreamerBase": struct.pack(">i", element.version), "TStreamerSTL": _VECTOR_OF_CLASS}.get(cls, b"")
    return _pointed_to(cls, _versioned(_VERSIONS.get(cls, 2), _versioned(4, common) + tail))


def _named(name: str, title: str) -> bytes:
    return _versioned(1, _TOBJECT + string(name) + string(title))


def _versioned(version: int, content: bytes) -> bytes:
    return bytes(numbytes_version(len(content), version)) + content


def _pointed_to(name: str, content: bytes) -> bytes:
    """Returns an object behind a pointer: its length, the mark of a new class, the name of the class, the object."""
    named = struct.pack(">I", 0xFFFFFFFF) + name.encode() + b"\x00" + content
    return struct.pack(">I", len(named) | int(kByteCountMask)) + named
