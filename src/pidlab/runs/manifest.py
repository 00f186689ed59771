"""Manifest: the description of a run in its folder, and the check that its files are those that the run wrote.

`manifest.json` lists every other file of the run under `files`, with its SHA-256 and its size. Files are verified
before they are read, which finds damage: a flipped bit, a file that was cut short, edited, or taken from another run.
It does not find malice, since a person who changes a file can change its checksum too. The content of every file is
therefore checked as well, and nothing in a run is ever executed.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pidlab.errors import ModelError, PidlabError, UsageError
from pidlab.jsonfile import strict_json

FILE = "manifest.json"
KIND = "pidlab run"
SCHEMA = 1

_N_NAMED = 8  # models of a run in a sentence
_LARGEST = 200_000_000  # bytes of a manifest that are read
_READ_BY_MODELS = (".json", ".onnx", ".safetensors", ".ubj", ".xml", ".yaml")
_ADVICE = "copy the folder again from where it is whole, or make the run again"


def checksum(path: Path) -> dict[str, Any]:
    """Returns the SHA-256 and the size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"sha256": digest, "size": file.tell()}


def checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns path, with slashes, to checksum of every file of a run except the manifest and hidden files."""
    paths = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and not p.name.startswith("."))
    named = {path.relative_to(folder).as_posix(): path for path in sorted(paths)}
    return {name: checksum(path) for name, path in named.items() if name != FILE}


def read_manifest(run: Path) -> dict[str, Any]:
    """Returns the manifest of a run; empty if there is none.

    Raises:
        ModelError: the manifest is damaged, or of another version.
    """
    path = run / FILE
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise ValueError("it is no file, or too large")
        content = strict_json(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: is damaged ({error}); {_ADVICE}") from error
    if content.get("schema") != SCHEMA:
        raise ModelError(f"{path}: written by another version of pidlab (schema {content.get('schema')!r})")
    return content


def is_run(folder: Path) -> bool:
    """Returns whether `pidlab run` made this folder, judged by its manifest."""
    try:
        content = read_manifest(folder)
    except ModelError:
        return False
    # The first manifests did not say what they are; no other program writes all of these.
    old = {"pidlab": str, "packages": dict, "seeds": dict, "inputs": list}
    return content.get("kind") == KIND or all(isinstance(content.get(key), kind) for key, kind in old.items())


def refuse_other_folder(run: Path, *names: str) -> None:
    """Checks that `run` is the folder of a run, which has files and folders of these names.

    Raises:
        UsageError: one of them is not there.
    """
    try:
        found = all((run / name).is_file() if "." in name else (run / name).is_dir() for name in names)
    except OSError:  # a name that is too long, or a folder that the user may not enter
        found = False
    if not found:
        raise UsageError(
            f"{run}: is not the folder of a run; it has no {' and '.join(names)} (name what `pidlab run` wrote)"
        )


def files_of(run: Path) -> dict[str, dict[str, Any]] | None:
    """Returns path to checksum of the files that a run wrote; None if its version of pidlab did not list them.

    Raises:
        ModelError: the manifest is damaged.
    """
    listed = read_manifest(run).get("files")
    if listed is None:
        return None
    if not isinstance(listed, dict) or not all(map(_is_checksum, listed.values())):
        raise ModelError(f"{run / FILE}: its list of files is damaged; {_ADVICE}")
    return listed


def _is_checksum(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("size"), int):
        return False
    digest = value.get("sha256")
    return isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) is not None


def verify(run: Path, *names: str) -> bool:
    """Compares files of a run, and all files below folders of it, with the checksums of the manifest.

    Returns:
        False if the run is of a version that kept no checksums, so that nothing could be verified.

    Raises:
        ModelError: one is missing, is not what the run wrote, or was added; or the manifest is damaged.
    """
    listed = files_of(run)
    for place in (p for name in names for p in (run / name, *(run / name).rglob("*"))):
        if place.exists() and not place.is_file() and not place.is_dir():  # a pipe would be waited for without end
            raise ModelError(f"{place}: is no file; take it out of the folder")
    if listed is None:
        return False
    for name in names:
        below = f"{name}/"
        wanted = [path for path in listed if path == name or path.startswith(below)]
        if not wanted:
            raise ModelError(f"{run / name}: is none of the files that the run wrote; {_ADVICE}")
        for path in wanted:
            _compare(run / path, listed[path])
        for found in sorted(p for p in (run / name).rglob("*") if p.suffix in _READ_BY_MODELS):
            if found.relative_to(run).as_posix() not in listed and not found.name.startswith("."):
                raise ModelError(f"{found}: is none of the files that the run wrote; take it out of the folder")
    return True


def _compare(path: Path, expected: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: is missing, and the run wrote it; {_ADVICE}")
    try:
        same_size = path.stat().st_size == expected["size"]
        if same_size and checksum(path) == {"sha256": expected["sha256"], "size": expected["size"]}:
            return
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
    raise ModelError(
        f"{path}: is not the file that the run wrote (its checksum is not the one in {FILE}): damaged or changed; "
        f"{_ADVICE}"
    )


@contextmanager
def from_run(run: Path) -> Iterator[None]:
    """Turns errors of Python in the block, which come from damaged files of a run, into one that says so.

    Raises:
        ModelError: in place of what the block raises, unless that is a PidlabError.
    """
    try:
        yield
    except PidlabError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ModelError(
            f"{run}: what its files hold does not fit together ({reason}); {_ADVICE}. "
            "If nobody changed them, this is a fault of pidlab: please report what --debug shows"
        ) from error


def input_differences(then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields a sentence for each difference between the inputs of two manifests."""
    if len(then) != len(now):
        yield f"inputs: {len(then)} then, {len(now)} now"
    for old, new in zip(then, now, strict=False):
        place = f"{new['file']}:{new['tree']}"
        if (old["file"], old["tree"]) != (new["file"], new["tree"]):
            yield f"input: {old['file']}:{old['tree']} then, {place} now"
        if old["entries"] != new["entries"]:
            yield f"{place}: {old['entries']:,} entries then, {new['entries']:,} now"
        for branch in dict.fromkeys([*old["hashes"], *new["hashes"]]):
            if old["hashes"].get(branch) != new["hashes"].get(branch):
                yield f"{place}: the values of branch {branch!r} are not what they were"


def said_of(run: Path) -> str:
    """Returns what a finished run is in a few words: when it was made, and of which models.

    Raises:
        ModelError: the manifest is damaged.
    """
    started = read_manifest(run).get("started")
    when = f" of {started[:19].replace('T', ' ')} UTC" if isinstance(started, str) else ""
    models = sorted(path.name for path in (run / "models").glob("*") if path.is_dir())
    named = f" with {', '.join(models[:_N_NAMED])}{' …' if len(models) > _N_NAMED else ''}" if models else ""
    return f"the run{when}{named}"
