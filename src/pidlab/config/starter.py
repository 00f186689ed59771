"""Starter: a commented configuration that is written for one file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pidlab.expressions.literals import branch_expression, can_be_named, numbered, yaml_comment, yaml_string
from pidlab.expressions.operations import CONSTANTS
from pidlab.read.candidates import prefix_of
from pidlab.read.inspection import BranchSummary, TableSummary, shortest
from pidlab.read.source import stem_of

_LABEL_NAMES = (
    "species", "label", "class", "target", "pid", "particle", "issignal", "is_signal", "issig", "is_sig", "signal",
    "type", "pdg", "truth", "y",
)  # fmt: skip
_NUMBERED_NAMES = ("species", "pid", "particle", "type", "pdg")
"""Labels whose numbers name particles; of every other label with two values, 1 is the signal."""
_RUN_NAMES = ("run", "runnumber", "run_number", "runno", "run_no", "runnum", "run_num", "runid", "run_id")
_EVENT_NAMES = (
    "event", "eventnumber", "event_number", "evt", "evtnum", "evtnumber", "eventid", "event_id", "evtno", "evt_no",
    "evno", "eventno", "event_no", "eventnum", "event_num", "evnum", "evtid", "evt_id",
)  # fmt: skip
_IDENTIFIERS = frozenset({
    *_RUN_NAMES, *_EVENT_NAMES, "lumi", "lumiblock", "lumi_block", "luminosityblock", "lumisection", "ls", "subrun",
    "entry", "entrynumber", "entry_number", "index", "idx", "bunchcrossing", "bx", "bcid", "orbit", "orbitnumber",
    "timestamp", "gpstime", "ncandidate", "totcandidates", "trackid", "track_id", "fill", "spill",
})  # fmt: skip
_INDEX = re.compile(r"(?:[a-z0-9](?:Idx|Index)|_(?:idx|index|Idx|Index))(?:G|_\w*)?$")
_TRUTH = re.compile(
    r"(?:^|[._])(?:mc|MC|gen|Gen|true|True|TRUE|truth|Truth|sim|Sim)(?=$|[A-Z0-9_.])|(?i:true_?id|pdg_?(?:id|code)?$|bkgcat)"
    r"|(?i:(?:^|[._])is_?(?:mc|true|matched))"
)
_TRIGGER = re.compile(
    r"(?:^|[._])(?:HLT|Hlt[12]?|L[01]|hlt|l1|trig|Trig|trigger|Trigger)(?=$|[A-Z0-9_.])|_(?:TOS|TIS|Dec|Decision)$"
)
_FLAG = re.compile(r"(?:^|[._])(?:is|has|pass|passes|flag)(?=$|[A-Z_])")
_MOMENTA = ("p", "pt", "momentum", "p_t", "ptot", "energy", "e", "eta", "th", "theta")
"""Last parts of names in which an efficiency is usually shown, the likeliest first."""
_WEIGHT_NAMES = ("w", "weight", "weights", "genweight", "evtweight", "eventweight", "event_weight")
_NUMBERS = ("float", "int", "unsigned", "bool")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_CLASS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,89}")
_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""Words that some readers of YAML do not take for texts."""


@dataclass(frozen=True, slots=True)
class ClassFile:
    """A file that holds one class: its path, its tree, the class's name, and what the table holds."""

    file: str
    tree: str
    name: str
    summary: TableSummary


def starter_configuration(file: str, tree: str, summary: TableSummary, columns: Sequence[str] = ()) -> str:
    """Returns the text of a configuration, which runs without changes if a branch looks like the true class.

    Args:
        file: the file to be read.
        tree: its tree or table.
        summary: what the table holds.
        columns: the invented names of columns that the file does not name.
    """
    usable = [b for b in summary.branches if b.kind in _NUMBERS and can_be_named(b.name)]
    event_id, weight = _event_id(usable), _weight(usable)
    collections = _collections(summary.branches)
    counters = {f"n{name}" for name in collections}
    rows = [b for b in summary.branches if not summary.per or b.name.startswith(f"{summary.per}.")]
    label = _label([b for b in rows if (b in usable or b.words) and b.name not in counters], event_id)
    taken = {*event_id, weight, label.name if label else None}
    reasons = {b.name: why for b in summary.branches if b.name not in taken and (why := _why_left_out(b))}
    reasons = _by_bank(reasons, usable, taken, summary.per)
    features = [b for b in usable if b.name not in taken and b.name not in reasons]
    lines = [
        f"# Written for {yaml_comment(f'{Path(file).name}, tree {tree}')}: {summary.n_entries:,} entries.",
        "# Every key is explained in the reference; unknown keys are refused with their place.",
        "data:",
        f"  files: {yaml_string(file)}",
        f"  tree: {yaml_string(tree)}",
        *([f"  columns: {_yaml_list(columns)}      # invented: the file names none"] if columns else ()),
        *_data_lines(event_id, weight),
        *(f"  # per: {name}      # one row a candidate; then {name}_… are plain numbers" for name in collections),
        *_per_lines(summary),
        "",
        *_class_lines(label),
        *_rest(features, reasons),
    ]
    return "\n".join(lines) + "\n"


