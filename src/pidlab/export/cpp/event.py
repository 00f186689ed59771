"""Writes the event of a header in C++: its branches, and the selection and features as expressions of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pidlab.errors import ExpressionError, UsageError
from pidlab.export.cpp.text import number, table
from pidlab.export.parity import ParityEvents
from pidlab.expressions import Expression, Kind, Number, Polygon, kind_from_array, to_cpp
from pidlab.expressions.literals import cpp_comment, cpp_identifier, cpp_string
from pidlab.expressions.tree import Apply, Branch, Constant, Step
from pidlab.preprocess.features import missing_values
from pidlab.runs.bundle import Bundle

_TYPES = {
    Number.FLOAT: "double",
    Number.INT: "std::int64_t",
    Number.UNSIGNED: "std::uint64_t",
    Number.BOOL: "bool",
    Number.TEXT: "std::string",
}
_COMPARISONS = ("<", ">", "<=", ">=", "==", "!=")
_RESERVED = ("event", "value", "x")


@dataclass(frozen=True, slots=True)
class EventMember:
    """A branch as a member of `Event`, with its name in the tree and in C++."""

    branch: str
    name: str
    kind: Kind

    @property
    def is_list(self) -> bool:
        """Whether the branch holds a list of numbers in each event."""
        return bool(self.kind.shape)

    @property
    def number_type(self) -> str:
        """The C++ type of each number."""
        return "std::int64_t" if self.is_list and self.kind.number is Number.BOOL else _TYPES[self.kind.number]

    @property
    def type(self) -> str:
        """The C++ type of the member."""
        return f"std::vector<{self.number_type}>" if self.is_list else self.number_type

    def declaration(self) -> str:
        """Returns the line in `struct Event`."""
        start = {"double": " = std::numeric_limits<double>::quiet_NaN()", "bool": " = false"}.get(self.type, " = 0")
        start = "" if self.is_list or self.type == "std::string" else start
        return f"   {self.type} {self.name}{start}; // {cpp_comment(self.branch)}\n"


@dataclass(frozen=True, slots=True)
class EventText:
    """The members of `Event`; writes expressions of them in C++.

    Attributes:
        members: the branches that the expressions read.
        polygons: the name in C++ of each polygon that they ask, for which axes do not count.
    """

    members: tuple[EventMember, ...]
    polygons: Mapping[Polygon, str] = field(default_factory=dict)

    def members_of(self, expressions: Sequence[Expression]) -> list[EventMember]:
        """Returns the members that the expressions read."""
        names = {name for expression in expressions for name in expression.branches}
        return [m for m in self.members if m.branch in names]

    def value(self, where: str, expression: Expression) -> str:
        """Returns C++ for the value of an expression; NaN in events without an element that it reads.

        Raises:
            UsageError: the expression has no meaning for a single row; `where` is its place in the configuration.
        """
        only = expression.steps[0] if len(expression.steps) == 1 else None
        if isinstance(only, Branch) and not only.indices:
            return f"event.{self._by_branch()[only.name].name}"
        text, exists = self._text(where, expression)
        return f"({exists} ? double({text}) : std::numeric_limits<double>::quiet_NaN())" if exists else text

    def truth(self, where: str, expression: Expression) -> str:
        """Returns C++ for the truth of an expression; false in events without an element that it reads.

        Raises:
            UsageError: the expression has no meaning for a single row; `where` is its place in the configuration.
        """
        text, exists = self._text(where, expression)
        return f"({exists} && detail::holds({text}))" if exists else f"detail::holds({text})"

    def _by_branch(self) -> dict[str, EventMember]:
        return {m.branch: m for m in self.members}

    def _text(self, where: str, expression: Expression) -> tuple[str, str]:
        """Returns the C++ of the expression and the condition, which may be empty, that the elements it reads exist."""
        members = self._by_branch()
        elements = [s for s in expression.steps if isinstance(s, Branch) and s.indices]
        if any(len(s.indices) > 1 for s in elements):
            raise UsageError(_refusal(where, expression, "an array of several dimensions has no place in Event"))
        if any(not members[s.name].is_list for s in elements):
            raise UsageError(_refusal(where, expression, "Event holds one candidate and none of the others"))
        steps = _with_comparisons(expression.steps, members)
        try:
            text = to_cpp(
                Expression(expression.text, steps),
                lambda name: f"event.{members[name].name}" if name in members else name,
                lambda polygon: f"detail::{self.polygons[_without_axes(polygon)]}",
            )
        except ExpressionError as error:
            raise UsageError(_refusal(where, expression, error.message)) from error
        exists = [f"event.{members[s.name].name}.size() > {s.indices[0]}" for s in elements]
        return text, " && ".join(dict.fromkeys(exists))


def _refusal(where: str, expression: Expression, why: str) -> str:
    advice = "score with `pidlab apply`, or train a run without this expression"
    return f"{where}: {expression.text!r} cannot be written into a C++ header: {why}; {advice}"


def event_text(expressions: Sequence[Expression], events: ParityEvents) -> EventText:
    """Returns members for all branches that the expressions read, with the types of the run's inputs."""
    members: list[EventMember] = []
    for branch in sorted({name for expression in expressions for name in expression.branches}):
        kind = kind_from_array(events.branches[branch])
        members.append(EventMember(branch, cpp_identifier(branch, [*_RESERVED, *(m.name for m in members)]), kind))
    polygons: dict[Polygon, str] = {}
    for polygon in (_without_axes(each) for expression in expressions for each in expression.polygons):
        if polygon not in polygons:
            polygons[polygon] = cpp_identifier(f"polygon_{polygon.short_name}", polygons.values())
    return EventText(tuple(members), polygons)


