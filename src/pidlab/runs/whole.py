"""Whole: the folder of a run appears whole or not at all, and files that a user put into it are kept."""

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
from pidlab.runs.manifest import FILE, checksum, files_of, is_run, said_of

_RUNNING = ".running"  # locked for as long as the process that writes a folder lives
_ATTEMPTS = 5  # of two runs that end in the same folder at the same moment
_N_NAMED = 5
# Files of runs by early versions, which kept no list of files. Their figures and friends are replaced only by new ones.
_FIXED = frozenset({"config.yaml", "events.safetensors", "metrics.json", "report.html", "results.json", "results.root"})

Note = Callable[[str], None]


@contextlib.contextmanager
def whole_folder(target: Path, note: Note = lambda sentence: None) -> Iterator[Path]:
    """Gives a new folder that takes the place of `target` if the block ends well, and is removed if it does not.

    A symbolic link is followed. A run in `target` is replaced; its files that it did not write, or that were changed
    since, are kept and named to `note`.

    Raises:
        OutputError: `target` cannot be written, or is something else than a run.
    """
    target = Path(os.path.realpath(target))
    before = "the run that was there is untouched" if is_run(target) else "nothing was left there"
    made: Path | None = None
    try:
        _sweep(target, note)
        _refuse_foreign(target)
        if is_run(target):
            note(f"{target} holds {said_of(target)}, which is replaced when the new one is whole.")
        made, lock = _new_folder(target)
        with lock:
            with _named_by(target, made):
                yield made
            _replace(made, target, note)
            (target / _RUNNING).unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None:  # raised by a library that could not be loaded
            raise
        raise OutputError(f"{target}: cannot be written ({error.strerror or error}); {before}") from error
    finally:
        if made is not None and (made / _RUNNING).exists():
            shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def filled_folder(target: Path, *, into_a_run: bool = False) -> Iterator[Path]:
    """Gives a new folder whose files go to `target` if the block ends well; if it does not, `target` is as it was.

    Files of the same names are replaced, and all others stay. What killed processes left in `target` is removed.

    Args:
        target: the folder to fill, which is made if it does not exist.
        into_a_run: whether it may be the folder of a run, none of whose files has the name of a new one.

    Raises:
        OutputError: `target` cannot be written, or is the folder of a run.
    """
    if not into_a_run:
        refuse_run(target)
    made: Path | None = None
    was_there = os.path.lexists(target)
    try:
        target.mkdir(parents=True, exist_ok=True)
        inside = target / "new"
        _sweep(inside, lambda sentence: None)
        made, lock = _new_folder(inside)
        with lock:
            with _named_by(target, made):
                yield made
            for path in sorted(p for p in made.rglob("*") if p.is_file() and p.name != _RUNNING):
                place = target / path.relative_to(made)
                place.parent.mkdir(parents=True, exist_ok=True)
                path.replace(place)
    except OSError as error:
        if error.errno is None:
            raise
        raise OutputError(
            f"{target}: cannot be written ({error.strerror or error}); choose another place with -o"
        ) from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        if not was_there:
            with contextlib.suppress(OSError):  # it has been filled
                target.rmdir()


@contextlib.contextmanager
def _named_by(target: Path, made: Path) -> Iterator[None]:
    """Lets an error of a file in the hidden folder `made`, which will be gone, name its place in `target`."""
    try:
        yield
    except OutputError as error:
        raise OutputError(str(error).replace(str(made), str(target))) from error


def refuse_run(target: Path) -> None:
    """Checks that a folder is none of a run, whose files would be replaced by others of the same names.

    Raises:
        OutputError: it is.
    """
    if is_run(target):
        raise OutputError(f"{target}: is the folder of a run, which would lose files; choose another folder with -o")


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


def _new_folder(target: Path) -> tuple[Path, IO[bytes]]:
    """Returns a new folder next to `target`, and the lock by which other processes see that it is being written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        made = hidden_path(target)
        made.mkdir()
        lock = (made / _RUNNING).open("x+b")
        with contextlib.suppress(OSError):  # a file system without locks, where nothing is swept either
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (made / _RUNNING).exists():
            return made, lock
        lock.close()  # another process swept it away before it was locked


def _is_live(folder: Path) -> bool:
    """Returns whether a process writes this folder, on this machine or another; true if that cannot be found out."""
    try:
        with (folder / _RUNNING).open("rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _sweep(target: Path, note: Note) -> None:
    """Removes what killed processes left behind, and finishes a replacement that one of them had begun."""
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
        return  # another process may be replacing it
    for old in replaced:
        if not target.exists():
            old.rename(target)
        elif is_run(target):
            _keep(old, target, note)
            shutil.rmtree(old, ignore_errors=True)


def _replace(made: Path, target: Path, note: Note) -> None:
    """Replaces `target` by the folder `made`, and keeps what the replaced run did not write.

    Raises:
        OutputError: the folder cannot be moved; the message says where the old and the new run are.
    """
    for attempt in range(_ATTEMPTS):
        old: Path | None = hidden_path(target, "old")
        try:
            target.rename(str(old))
        except FileNotFoundError:
            old = None
        try:
            made.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and old is None and attempt < _ATTEMPTS - 1:
                continue
            raise OutputError(_not_moved(made, target, old, error)) from error
        break
    if old is not None:
        _keep(old, target, note)
        shutil.rmtree(old, ignore_errors=True)


def _not_moved(made: Path, target: Path, old: Path | None, error: OSError) -> str:
    """Restores the old run if possible, and says where it and the new run are."""
    (made / _RUNNING).unlink(missing_ok=True)  # so that it is not swept as a leftover
    message = f"{target}: the new run cannot be moved there ({error.strerror or error}); it is whole in {made}"
    if old is None:
        return message
    try:
        old.rename(target)
    except OSError:
        return f"{message}. The run that was there is whole in {old}: rename one of them to {target}"
    return f"{message}. The run that was there is untouched"


def _keep(old: Path, target: Path, note: Note) -> None:
    """Moves what a replaced run did not write into the run that replaced it.

    Raises:
        OutputError: a file cannot be moved; the message says where it is.
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
    """Returns a function that tells whether a file of a replaced run, by its path in it, is as that run wrote it."""
    try:
        listed = files_of(old)
    except ModelError:
        listed = {}  # what the run wrote is not known, so everything is kept
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
                with contextlib.suppress(OSError):  # removed if nothing was kept in it
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
    """Returns `path`, or if the new run has a file of this name, `path` with .kept behind it."""
    taken, number = path, 1
    while os.path.lexists(taken):
        taken = path.with_name(f"{path.name}.kept{number if number > 1 else ''}")
        number += 1
    return taken
