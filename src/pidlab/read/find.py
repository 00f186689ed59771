"""Find: the inputs that the paths, patterns and addresses of a configuration mean."""

from __future__ import annotations

import errno
import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pidlab.errors import DataError, PidlabError, UsageError, nearest
from pidlab.read.formats import invented_columns, takes_columns, trees_in
from pidlab.read.root.file import named_tree
from pidlab.read.source import Source, has_trees, is_database

_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*://")
_WITH_TREE = re.compile(r"^(?P<path>.+\.[A-Za-z0-9]+):(?P<tree>[^:]+)$")
_HOST = re.compile(r"^[a-z][a-z0-9+.-]*://[^/]*")
_PLACES = ("{stem}", "{folder}", "{tree}")
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


def split_tree(text: str) -> tuple[str, str | None]:
    """Returns `file.root:tree` as ("file.root", "tree"); without a tree, (text, None)."""
    if not _ADDRESS.match(text) and _exists(text):
        return text, None
    host = match[0] if (match := _HOST.match(text)) else ""
    rest = text[len(host) :]
    if is_database(text):
        path, colon, tree = rest.rpartition(":")
        return (host + path, tree) if colon and path.strip("/") else (text, None)
    parts = _WITH_TREE.match(rest)
    return (host + parts["path"], parts["tree"]) if parts else (text, None)


def find_sources(
    files: str | Sequence[str], tree: str | None, folder: Path, columns: Sequence[str] | None = None
) -> list[Source]:
    """Returns the trees that `files` mean, in order.

    Args:
        files: paths, globs, `file.root:tree`, addresses or `@FILE`, a list of these.
        tree: the tree or table of files that hold several.
        folder: the folder to which paths are relative.
        columns: names for the columns of files that do not name them.

    Raises:
        DataError: a file is missing or cannot be read, or several of its trees could be meant.
    """
    sources = []
    for text in _unlisted([files] if isinstance(files, str) else files, folder):
        pattern, own_tree = split_tree(absolute(text, folder))
        for path in _paths(pattern, text):
            names = tuple(columns or ()) if takes_columns(path) else ()
            known = trees_in(path, names)
            chosen, n_entries = _choose_tree(path, own_tree or (tree if has_trees(path) else None), known)
            sources.append(Source(path, chosen, names, is_alone=len(known) == 1, n_entries=n_entries))
    doubled = {s for s in sources if sources.count(s) > 1}
    if doubled:
        raise DataError(f"{min(doubled)}: named twice; its events would count double. Name each input once")
    return chained(sources)


def chained(sources: Sequence[Source]) -> list[Source]:
    """Returns the sources in the order of a TChain, each with the number of entries before its own."""
    found, before = [], 0
    for source in sources:
        found.append(replace(source, first_entry=before))
        before += source.n_entries
    return found


def _unlisted(texts: Sequence[str], folder: Path) -> list[str]:
    """Returns the texts with each `@FILE` replaced by the lines of that file, which are relative to its folder.

    Raises:
        DataError: a list cannot be read.
    """
    found: list[str] = []
    for text in texts:
        if not text.startswith("@"):
            found.append(text)
            continue
        path = folder / text.removeprefix("@")
        found += [absolute(line, path.parent) for line in lines_of(path, DataError)]
    return found


def lines_of(path: Path, refusal: type[PidlabError]) -> list[str]:
    """Returns the lines of a list of inputs, without those that are empty or comments.

    Raises:
        refusal: the list cannot be read.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise refusal(f"{path}: this list of inputs cannot be read ({why}); it has one path a line") from error
    return [line for line in lines if line and not line.startswith("#")]


def each_path(text: str, folder: Path) -> list[str]:
    """Returns one text for each file that a path, pattern or `file.root:tree` means; the files are not opened.

    Raises:
        DataError: there is no such file, or none matches the pattern.
    """
    pattern, tree = split_tree(absolute(text, folder))
    return [f"{path}:{tree}" if tree is not None else path for path in _paths(pattern, text)]


def absolute(text: str, folder: Path) -> str:
    """Returns a path or address of a configuration in `folder` as one that is valid from any working folder."""
    if text.startswith("@"):
        return f"@{folder / text.removeprefix('@')}"
    if text.startswith("sqlite:///") and not text.startswith("sqlite:////"):
        return f"sqlite:///{(folder / text.removeprefix('sqlite:///')).absolute()}"
    return text if _ADDRESS.match(text) or text.startswith("{folder}") else str(folder / text)


def find_all(text: str) -> list[Source]:
    """Returns every tree of the files that `FILE[:TREE]` means, or the one tree that it names.

    The columns of a file that does not name them are called column_1, column_2, …

    Raises:
        DataError: a file is missing or cannot be read, or there is no such tree.
    """
    pattern, tree = split_tree(absolute(text, Path()))
    sources = []
    for path in _paths(pattern, text):
        columns = invented_columns(path)
        known = trees_in(path, columns)
        chosen = [_choose_tree(path, tree, known)] if tree is not None else known.items()
        sources += [Source(path, name, columns, is_alone=len(known) == 1, n_entries=n) for name, n in chosen]
    if not sources:
        raise DataError(f"{text}: holds no tree")
    return sources


def find_one(text: str) -> Source:
    """Returns the one tree that `FILE[:TREE]` means, as `find_all` does.

    Raises:
        DataError: a file is missing or cannot be read, or there are several trees.
    """
    sources = find_all(text)
    if len(sources) > 1:
        listed = ", ".join(map(str, sources[:8]))
        raise DataError(f"{text}: means several trees: {listed}; name one, as FILE:TREE, or several, each of one class")
    return sources[0]


def with_friends(
    sources: Sequence[Source], friends: Sequence[str], folder: Path, event_id: Sequence[str] = ()
) -> dict[Source, Source]:
    """Returns each source with the friend trees that `data.friends` names for it.

    `{stem}`, `{folder}` and `{tree}` in a friend are replaced by those of the input. Without them, a single input has
    all of the friends, and several inputs have one each, in order. Entries are matched by the branches `event_id` if a
    friend has them.

    Raises:
        UsageError: the number of friends does not say which friend belongs to which input.
        DataError: a friend is missing, or holds several trees.
    """
    fixed = [text for text in friends if not has_place(text)]
    by_order = bool(fixed) and len(sources) > 1
    if by_order and (len(fixed) < len(friends) or len(fixed) != len(sources)):
        where = f"{fixed[0]!r} would be the friend of {len(sources)} inputs"
        raise UsageError(f"data.friends: {where}; write {{stem}} for the input's name, or name one friend an input")
    befriended = {}
    for i, source in enumerate(sources):
        found = tuple(_friend(text, source, folder) for text in ([friends[i]] if by_order else friends))
        befriended[source] = replace(source, friends=found, event_id=tuple(event_id))
    return befriended


def has_place(friend: str) -> bool:
    """Returns whether the friend's name depends on that of the input."""
    return any(place in friend for place in _PLACES)


