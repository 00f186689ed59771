"""Whole: the folder of a run and texts that appear whole or not at all, and what a user put beside them stays."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from pidlab.atomic import hidden_path, hidden_prefix
from pidlab.errors import ModelError, OutputError
from pidlab.runs.manifest import FILE, checksum, files_of, is_run

_RUNNING = ".running"  # locked for as long as the process that writes a folder lives
_ATTEMPTS = 5  # of two runs that end in the same folder at the same moment
_N_NAMED = 5
# What versions wrote that kept no list of files; of their figures and friends only those are replaced that are made
# again.
_FIXED = frozenset({"config.yaml", "events.safetensors", "metrics.json", "report.html", "results.json", "results.root"})

Note = Callable[[str], None]


@contextlib.contextmanager
def whole_folder(target: Path, note: Note = lambda sentence: None) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block ends well, and is removed when it does not.

    A symbolic link is followed. A run that was there is replaced; files in it that it did not write, or that were
    changed since, are kept: `note` hears which.

    Raises:
        OutputError: the place cannot be written to, or holds something that is not a run.
    """
    target = Path(os.path.realpath(target))
    before = "the run that was there is untouched" if is_run(target) else "nothing was left there"
    beside: Path | None = None
    try:
        _sweep(target, note)
        _refuse_foreign(target)
        beside, lock = _begin(target)
        with lock:
            yield beside
            _replace(beside, target, note)
            (target / _RUNNING).unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None:  # raised by a library that could not be loaded, and not by a file
            raise
        raise OutputError(f"{target}: cannot be written ({error.strerror or error}); {before}") from error
    finally:
        if beside is not None and (beside / _RUNNING).exists():
            shutil.rmtree(beside, ignore_errors=True)


def _refuse_foreign(target: Path) -> None:
    if not os.path.lexists(target) or is_run(target):
        return
    names = sorted(p.name for p in target.iterdir()) if target.is_dir() else [""]
    if names:
        held = f"; it holds {_listed(names)}" if target.is_dir() else ""
        raise OutputError(
            f"{target}: exists and is not the folder of a run{held}; nothing of it was touched: choose another output "
            "with -o"
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
    return f"{', '.join(names[:_N_NAMED])}{more}"


def _begin(target: Path) -> tuple[Path, IO[bytes]]:
    """A new folder beside `target`, and the lock by which other processes see that it is being written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        beside = hidden_path(target)
        beside.mkdir()
        lock = (beside / _RUNNING).open("x+b")
        with contextlib.suppress(OSError):  # a file system without locks: there nothing is swept either
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (beside / _RUNNING).exists():
            return beside, lock
        lock.close()  # it was swept away between its making and its lock


def _is_live(folder: Path) -> bool:
    """Whether a process writes this folder, on this machine or another; true where that cannot be known."""
    try:
        with (folder / _RUNNING).open("rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _sweep(target: Path, note: Note) -> None:
    """Remove what killed processes left of their attempts, and finish a replacement that one of them had begun."""
    pattern = re.compile(rf"{re.escape(hidden_prefix(target))}[0-9a-f]{{8}}\.(part|old)")
    if not target.parent.is_dir():
        return
    leftovers = [p for p in target.parent.iterdir() if pattern.fullmatch(p.name) and p.is_dir() and not p.is_symlink()]
    parts = [p for p in leftovers if p.suffix == ".part"]
    live = [p for p in parts if _is_live(p)]
    for part in parts:
        if part not in live:
            shutil.rmtree(part, ignore_errors=True)
    replaced = [p for p in leftovers if p.suffix == ".old" and is_run(p)]
    if live or ((target / _RUNNING).exists() and _is_live(target)):
        return  # another process may be at it
    for old in replaced:
        if not target.exists():
            old.rename(target)
        elif is_run(target):
            _keep(old, target, note)
            shutil.rmtree(old, ignore_errors=True)


def _replace(beside: Path, target: Path, note: Note) -> None:
    """Put the folder `beside` in the place of `target`, and what it did not write back into it.

    Raises:
        OutputError: it cannot be put there; the message says where the old and the new run are.
    """
    for attempt in range(_ATTEMPTS):
        old: Path | None = hidden_path(target, "old")
        try:
            target.rename(str(old))
        except FileNotFoundError:
            old = None
        try:
            beside.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and old is None and attempt < _ATTEMPTS - 1:
                continue
            raise OutputError(_stranded(beside, target, old, error)) from error
        break
    if old is not None:
        _keep(old, target, note)
        shutil.rmtree(old, ignore_errors=True)


def _stranded(beside: Path, target: Path, old: Path | None, error: OSError) -> str:
    """Where the old and the new run are after the new one could not be moved; both are kept."""
    (beside / _RUNNING).unlink(missing_ok=True)  # so it is no leftover
    told = f"{target}: the new run cannot be moved there ({error.strerror or error}); it is whole in {beside}"
    if old is None:
        return told
    try:
        old.rename(target)
    except OSError:
        return f"{told}. The run that was there is whole in {old}: rename one of them to {target}"
    return f"{told}. The run that was there is untouched"


def _keep(old: Path, target: Path, note: Note) -> None:
    """Move what a replaced run did not write into the run that replaced it.

    Raises:
        OutputError: something cannot be moved; it stays where it is, and the message says where.
    """
    kept: list[str] = []
    try:
        _keep_below(old, target, Path(), _written_by(old, target), kept)
    except OSError as error:
        raise OutputError(
            f"{target}: the run is whole, but files that it did not write cannot be moved back into it "
            f"({error.strerror or error}); they are in {old}"
        ) from error
    if kept:
        note(f"{target} held files that the run did not write, or that were changed since: {_listed(kept)} stay there.")


def _written_by(old: Path, target: Path) -> Callable[[str], bool]:
    """Whether a file of a replaced run, by its path in it, is what that run wrote."""
    try:
        listed = files_of(old)
    except ModelError:
        listed = {}  # it cannot be said what the run wrote, so all of it is kept
    if listed is not None:
        return lambda name: name in (FILE, _RUNNING) or (name in listed and _is_same(old / name, listed[name]))
    return lambda name: name in _FIXED or name.startswith("models/") or (target / name).is_file()


def _is_same(path: Path, expected: Mapping[str, Any]) -> bool:
    return not path.is_symlink() and path.stat().st_size == expected["size"] and checksum(path) == expected


def _keep_below(old: Path, target: Path, below: Path, is_written: Callable[[str], bool], kept: list[str]) -> None:
    with os.scandir(old / below) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = below / entry.name
        if entry.is_dir(follow_symlinks=False):
            if not os.path.lexists(target / name):
                (target / name).mkdir()
                _keep_below(old, target, name, is_written, kept)
                with contextlib.suppress(OSError):  # removed where nothing was kept and the run had made it
                    if any((old / name).iterdir()):
                        (target / name).rmdir()
                continue
            if (target / name).is_dir():
                _keep_below(old, target, name, is_written, kept)
                continue
        elif name.as_posix() in (FILE, _RUNNING) or is_written(name.as_posix()):
            continue
        place = _free(target / name)
        (old / name).rename(place)
        kept.append(place.relative_to(target).as_posix())


def _free(path: Path) -> Path:
    """`path`, or where the new run has a file of this name, `path` with .kept behind it."""
    taken, number = path, 1
    while os.path.lexists(taken):
        taken = path.with_name(f"{path.name}.kept{number if number > 1 else ''}")
        number += 1
    return taken
