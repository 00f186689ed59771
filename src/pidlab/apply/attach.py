"""Attach: two small files that open inputs and their friends together, in ROOT and in Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pidlab.apply.outputs import Summary, friend_name
from pidlab.atomic import write_text
from pidlab.credentials import address_without_secrets
from pidlab.expressions.literals import cpp_comment, cpp_string, python_string

Row = tuple[str, str, str, str]

_ROOT = """\
/// The inputs with pidlab's friend trees beside them, as one chain. Nothing is copied or changed.
///
///     root -l attach.C
///     root [1] TChain *events = attach();
///     root [2] events->Draw("{branch}")
///
/// tree    the inputs' tree, where they have several; left out: {tree}
///
/// A branch of a friend is called as it is, or FRIEND.BRANCH where an input has one of that name too. Returns null
/// where no input has the tree. Inputs below the folder of this file are found wherever both are moved; the others
/// stand here with their whole paths. Written by `pidlab apply`, which replaces this file.

#include <TChain.h>
#include <TError.h>
#include <TString.h>
#include <TSystem.h>

#include <cstring>

namespace pidlab_attach {{

// input, its tree, friend, its tree
const char *const rows[][4] = {{
{rows}
}};

TString place(const TString &path)
{{
   if (path.Contains("://") || gSystem->IsAbsoluteFileName(path))
      return path;
   return TString(gSystem->GetDirName(__FILE__)) + "/" + path;
}}

}} // namespace pidlab_attach

TChain *attach(const TString &tree = {first})
{{
   TChain *chain = new TChain(tree), *friends = nullptr;
   for (auto &row : pidlab_attach::rows) {{
      if (tree != row[1])
         continue;
      if (!friends)
         friends = new TChain(row[3]);
      for (int i : {{0, 2}}) {{
         const TString path = pidlab_attach::place(row[i]);
         if (!path.Contains("://") && strpbrk(path.Data(), "#?$")) {{
            ::Error("attach", "ROOT cannot open '%s': it takes #, ? and $ for something else; rename it", path.Data());
            delete chain;
            delete friends;
            return nullptr;
         }}
         (i ? friends : chain)->AddFile(path);
      }}
   }}
   if (!friends) {{
      ::Error("attach", "no input has a tree %s", tree.Data());
      delete chain;
      return nullptr;
   }}
   chain->AddFriend(friends);
   return chain;
}}
"""

_PYTHON = '''\
"""The inputs with pidlab's friend trees beside them, through uproot. Nothing is copied or changed.

    from attach import iterate

    for events in iterate(["{feature}"]):
        events["{feature}"], events["{score}"]

Inputs below the folder of this file are found wherever both are moved; the others stand here with their whole paths.
Written by `pidlab apply`, which replaces this file.
"""

from pathlib import Path

ROWS = [  # input, its tree, friend, its tree
{rows}
]


def place(path):
    """The address or path of a row, whatever folder this is run in."""
    return path if "://" in path else str(Path(__file__).resolve().parent / path)


def rows(tree={first}):
    """Input, its tree, friend and its tree, for each input that has this tree."""
    return [(place(path), name, place(friend), own) for path, name, friend, own in ROWS if name == tree]


def iterate(branches=None, scores=None, tree={first}, step=200_000):
    """Arrays of input and friend side by side, `step` entries at a time.

    branches and scores are lists of names in the input and in the friend; None for all. Where both have a branch of a
    name, it is the input's.
    """
    import awkward
    import uproot

    for path, name, friend, own in rows(tree):
        with uproot.open({{path: name}}) as left, uproot.open({{friend: own}}) as right:
            for start in range(0, left.num_entries, step):
                part = {{"entry_start": start, "entry_stop": min(start + step, left.num_entries)}}
                events = left.arrays(filter_name=branches, **part)
                beside = right.arrays(filter_name=scores, **part)
                columns = {{key: beside[key] for key in beside.fields}} | {{key: events[key] for key in events.fields}}
                yield awkward.zip(columns, depth_limit=1)
'''


def write_attach(output: Path, summaries: Sequence[Summary]) -> None:
    """Writes `attach.C` and `attach.py` for the ROOT files among the inputs, if there are any.

    Raises:
        OutputError: they cannot be written.
    """
    rows = list(_rows(output, summaries))
    if not rows:
        return
    first = rows[0]
    score = next((f"pid_{model}" for s in summaries for model in s.n_passed), "pid_selected")
    in_root = ",\n".join("   {" + ", ".join(map(cpp_string, row)) + "}" for row in rows)
    in_python = "\n".join(f"    ({', '.join(map(python_string, row))})," for row in rows)
    names = {"tree": cpp_comment(first[1]), "branch": cpp_comment(f"{first[3]}.{score}")}
    write_text(output / "attach.C", _ROOT.format(rows=in_root, first=cpp_string(first[1]), **names))
    text = _PYTHON.format(rows=in_python, first=python_string(first[1]), feature="p", score=score)
    write_text(output / "attach.py", text)


def _rows(output: Path, summaries: Iterable[Summary]) -> Iterable[Row]:
    folder = output.resolve()
    for s in summaries:
        if s.source.is_root:
            friend = s.target.resolve().relative_to(folder).as_posix()
            yield _from(folder, s.source.path), s.source.tree, friend, friend_name(s.source)


def _from(folder: Path, path: str) -> str:
    """Returns a path as a file in `folder` names it: relative for what lies below the folder, else absolute."""
    if "://" in path:
        return address_without_secrets(path)
    whole = Path(path).parent.resolve() / Path(path).name
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)
