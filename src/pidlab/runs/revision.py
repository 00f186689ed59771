"""Revision: the git commit of a folder, found without running anything that the repository asks for.

The settings of a repository name programs that git runs (`core.fsmonitor`, hooks, filters, `include.path`), and a
folder from elsewhere may hold a repository. So the commit is read from its files. Whether tracked files have changed
is found by git in an empty repository without settings, which sees the same index, objects and files, and only if the
repository belongs to the user.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REFERENCE = re.compile(r"refs/[A-Za-z0-9_./@+\-]+")
_MOST_BYTES = 50_000_000  # of packed-refs, the largest of these files
_LARGEST_INDEX = 200_000_000  # bytes of an index that is copied to be compared
_MOST_STEPS = 5  # from one symbolic reference to the next
_SECONDS = 10


def revision_of(folder: Path) -> dict[str, Any] | None:
    """Returns {"commit", "clean"} of the repository that holds a folder; None if there is none.

    `clean` is None if it is not known.
    """
    try:
        found = next(_repositories(folder.resolve()), None)
        if found is None:
            return None
        top, directory = found
        commit = _commit(directory)
        return None if commit is None else {"commit": commit, "clean": _clean(top, directory, commit)}
    except (OSError, ValueError):
        return None


def _repositories(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yields (top folder, git directory) of the folder and of those above it."""
    for top in (folder, *folder.parents):
        marker = top / ".git"
        if marker.is_dir():
            yield top, marker
        elif marker.is_file():  # of a worktree or a submodule
            text = _text(marker).strip()
            if text.startswith("gitdir: "):
                yield top, top / text.removeprefix("gitdir: ")


def _text(path: Path) -> str:
    """Returns the text of a small regular file; files that could block or never end are not opened."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
        raise ValueError(f"{path} is no small file")
    return path.read_text(encoding="utf-8", errors="replace")


def _common(directory: Path) -> Path:
    """Returns the directory of references and objects, which a worktree shares with its repository."""
    pointer = directory / "commondir"
    return directory / _text(pointer).strip() if pointer.is_file() else directory


def _commit(directory: Path) -> str | None:
    common = _common(directory)
    text = _text(directory / "HEAD").strip()
    for _ in range(_MOST_STEPS):
        if not text.startswith("ref: "):
            return text if _COMMIT.fullmatch(text) else None
        name = text.removeprefix("ref: ").strip()
        if not _REFERENCE.fullmatch(name) or ".." in name:
            return None
        loose = next((p for p in (directory / name, common / name) if p.is_file()), None)
        text = _text(loose).strip() if loose else _packed(common / "packed-refs", name)
    return None


def _packed(path: Path, name: str) -> str:
    lines = (line.split(" ") for line in (_text(path) if path.is_file() else "").splitlines())
    return next((parts[0] for parts in lines if len(parts) == 2 and parts[1] == name), "")


def _clean(top: Path, directory: Path, commit: str) -> bool | None:
    """Returns whether no tracked file differs from the commit; None if git cannot say."""
    git, common = shutil.which("git"), _common(directory).resolve()
    owned = all(path.stat().st_uid == os.getuid() for path in (top, directory, common))
    index, objects = directory / "index", common / "objects"
    whole = index.is_file() and index.stat().st_size <= _LARGEST_INDEX and objects.is_dir()
    if git is None or not owned or not whole or "\n" in str(objects):
        return None
    with tempfile.TemporaryDirectory(prefix="pidlab-revision-") as name:
        own = Path(name)
        for made in ("objects/info", "refs"):
            (own / made).mkdir(parents=True)
        hexadecimal = "\trepositoryformatversion = 0\n" if len(commit) == 40 else "\trepositoryformatversion = 1\n"
        extension = "" if len(commit) == 40 else "[extensions]\n\tobjectFormat = sha256\n"
        (own / "config").write_text(f"[core]\n{hexadecimal}\tbare = false\n{extension}", encoding="utf-8")
        (own / "HEAD").write_text(f"{commit}\n", encoding="utf-8")
        (own / "objects/info/alternates").write_bytes(os.fsencode(objects) + b"\n")
        shutil.copyfile(index, own / "index")
        for shared in directory.glob("sharedindex.*"):
            shutil.copyfile(shared, own / shared.name)
        words = [git, f"--git-dir={own}", f"--work-tree={top}", "status", "--porcelain"]
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "HOME": str(own),
        }
        # Submodules have settings of their own, and git would read them.
        words += ["--untracked-files=no", "--ignore-submodules=all"]
        try:
            done = subprocess.run(
                words,
                cwd=own,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return None if done.returncode else not done.stdout.strip()