def _without_axes(polygon: Polygon) -> Polygon:
    return replace(polygon, x="", y="")


def polygons_text(event: EventText) -> str:
    """Returns the tables of the corners of the polygons, for the function `inside`."""
    tables = [
        f"/// The corners of {cpp_comment(polygon.name)}.\n{table(name, np.array(polygon.points, np.float64))}"
        for polygon, name in event.polygons.items()
    ]
    return f"namespace detail {{\n{''.join(tables)}}} // namespace detail\n" if tables else ""


def _with_comparisons(steps: Sequence[Step], members: Mapping[str, EventMember]) -> tuple[Step, ...]:
    """Returns the steps, each comparison of integers, which doubles would round, as one branch named by its C++."""
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Apply) and step.name in _COMPARISONS:
            left, right = (_integer(s, members) for s in found[-2:])
            if left and right and any(isinstance(s, Branch) for s in found[-2:]):
                found[-2:] = [Branch(_comparison(step.name, left, right), (), step.position, step.length)]
                continue
        found.append(step)
    return tuple(found)


def _integer(step: Step, members: Mapping[str, EventMember]) -> tuple[str, str] | None:
    """Returns the C++ of an integer and signed, unsigned or any (a constant that fits both); None for other steps."""
    if isinstance(step, Constant) and isinstance(step.value, int) and not isinstance(step.value, bool):
        return (f"{step.value}ull", "unsigned") if step.value >= 2**63 else (f"{step.value}ll", "any")
    if not isinstance(step, Branch) or step.name not in members or not members[step.name].kind.number.is_integer:
        return None
    sort = "unsigned" if members[step.name].kind.number is Number.UNSIGNED else "signed"
    index = "".join(f"[{i}]" for i in step.indices)
    kind = "std::uint64_t" if sort == "unsigned" else "std::int64_t"
    return f"{kind}(event.{members[step.name].name}{index})", sort


