"""Files that appear whole or not at all: they are written beside their target and take its place at the end."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pidlab.errors import OutputError


def hidden_prefix(target: Path) -> str:
    """Returns how the names of all files and folders begin that are to become `target`."""
    return f".{target.name[:100]}."  # with the rest below the 255 bytes that a name may have


def hidden_path(target: Path, ending: str = "part") -> Path:
    """Returns a new hidden path beside `target`, on the same file system."""
    return target.with_name(f"{hidden_prefix(target)}{uuid.uuid4().hex[:8]}.{ending}")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Gives a path to write to, which replaces `target` if the block ends well and is removed if it does not."""
    temporary = hidden_path(target)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text so that others see the old file or the whole new one. A link is followed, permissions are kept.

    Raises:
        OutputError: the file cannot be written; what was there is untouched.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():  # a pipe or a terminal
            target.write_text(text, encoding="utf-8")
            return
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
            if target.exists():
                shutil.copymode(target, temporary)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); what was there is untouched: choose another place"
        ) from error