def starter_of_classes(classes: Sequence[ClassFile], columns: Sequence[str] = ()) -> str:
    """Returns the text of a configuration for files that hold one class each, the signal first; it runs unchanged."""
    branches, reasons = _common([each.summary for each in classes], [Path(each.file).name for each in classes])
    usable = [b for b in branches if b.kind in _NUMBERS and can_be_named(b.name)]
    event_id, weight = _event_id(usable), _weight(usable)
    taken = {*event_id, weight}
    reasons |= {b.name: why for b in branches if b.name not in {*taken, *reasons} and (why := _why_left_out(b))}
    reasons = _by_bank(reasons, usable, taken, classes[0].summary.per)
    features = [b for b in usable if b.name not in taken and b.name not in reasons]
    trees = {each.tree for each in classes}
    shared = f"  tree: {yaml_string(classes[0].tree)}" if len(trees) == 1 else None
    several_of_one = len({each.file for each in classes}) < len(classes)
    names = ", ".join(
        f"{Path(each.file).name}{f', tree {each.tree}' * several_of_one} ({each.summary.n_entries:,} entries)"
        for each in classes
    )
    data = [
        *([shared] if shared else ()),
        *([f"  columns: {_yaml_list(columns)}      # invented: the files name none"] if columns else ()),
        *_data_lines(event_id, weight),
        *_per_lines(classes[0].summary),
    ]
    is_empty = all(line.lstrip().startswith("#") for line in data)
    lines = [
        f"# Written for {yaml_comment(names)}.",
        "# Every key is explained in the reference; unknown keys are refused with their place.",
        "# data:" if is_empty else "data:",
        *data,
        "",
        f"classes:                          # a {'tree' if several_of_one else 'file'} each",
        *(
            f"  {each.name}: {{files: {yaml_string(each.file)}{'' if shared else f', tree: {yaml_string(each.tree)}'}}}"
            for each in classes
        ),
        f"# signal: {classes[0].name}      # left out: the first class",
        *_rest(features, reasons),
    ]
    return "\n".join(lines) + "\n"


def class_names(files: Sequence[str], trees: Sequence[str]) -> list[str]:
    """Returns a valid name for each class: the tree if files repeat, else the file's stem; equal ones are numbered."""
    stems = [stem_of(file) for file in files] if len(set(files)) == len(files) else trees
    names: list[str] = []
    for stem in stems:
        name = re.sub(r"[^A-Za-z0-9_]+", "_", stem).strip("_")[:90] or "class"
        names.append(numbered(f"class_{name}" if name[0].isdigit() else name, names))
    return names


def _common(summaries: Sequence[TableSummary], files: Sequence[str]) -> tuple[list[BranchSummary], dict[str, str]]:
    """Returns the branches of all files, each summarised over all, and why others are left out."""
    by_name = [{b.name: b for b in summary.branches} for summary in summaries]
    branches, reasons = [], {}
    for name in dict.fromkeys(name for each in by_name for name in each):
        found = [each[name] for each in by_name if name in each]
        if len(found) < len(by_name):
            reasons[name] = f"is not in {next(f for f, e in zip(files, by_name, strict=True) if name not in e)}"
            continue
        kinds = {b.kind for b in found}
        codes = dict(code for b in found for code in b.codes)
        by_subject = {_subject(r): r for b in reversed(found) for r in b.remarks if b.codes or "everywhere" not in r}
        remarks = tuple(by_subject.values())
        kind = "float" if len(kinds) > 1 and kinds <= set(_NUMBERS) else found[0].kind
        low, high = min(b.low for b in found), max(b.high for b in found)
        merged = replace(found[0], kind=kind, low=low, high=high, codes=tuple(codes.items()), remarks=remarks)
        branches.append(merged)
        if len(kinds) > 1 and kind != "float":
            reasons[name] = f"holds {' and '.join(sorted(kinds))}"
        elif all(b.is_constant for b in found) and low < high:
            reasons[name] = "constant in each file: it would tell the class"
        elif name.rsplit(".", 1)[-1].lower() in _LABEL_NAMES and merged.kind != "float":
            reasons[name] = "the true class, by its name"
    return branches, reasons