def _comparison(operator: str, left: tuple[str, str], right: tuple[str, str]) -> str:
    """Returns an exact comparison: a negative number is less than every unsigned one."""
    (a, sort), (b, other) = left, right
    if {sort, other} == {"signed", "unsigned"}:
        less_than_all = f"{a if sort == 'signed' else b} < 0"
        on_the_left = operator in ("<", "<=", "!=") if sort == "signed" else operator in (">", ">=", "!=")
        return f"({less_than_all} ? {str(on_the_left).lower()} : std::uint64_t({a}) {operator} std::uint64_t({b}))"
    if "unsigned" in (sort, other):
        return f"(std::uint64_t({a}) {operator} std::uint64_t({b}))"
    return f"({a} {operator} {b})"


def selection_text(bundle: Bundle, event: EventText) -> str:
    """Returns the function `selected`."""
    cuts = [
        f"   if (!{event.truth(f'selection.{name}', located.expression)}) return false; // {cpp_comment(name)}\n"
        for name, located in bundle.recipe.selection
    ]
    best = bundle.recipe.best
    among = (
        ""
        if best is None
        else (
            f"/// Of the candidates of an event that pass, the run takes the one with {cpp_comment(str(best))}.\n"
            "/// This function is given one candidate and tells nothing of the others.\n"
        )
    )
    return (
        "/// Whether the event passes the selection of the run.\n"
        f"{among}"
        f"inline bool selected([[maybe_unused]] const Event& event)\n{{\n{''.join(cuts)}   return true;\n}}\n"
    )


def features_text(bundle: Bundle, event: EventText) -> str:
    """Returns the function `features`."""
    lines = []
    for j, (feature, located) in enumerate(bundle.recipe.features):
        value = event.value(f"features.{feature.name}", located.expression)
        codes = " || ".join(f"value == {number(float(code))}" for code in missing_values(feature))
        missing = f"{codes} ? std::numeric_limits<float>::quiet_NaN() : " if codes else ""
        lines.append(
            f"   {{ const auto value = {value}; x[{j}] = {missing}detail::narrowed(value); }}"
            f" // {cpp_comment(feature.name)}\n"
        )
    for i, (text, located) in enumerate(bundle.recipe.conditions, len(bundle.recipe.features)):
        truth = event.truth(f"the condition {text!r}", located.expression)
        lines.append(f"   x[{i}] = {truth} ? 1.0f : 0.0f; // {cpp_comment(text)}\n")
    n = bundle.recipe.n_columns
    further = ", and the conditions of categories, 1 where they hold" if bundle.recipe.conditions else ""
    return (
        f"/// The {len(bundle.recipe.features)} features, NaN where one is missing{further}.\n"
        f"inline std::array<float, {n}> features([[maybe_unused]] const Event& event)\n{{\n"
        f"   std::array<float, {n}> x;\n{''.join(lines)}   return x;\n}}\n"
    )


def struct_text(event: EventText) -> str:
    """Returns `struct Event`, and `branches`, which hands a visitor the name of each branch with its member."""
    shown = "".join(f"   visit({cpp_string(m.branch)}, event.{m.name});\n" for m in event.members)
    return (
        "/// The branches that scores are computed from, with the values of one row.\n"
        f"struct Event {{\n{''.join(m.declaration() for m in event.members)}}};\n\n"
        '/// Calls visit("branch", member) for every branch.\n'
        "template <class Visitor>\n"
        "inline void branches([[maybe_unused]] Event& event, [[maybe_unused]] Visitor&& visit)\n"
        f"{{\n{shown}}}\n"
    )


def arguments(members: Sequence[EventMember]) -> tuple[str, str, str]:
    """Returns the template line (for lists), the parameters and the `Event` of a function of plain values."""
    lists = [m for m in members if m.is_list]
    template = f"template <{', '.join(f'class L{i}' for i in range(len(lists)))}>\n" if lists else ""
    types = {m: f"const L{i}&" for i, m in enumerate(lists)}
    parameters, filled = [], ""
    for m in members:
        kind = types.get(m, "const std::string&" if m.type == "std::string" else m.type)
        parameters.append(f"{kind} {m.name}")
        filled += f"   event.{m.name} = {f'detail::copied<{m.number_type}>({m.name})' if m.is_list else m.name};\n"
    return template, ", ".join(parameters), f"   Event event;\n{filled}"
