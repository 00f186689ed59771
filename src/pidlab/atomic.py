"""Files that appear whole or not at all: they are written beside their target and take its place at the end."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pidlab.errors import OutputError


def hidden_prefix(target: Path) -> str:
    """Returns how the names of all files and folders begin that are to become `target`."""
    return f".{target.name[:100]}."  # with the rest below the 255 bytes that a name may have


def hidden_path(target: Path, ending: str = "part") -> Path:
    """Returns a new hidden path beside `target`, on the same file system."""
    return target.with_name(f"{hidden_prefix(target)}{uuid.uuid4().hex[:8]}.{ending}")


def locked(path: Path) -> IO[bytes]:
    """Returns a new file that this process keeps locked while it is open, which marks it as being written."""
    while True:
        handle = path.open("x+b")
        with suppress(OSError):  # without locks in the file system, `sweep` leaves the file
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                return handle
        handle.close()  # another process removed it before it was locked


def sweep(path: Path) -> int:
    """Removes the temporary files for `path` that killed processes left, and returns their number.

    Files that a process on this or another machine is writing are locked and stay, as do all files on file systems
    without locks.
    """
    n_removed = 0
    for name in glob.glob(f"{glob.escape(str(path.with_name(hidden_prefix(path))))}*.part"):
        with suppress(OSError), Path(name).open("rb+") as leftover:
            fcntl.flock(leftover, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Path(name).unlink()
            n_removed += 1
    return n_removed


def refuse_device(target: Path) -> None:
    """Checks that a target is no pipe, device or terminal, such as /dev/null, which a file would replace.

    Raises:
        OSError: it is.
    """
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(target))


def refuse_foreign(target: Path, is_own: Callable[[Path], bool], maker: str, advice: str) -> None:
    """Checks that a file which is about to be replaced is none that the user made or got from elsewhere.

    A file that is not there or empty may be replaced. Of a pipe or a terminal nothing is lost.

    Args:
        target: the file to write.
        is_own: tells whether a file was written by the command that is to replace it.
        maker: the command, as the message names it.
        advice: what to do, as the message says it.

    Raises:
        OutputError: the file holds something else, or is a folder.
    """
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; give the name of a file in it")
    if target.is_file() and target.stat().st_size > 0 and not is_own(target):
        raise OutputError(f"{target}: is there already and was not written by {maker}; nothing was touched: {advice}")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Gives a path to write to, which replaces `target` if the block ends well and is removed if it does not.

    Raises:
        OSError: `target` is a pipe or a device, whose place no file can take.
    """
    refuse_device(target)
    temporary = hidden_path(target)
    sweep(target)
    with locked(temporary):
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that others see the old one or the whole new one. A link is followed, permissions are kept.

    Raises:
        OSError: the file cannot be written; what was there is untouched.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # a pipe or a terminal
        target.write_bytes(content)
        return
    with replacing(target) as temporary:
        temporary.write_bytes(content)
        if target.exists():
            shutil.copymode(target, temporary)


def write_text(path: Path, text: str) -> None:
    """Writes a text as `write_bytes` does.

    Raises:
        OutputError: the file cannot be written; what was there is untouched.
    """
    try:
        write_bytes(path, text.encode())
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); what was there is untouched: choose another place"
        ) from error