def _subject(remark: str) -> str:
    """Returns what a remark is about: the value of a code, whose share differs between files, or else the remark."""
    return remark.partition(" in ")[0] if remark.endswith("looks like a code for missing") else remark


def _rest(features: Sequence[BranchSummary], reasons: Mapping[str, str]) -> list[str]:
    """Returns what follows the classes; the examples in its comments use branches that there are."""
    first = [branch_expression(b.name) for b in features]
    plain = [b for b in features if not b.codes and b.quantiles[0] < b.quantiles[2]] or list(features)
    by_last = {b.name.rsplit(".", 1)[-1].lower(): b for b in reversed(plain)}
    axis = next((by_last[name] for name in _MOMENTA if name in by_last), plain[0] if plain else None)
    lines = [""]
    if axis is not None:
        low, _, high = axis.quantiles
        window = f"{branch_expression(axis.name)} > {low:.3g} && {branch_expression(axis.name)} < {high:.3g}"
        lines += [
            "# selection:                      # named cuts, in order: the cut flow",
            f"#   acceptance: {yaml_string(window)}",
            "",
        ]
    lines.append(
        "features:                         # what the models may look at; delete what is not known before the PID"
    )
    if not features:
        lines[-1] = (
            "features: []                      # no branch is a plain number that could be one; name expressions"
        )
    lines += [line for b in features for line in _feature_lines(b)]
    lines += [f"# left out: {yaml_comment(f'{name} ({why})')}" for name, why in reasons.items()]
    if axis is not None:
        name = yaml_string(branch_expression(axis.name))
        lines.append(f"# spectators: [{name}]     # for efficiency maps, never trained on")
    lines += [
        "",
        "models:",
        "  cuts: {type: cuts}",
        "  fisher: {type: fisher}",
        "  bdt: {type: bdt}",
        "  mlp: {type: mlp}",
    ]
    if features:
        cut = " && ".join(f"{name} > {b.quantiles[1]:.3g}" for name, b in zip(first[:2], features, strict=False))
        lines.append(f"  # hand: {{type: expression, cut: {yaml_string(cut)}}}     # your own cuts, as they are")
    return lines


def _event_id(usable: Sequence[BranchSummary]) -> list[str]:
    """Returns the branches that name an event; none if only its run is named, whose events would all be one."""
    runs, events = (
        [b.name for b in _named(usable, names)[:1] if not b.kind.startswith("float")]
        for names in (_RUN_NAMES, _EVENT_NAMES)
    )
    return runs + events if events else []


def _weight(usable: Sequence[BranchSummary]) -> str | None:
    return next((b.name for b in _named(usable, _WEIGHT_NAMES) if not b.is_constant), None)


def _why_left_out(branch: BranchSummary) -> str:
    """Returns why a branch is no feature, from its type, its values and its name; empty if it may be one."""
    last = branch.name.rsplit(".", 1)[-1].lower()
    is_whole = branch.kind in ("int", "unsigned", "bool")
    if branch.kind not in _NUMBERS:
        return branch.kind + ("; take an element x[0], a reduction such as Max$(x), or `per:`" * ("[" in branch.kind))
    if not can_be_named(branch.name):
        return "expressions cannot hold its name"
    if branch.is_constant:
        return "constant"
    if "weight" in branch.name.lower():
        return "a weight, by its name"
    if _TRUTH.search(branch.name) and branch.name not in CONSTANTS:
        return "generator truth, by its name"
    if is_whole and (last in _IDENTIFIERS or _INDEX.search(branch.name)):
        return "an identifier, by its name"
    if last in (*_RUN_NAMES, *_EVENT_NAMES):
        return "an identifier, by its name"
    if is_whole and _TRIGGER.search(branch.name):
        return "a trigger flag, by its name"
    if branch.kind == "bool" or (set(branch.labels) == {0, 1} and _FLAG.search(branch.name)):
        return "a flag"
    return ""


