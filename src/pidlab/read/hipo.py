"""HIPO files of CLAS12 through oxihipo: each column of a bank is a branch, each event an entry, each row an element."""

from __future__ import annotations

import glob
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from pidlab.errors import DataError
from pidlab.read.backend import Arrays, Backend
from pidlab.read.columns import first_line

PARTICLES = "REC::Particle"
"""The bank of reconstructed particles, to whose rows the column `pindex` of detector banks points."""

_OF_EVENT = frozenset({"Event", "Header"})
_BANKS_OF_EVENT = frozenset({"RUN::config", "HEL::online", "HEL::decoder", "RASTER::position"})
"""Not `COAT::config`, which holds a text, a character in each row."""
_TYPE = re.compile(r"(?P<number>\w+)(?:\[(?P<length>\d+)\])?")
# The file header, after HIPO's description of its format: its magic word stands at byte 28 in the order of bytes in
# which the file was written, and the place of the trailer, an int64, at byte 40.
_MAGIC, _MAGIC_AT, _TRAILER_AT, _HEADER_SIZE = 0xC0DA0100, 28, 40, 56


def is_of_event(bank: str) -> bool:
    """Returns True for a bank that by definition has one row an event: `RUN::config`, `REC::Event`, `MC::Header`, ….

    The name decides and not the content, so that a configuration means the same for every file.
    """
    return bank in _BANKS_OF_EVENT or bank.rpartition("::")[2] in _OF_EVENT


