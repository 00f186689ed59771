"""Starter: a commented configuration that is written for one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pidlab.expressions.literals import yaml_comment, yaml_string
from pidlab.expressions.operations import CONSTANTS
from pidlab.read.inspection import BranchSummary, TableSummary, shortest

_LABEL_NAMES = (
    "species", "label", "class", "target", "pid", "particle", "issignal", "is_signal", "type", "pdg", "truth",
)  # fmt: skip
_RUN_NAMES = ("run", "runnumber", "run_number", "runno")
_EVENT_NAMES = ("event", "eventnumber", "event_number", "evt", "evtnum", "eventid", "event_id")
_WEIGHT_NAMES = ("w", "weight", "weights", "genweight", "evtweight", "eventweight", "event_weight")
_NUMBERS = ("float", "int", "unsigned", "bool")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""Words that some readers of YAML do not take for texts."""


def starter_configuration(file: str, tree: str, summary: TableSummary, columns: Sequence[str] = ()) -> str:
    """Returns the text of a configuration, which runs without changes if a branch looks like the true class.

    Args:
        file: the file to be read.
        tree: its tree or table.
        summary: what the table holds.
        columns: the invented names of columns that the file does not name.
    """
    usable = [b for b in summary.branches if b.kind in _NUMBERS and "`" not in b.name]
    keys = _named(usable, _RUN_NAMES)[:1] + _named(usable, _EVENT_NAMES)[:1]
    event_id = [b.name for b in keys if not b.kind.startswith("float")]
    weight = next((b.name for b in _named(usable, _WEIGHT_NAMES) if not b.is_constant), None)
    collections = _collections(summary.branches)
    counters = {f"n{name}" for name in collections}
    label = _label([b for b in summary.branches if (b in usable or b.words) and b.name not in counters], event_id)
    taken = {*event_id, weight, label.name if label else None}
    features = [b for b in usable if b.name not in taken and not b.is_constant and "weight" not in b.name.lower()]
    lines = [
        f"# Written for {yaml_comment(f'{Path(file).name}, tree {tree}')}: {summary.n_entries:,} entries.",
        "# Every key is explained in the reference; unknown keys are refused with their place.",
        "data:",
        f"  files: {yaml_string(file)}",
        f"  tree: {yaml_string(tree)}",
        *([f"  columns: {_yaml_list(columns)}      # invented: the file names none"] if columns else ()),
        *_data_lines(event_id, weight),
        *(f"  # per: {name}      # one row a candidate; then {name}_… are plain numbers" for name in collections),
        "",
        *_class_lines(label),
        "",
        "# selection:                      # named cuts, in order: the cut flow",
        '#   acceptance: "abs(dp) < 15"',
        "",
        "features:                         # what the models may look at; delete what is not known before the PID",
        *(line for b in features for line in _feature_lines(b)),
        *_left_out(summary, taken, {b.name for b in features}),
        "# spectators: [p]                 # carried along for efficiency maps, never trained on",
        "",
        "models:",
        "  cuts: {type: cuts}",
        "  fisher: {type: fisher}",
        "  bdt: {type: bdt}",
        "  mlp: {type: mlp}",
        '  # hand: {type: expression, cut: "a > 0.75 && b > 2"}     # your own cuts, as they are',
    ]
    return "\n".join(lines) + "\n"


def _collections(branches: Sequence[BranchSummary]) -> list[str]:
    """Returns the collections of a NanoAOD-like table: X if a branch nX counts the entries of X_…"""
    names = {b.name for b in branches}
    prefixes = dict.fromkeys(b.name.partition("_")[0] for b in branches if "[" in b.kind and "_" in b.name)
    return [prefix for prefix in prefixes if f"n{prefix}" in names and _PLAIN_NAME.fullmatch(prefix)]