def _friend(text: str, source: Source, folder: Path) -> Source:
    own_folder = str(Path(source.path).absolute().parent) if "://" not in source.path else source.path.rsplit("/", 1)[0]
    host = match[0] if (match := _HOST.match(text)) else ""
    if _ADDRESS.match(text) and "://" not in source.path and ("{folder}" in text or has_place(host)):
        leak = f"{text!r} would tell a server the folder or, as a part of its own name, the name of {source}"
        raise UsageError(f"data.friends: {leak}; write {{stem}} behind the server's name, or fetch the friends first")
    filled = text.replace("{stem}", source.stem).replace("{folder}", own_folder)
    filled = filled.replace("{tree}", source.tree.rsplit("/", 1)[-1])
    try:
        found = find_sources([filled], None, folder)
    except DataError as error:
        raise DataError(f"data.friends: {text!r} for {source}: {error}") from error
    if len(found) != 1:
        raise DataError(f"data.friends: {text!r} for {source}: means {len(found)} files; name one")
    return found[0]


def _paths(pattern: str, written: str) -> list[str]:
    if _ADDRESS.match(pattern):
        if "*" in pattern and not is_database(pattern):
            raise DataError(f"{pattern}: patterns are for files on this machine; name each address")
        return [pattern]
    _refuse_unreachable(pattern, written)
    if Path(pattern).is_dir():
        raise DataError(f"{pattern}: is a folder; name its files, for example {written.rstrip('/')}/*.root")
    if Path(pattern).exists() and not Path(pattern).is_file():
        raise DataError(f"{pattern}: is a pipe or a device, which is read from its beginning only; name a file")
    if Path(pattern).exists():
        return [pattern]
    if glob.has_magic(pattern):
        found = sorted(glob.glob(pattern, recursive=True))
        if found:
            return found
        raise DataError(f"{pattern}: no file matches this pattern")
    parent = Path(pattern).parent
    if not parent.is_dir():
        raise DataError(f"{pattern}: no such file; the folder {parent} does not exist either")
    hint = nearest(Path(pattern).name, [p.name for p in parent.iterdir() if p.is_file()])
    raise DataError(f"{pattern}: no such file" + (f"; {hint}" if hint else ""))


def _exists(path: str) -> bool:
    """Returns whether there is such a file; False, too, for what is too long for a path or not to be looked at."""
    try:
        return Path(path).exists()
    except OSError:
        return False


def _refuse_unreachable(path: str, written: str) -> None:
    """Checks that the system can say whether there is a file of this name.

    Raises:
        DataError: the name is too long, or leads through a folder that the user may not enter.
    """
    try:
        Path(path).stat()
    except ValueError as error:
        raise DataError(f"{written[:60]}: holds a null byte, which no file name does") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f"{written[:60]}…: no file has a name of so many characters; name a file") from error
        if error.errno not in _NOT_THERE:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _choose_tree(path: str, tree: str | None, known: Mapping[str, int]) -> tuple[str, int]:
    """Returns the name of the tree `tree`, which may name a cycle, or of the only one, and its number of entries."""
    shown = Source(path, "").place
    if not known:
        raise DataError(f"{shown}: holds no tree")
    if tree is None:
        if len(known) > 1:
            listed = ", ".join(f"{name} ({n:,} entries)" for name, n in sorted(known.items()))
            raise DataError(f"{shown}: holds several trees: {listed}; say which with `tree:` or {shown}:TREE")
        return next(iter(known.items()))
    is_root = Source(path, "").is_root
    wanted = tree.strip("/") if is_root else tree
    if is_root and ";" in wanted and wanted not in known:
        return named_tree(path, wanted)
    if wanted not in known:
        raise DataError(f"{shown}: no tree {tree!r}; {nearest(wanted, known)}")
    return wanted, known[wanted]
