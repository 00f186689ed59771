"""ROOT files that appear whole or not at all: written under a temporary name and renamed at the end."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import uproot

from pidlab.atomic import hidden_path, locked, refuse_device
from pidlab.errors import OutputError

Compression = Literal["zstd", "lz4", "zlib"]

_COMPRESSION: Final = {"zstd": uproot.ZSTD(1), "lz4": uproot.LZ4(1), "zlib": uproot.ZLIB(1)}
_ADVICE: Final = {
    errno.ENOSPC: "free some space there or choose another place",
    errno.EDQUOT: "free some of your quota or choose another place",
    errno.EFBIG: "files this large are not allowed there; raise the limit or choose another place",
    errno.ENOENT: "make the directory first",
    errno.ENOTDIR: "a part of the path is a file; choose another place",
    errno.EINVAL: "give the name of a file",
    errno.EISDIR: "this is a directory; give the name of a file in it",
    errno.EACCES: "you may not write there; choose another place",
    errno.EPERM: "you may not write there; choose another place",
    errno.EROFS: "you may not write there; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an OSError in the block into an error that names `path` and says what to do.

    Raises:
        OutputError: If the disk is full or `path` cannot be written.
    """
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "look at the disk or choose another place")
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}): {advice}") from error


@contextlib.contextmanager
def whole_file(path: Path, compression: Compression) -> Iterator[Any]:
    """Makes a ROOT file: `with whole_file(path, "zlib") as directory:` gives uproot's writable directory.

    A hidden file in the same folder is written. It replaces `path` when the block ends, and is removed if the block
    raises. A killed process leaves `path` unchanged, and the hidden file for `pidlab.atomic.sweep`.

    Raises:
        OutputError: If the file cannot be made, finished or renamed.
    """
    temporary = hidden_path(path)
    with writing(path):
        refuse_device(path)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory")
        handle = locked(temporary)
    try:
        with writing(path):
            directory = uproot.recreate(handle, compression=_COMPRESSION[compression])
        yield directory
        with writing(path):
            handle.flush()
            os.fsync(handle.fileno())
            temporary.replace(path)
            handle.close()
    except BaseException:
        with contextlib.suppress(OSError):  # a full disk refuses the last buffer again
            handle.close()
        temporary.unlink(missing_ok=True)
        raise


def write_tree(path: Path, tree: str, columns: Mapping[str, Any]) -> None:
    """Writes a ROOT file with one tree, whose branches are numpy or awkward arrays of one length.

    Raises:
        OutputError: If the file cannot be written.
    """
    import awkward as ak

    content = {
        name: ak.Array(values.tolist()) if isinstance(values, np.ndarray) and values.dtype.kind == "T" else values
        for name, values in columns.items()
    }
    with whole_file(path, "zstd") as file, writing(path):
        made = file.mktree(tree, {name: ak.type(ak.Array(values)).content for name, values in content.items()})
        made.extend(content)
