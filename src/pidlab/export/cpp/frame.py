"""The function `define` of a header: every score and decision as a column of an RDataFrame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pidlab.export.cpp.event import Member, arguments
from pidlab.export.cpp.models import n_scores
from pidlab.expressions.literals import cpp_string

if TYPE_CHECKING:
    from pidlab.export.cpp.header import Header

_PLAIN = re.compile(r"[A-Za-z_]\w*(\.\w+)*")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the data frame: `function` of another column (where there is one) and of branches."""

    name: str
    type: str
    function: str
    source: str
    members: Sequence[Member]


def frame_text(header: Header) -> str:
    """`define`, and the functions of branches that ROOT compiles for it; the header itself includes nothing of ROOT."""
    selection = header.event.members_of([s.expression for _, s in header.bundle.recipe.selection])
    functions = _function("selected", "bool", selection, "selected(event)")
    columns = [Column("pid_selected", "bool", "frame_selected", "", selection)]
    for model in header.models:
        own, found = _model(header, model)
        functions, columns = functions + own, columns + found
    calls = "".join(f"\n      .Define({cpp_string(c.name)}, {_defined(header, c)})" for c in columns)
    aliases = "".join(
        f"\n      .Alias({cpp_string(_column_of(m))}, {cpp_string(m.branch)})"
        for m in header.event.members
        if _column_of(m) != m.branch
    )
    return (
        f"namespace detail {{\n\n{functions}}} // namespace detail\n\n"
        "/// The data frame with all scores and decisions as columns, named as in pidlab's friend trees.\n"
        f"template <class Frame>\ninline auto define(Frame frame)\n{{\n   return frame{aliases}{calls};\n}}\n"
    )


def _model(header: Header, model: str) -> tuple[str, list[Column]]:
    """The functions and columns of one model: all its scores in a column that ROOT hides, then each of them."""
    name, members, contender = header.names[model], header.members_of(model), header.bundle.contenders[model]
    all_scores, kind = f"rdf_pid_{name}_", f"std::array<float, {n_scores(contender)}>"  # ROOT hides rdf…_
    functions = _function(name, kind, members, f"scores_{name}(event)")
    columns = [Column(all_scores, kind, f"frame_{name}", "", members)]
    scores = f"const {kind}& scores"
    for column, index in header.columns_of(model).items():
        functions += _function(f"{name}_{index}", "float", [], f"scores[{index}]", scores)
        columns.append(Column(column, "float", f"frame_{name}_{index}", all_scores, []))
    for i, d in enumerate(header.bundle.decisions[model]):
        followed = header.event.members_of([header.flat[n] for n in d.flat.names]) if d.flat else []
        result = f"passed_{name}_{d.name}(scores[{contender.decision_column(i)}]{', event' if d.flat else ''})"
        functions += _function(f"passed_{name}_{d.name}", "bool", followed, result, scores)
        columns.append(Column(f"pid_{model}_{d.name}", "bool", f"frame_passed_{name}_{d.name}", all_scores, followed))
    return functions, columns


def _column_of(member: Member) -> str:
    """The name of a branch in expressions of a data frame."""
    return member.branch if _PLAIN.fullmatch(member.branch) else f"pid_branch_{member.name}"


def _function(name: str, kind: str, members: Sequence[Member], result: str, first: str = "") -> str:
    """A function `frame_NAME` of plain values."""
    template, parameters, filled = arguments(members)
    filled = filled if "event" in result else ""
    listed = ", ".join(part for part in (first, parameters) if part)
    return f"{template}inline {kind} frame_{name}({listed})\n{{\n{filled}   return {result};\n}}\n\n"


def _defined(header: Header, column: Column) -> str:
    """The further arguments of `Define`: a function of another column, or text for ROOT to compile with its types."""
    if column.source and not column.members and not header.candidates:
        return f"detail::{column.function}, {{{cpp_string(column.source)}}}"
    return cpp_string(_called(header, column))


def _called(header: Header, column: Column) -> str:
    """What ROOT is to compile for one column: a call, or one for each candidate."""
    call, source = f"{header.namespace}::detail::{column.function}", [column.source] if column.source else []
    if not header.candidates:
        return f"{call}({', '.join([*source, *map(_column_of, column.members)])})"
    lists = [_column_of(m) for m in header.event.members if m.branch in header.candidates]
    taken = [f"{name}[i]" for name in source]
    taken += [f"{_column_of(m)}[i]" if m.branch in header.candidates else _column_of(m) for m in column.members]
    return (
        f"ROOT::RVec<{column.type}> result({(source or lists)[0]}.size()); "
        f"for (std::size_t i = 0; i < result.size(); ++i) result[i] = {call}({', '.join(taken)}); return result;"
    )