class HipoFile(Backend):
    """A HIPO file; the column `px` of the bank `REC::Particle` is the branch `REC::Particle.px`.

    A branch holds a list in each entry, of one element for each row of the bank. Only a bank of the event (see
    `is_of_event`) holds one number an entry; where it has no row, that is NaN, or 0 for a whole number, which is what
    HIPO's own readers give.
    """

    most_at_once = 25_000
    """An event of a DST has some 5 particles and some 100 rows of detectors, and each row may be joined with each."""
    n_inspected = 100_000
    """A record is decompressed as a whole for each bank that is looked at: some 10 kB an event in a DST."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        super().__init__(path)
        try:
            import oxihipo
        except ModuleNotFoundError as error:
            needed = "reading HIPO needs oxihipo, which is not installed: pip install 'pidlab[hipo]'"
            raise DataError(f"{path}: {needed}") from error
        _check_header(path)
        try:
            self._file = oxihipo.open(path)
            types = self._file.typenames()
            records = self._file.record_spans()
            self.n_entries = int(self._file.num_entries)
        except Exception as error:
            raise DataError(f"{path}: cannot be opened as a HIPO file; it is damaged or was cut short") from error
        self._columns = {key.replace("/", ".", 1): (*key.split("/", 1), kind) for key, kind in types.items()}
        self.names = list(self._columns)
        self._held: tuple[tuple[str, int, int], Arrays] = (("", 0, 0), {})
        self._records = np.array([*(start for _, _, start, _ in records), self.n_entries], np.int64)

    def reason(self, name: str) -> str:
        """Returns why a column cannot be used: its type is none of numbers."""
        kind = self._columns[name][2]
        return "" if _dtype(kind) is not None else f"holds values of the type {kind}"

    def empty(self, name: str) -> Any:
        """Returns a column without entries, for which nothing is read."""
        bank, _, kind = self._columns[name]
        return _column(bank, np.zeros((0, *_shape(kind)), _dtype(kind)), np.zeros(1, np.int64), 0)

    def values(self, name: str, start: int, stop: int) -> Any:
        """Returns a part of a column; all columns of the bank are read, since the next one is often asked for then."""
        bank = self._columns[name][0]
        if self._held[0] != (bank, start, stop):
            of_bank = [each for each in self.names if self._columns[each][0] == bank and not self.reason(each)]
            self._held = ((bank, start, stop), self.span(of_bank, start, stop))
        return self._held[1][name]

    def offsets(self, name: str) -> Any:
        """Returns (n_records + 1,) the entries at which records begin, and the end; a record is read as a whole."""
        return self._records

    def span(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        """Returns the branches in some entries; each record is decompressed once for all of them.

        Raises:
            DataError: a record is damaged, or a bank of the event has several rows in an entry.
        """
        if start >= stop or not names:
            return {name: self.empty(name) for name in names}
        wanted = [glob.escape("/".join(self._columns[name][:2])) for name in names]
        try:
            banks = self._file.arrays(filter_name=wanted, entry_start=start, entry_stop=stop, threads=1)
        except Exception as error:
            raise DataError(f"the file is damaged or was cut short (oxihipo says: {first_line(error)})") from error
        arrays = {}
        for name in names:
            bank, column, _ = self._columns[name]
            lists = banks[bank][column].layout
            offsets = np.asarray(lists.offsets)
            flat = ak.to_numpy(ak.Array(lists.content))[offsets[0] : offsets[-1]]
            arrays[name] = _column(bank, flat, offsets - offsets[0], start)
        return arrays

    def close(self) -> None:
        """Closes the file."""
        self._held = (("", 0, 0), {})
        self._file.close()


def _check_header(path: str) -> None:
    """Checks what a file says of itself: oxihipo reads as many records as it finds of a file that was cut short.

    Raises:
        DataError: the file is none of HIPO, or it ends before its trailer.
    """
    try:
        size = Path(path).stat().st_size
        with Path(path).open("rb") as file:
            header = file.read(_HEADER_SIZE)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not size:
        raise DataError(f"{path}: is an empty file (0 bytes); was it written to its end?")
    if header[:4] not in (b"HIPO", b"OPIH"):
        raise DataError(f"{path}: is not a HIPO file")
    if len(header) < _HEADER_SIZE:
        raise DataError(f"{path}: cannot be opened as a HIPO file; it is damaged or was cut short")
    order = "<" if struct.unpack_from("<I", header, _MAGIC_AT)[0] == _MAGIC else ">"
    trailer = struct.unpack_from(f"{order}q", header, _TRAILER_AT)[0]
    if trailer >= size:
        where = f"its index of records should be at byte {trailer:,}, and it has {size:,} bytes"
        raise DataError(f"{path}: was cut short: {where}; copy it again")


def _dtype(kind: str) -> np.dtype[Any] | None:
    """Returns numpy's type for `float32` or `float32[3]`; None for what is no type of numbers."""
    match = _TYPE.fullmatch(kind)
    try:
        dtype = np.dtype(match["number"]) if match else None
    except TypeError:
        return None
    return dtype if dtype is not None and dtype.kind in "fiub" else None


def _shape(kind: str) -> tuple[int, ...]:
    """Returns the shape of one value: (3,) for `float32[3]`, () for one number."""
    match = _TYPE.fullmatch(kind)
    return (int(match["length"]),) if match and match["length"] else ()


def _column(bank: str, flat: Any, offsets: Any, first: int) -> Any:
    """Returns the branch of a bank from its rows `flat` (m, ...) and the `offsets` (n + 1,) of n entries in them.

    Raises:
        DataError: a bank of the event has several rows in an entry; `first` is the number of the first entry.
    """
    if not is_of_event(bank):
        content = ak.contents.NumpyArray(np.ascontiguousarray(flat))
        return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), content))
    counts = np.diff(offsets)
    if (counts > 1).any():
        i = int(np.argmax(counts > 1))
        raise DataError(
            f"the bank {bank} has one row an event by its definition, and {counts[i]} in entry {first + i:,}"
        )
    if len(flat) == len(counts):
        return flat
    blank = np.nan if flat.dtype.kind == "f" else 0
    filled = np.full((len(counts), *flat.shape[1:]), blank, flat.dtype)
    filled[counts == 1] = flat
    return filled