def _named(branches: Sequence[BranchSummary], names: Sequence[str]) -> list[BranchSummary]:
    """Returns the branches whose last dotted part is one of `names`, in the order of the names."""
    last = {b.name.rsplit(".", 1)[-1].lower(): b for b in reversed(branches)}
    return [last[name] for name in names if name in last]


def _label(branches: Sequence[BranchSummary], event_id: Sequence[str]) -> BranchSummary | None:
    """Returns the branch that is named like a true class, else the only one with a few integers or words, or None."""
    candidates = [b for b in branches if (b.labels or b.words) and b.name not in event_id]
    named = _named(candidates, _LABEL_NAMES)
    if named:
        return named[0]
    return candidates[0] if len(candidates) == 1 else None


def _data_lines(event_id: Sequence[str], weight: str | None) -> list[str]:
    lines = []
    if event_id:
        lines.append(
            f"  event_id: {_yaml_list(event_id)}      # decides the split: the same event always falls on the same side"
        )
    else:
        lines.append("  # event_id: [run, event]        # integer branches; left out: file and entry number")
    lines.append(f"  weight: {yaml_string(_quoted(weight))}" if weight else '  # weight: "w"')
    return lines


def _class_lines(label: BranchSummary | None) -> list[str]:
    if label is None:
        return [
            "# No branch looks like the true class. Name the classes by expressions, or give each its own files.",
            "classes:",
            '#  electron: "species == 0"',
            "#  pion: {files: pions.root}",
        ]
    values: Sequence[int | str] = label.labels or label.words
    shown = ", ".join(map(str, values))
    lines = [f"classes:                          # {yaml_comment(f'{label.name} has the values {shown}')}"]
    stem = re.sub(r"[^A-Za-z0-9_]", "_", label.name)
    for i, value in enumerate(values):
        name = re.sub(r"[^A-Za-z0-9_]", "_", f"{stem}_{value}".replace("-", "minus_"))[:90]
        name = f"class_{name}" if name[0].isdigit() else name
        name = name if f"  {name}:" not in "\n".join(lines) else f"{name}_{i}"
        written = value if isinstance(value, int) else f"'{value}'" if "'" not in value else f'"{value}"'
        lines.append(f"  {name}: {yaml_string(f'{_quoted(label.name)} == {written}')}")
    return [*lines, "# signal:                         # left out: the first class"]


def _feature_lines(branch: BranchSummary) -> list[str]:
    remark = f"   # {yaml_comment('; '.join(branch.remarks))}" if branch.remarks else ""
    if branch.codes:
        codes = ", ".join(shortest(value) for value, _ in branch.codes)
        expression = yaml_string(_quoted(branch.name))
        return [f"  - {{name: {yaml_string(branch.name)}, expression: {expression}, missing: [{codes}]}}{remark}"]
    if _quoted(branch.name) == branch.name:
        written = yaml_string(branch.name) if branch.name.lower() in _YAML_WORDS else branch.name
        return [f"  - {written}{remark}"]
    return [f"  - {{name: {yaml_string(branch.name)}, expression: {yaml_string(_quoted(branch.name))}}}{remark}"]


def _left_out(summary: TableSummary, taken: set[str | None], features: set[str]) -> list[str]:
    lines = []
    for b in summary.branches:
        if b.name in taken or b.name in features:
            continue
        why = b.kind if b.kind not in _NUMBERS else "constant" if b.is_constant else "a weight, by its name"
        why = "expressions cannot hold its name" if "`" in b.name else why
        advice = "; take an element x[0], a reduction such as Max$(x), or `per:`" if "[" in b.kind else ""
        lines.append(f"# left out: {yaml_comment(f'{b.name} ({why}{advice})')}")
    return lines


def _yaml_list(names: Sequence[str]) -> str:
    return f"[{', '.join(map(yaml_string, names))}]"


def _quoted(name: str | None) -> str:
    """Returns a branch name as an expression."""
    assert name is not None
    return name if _PLAIN_NAME.fullmatch(name) and name not in CONSTANTS else f"`{name}`"