def _collections(branches: Sequence[BranchSummary]) -> list[str]:
    """Returns the collections of a NanoAOD-like table: X if a branch nX counts the entries of X_…"""
    names = {b.name for b in branches}
    prefixes = dict.fromkeys(b.name.partition("_")[0] for b in branches if "[" in b.kind and "_" in b.name)
    return [prefix for prefix in prefixes if f"n{prefix}" in names and _PLAIN_NAME.fullmatch(prefix)]


def _per_lines(summary: TableSummary) -> list[str]:
    """Returns the lines of data.per for a table whose rows are candidates, with an example of each join by `pindex`."""
    if not summary.per:
        return []
    examples = []
    for bank in dict.fromkeys(prefix_of(b.name) for b in summary.branches):
        columns = {b.name.removeprefix(f"{bank}.") for b in summary.branches if prefix_of(b.name) == bank}
        what = next((name for name in ("energy", "nphe") if name in columns), "")
        if what and "pindex" in columns:
            alias = re.sub(r"[^a-z0-9]+", "_", f"{bank.rpartition('::')[2]}_{what}".lower())
            examples.append(f'  #   {alias}: "Sum$({bank}.{what}[{bank}.pindex == Iteration$])"')
    lines = ["  # aliases:                      # rows of other banks that point at the particle"] if examples else []
    return [f"  per: {summary.per}            # one row a particle", *lines, *examples]


def _by_bank(
    reasons: Mapping[str, str], usable: Sequence[BranchSummary], taken: Collection[str | None], per: str
) -> dict[str, str]:
    """Returns the reasons why branches are left out; if the rows are those of a bank, one for each other bank."""
    if not per:
        return dict(reasons)
    found = {name: why for name, why in reasons.items() if prefix_of(name) == per}
    others = dict.fromkeys(prefix_of(name) for name in reasons)
    found |= {f"{bank}.*": "rows of another bank: choose those of the particle, x[condition]" for bank in others}
    found |= {b.name: "one value for the whole event" for b in usable if prefix_of(b.name) != per}
    return {name: why for name, why in found.items() if name not in taken and name != f"{per}.*"}


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
    lines.append(f"  weight: {yaml_string(branch_expression(weight))}" if weight else '  # weight: "w"')
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
    is_flag = label.name.rsplit(".", 1)[-1].lower() not in _NUMBERED_NAMES
    if is_flag and len(label.labels) == 2 and label.labels[1] == 1:  # 0 and 1, or -1 and 1
        values = label.labels[::-1]
    shown = ", ".join(map(str, values))
    lines = [f"classes:                          # {yaml_comment(f'{label.name} has the values {shown}')}"]
    stem = re.sub(r"[^A-Za-z0-9_]", "_", label.name.rpartition(".")[2] if "::" in label.name else label.name)
    for i, value in enumerate(values):
        name = re.sub(r"[^A-Za-z0-9_]", "_", f"{stem}_{value}".replace("-", "minus_"))[:90]
        if isinstance(value, str) and _CLASS_NAME.fullmatch(value) and value.lower() not in _YAML_WORDS:
            name = value
        name = f"class_{name}" if name[0].isdigit() else name
        name = name if f"  {name}:" not in "\n".join(lines) else f"{name}_{i}"
        written = value if isinstance(value, int) else f"'{value}'" if "'" not in value else f'"{value}"'
        lines.append(f"  {name}: {yaml_string(f'{branch_expression(label.name)} == {written}')}")
    return [*lines, "# signal:                         # left out: the first class"]


def _feature_lines(branch: BranchSummary) -> list[str]:
    remark = f"   # {yaml_comment('; '.join(branch.remarks))}" if branch.remarks else ""
    if branch.codes:
        codes = ", ".join(shortest(value) for value, _ in branch.codes)
        expression = yaml_string(branch_expression(branch.name))
        return [f"  - {{name: {yaml_string(branch.name)}, expression: {expression}, missing: [{codes}]}}{remark}"]
    if branch_expression(branch.name) == branch.name:
        written = yaml_string(branch.name) if branch.name.lower() in _YAML_WORDS else branch.name
        return [f"  - {written}{remark}"]
    return [
        f"  - {{name: {yaml_string(branch.name)}, expression: {yaml_string(branch_expression(branch.name))}}}{remark}"
    ]


def _yaml_list(names: Sequence[str]) -> str:
    return f"[{', '.join(map(yaml_string, names))}]"
