"""Writes one C++17 header for models of a run: selection, features, scores and decisions, without any library."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pidlab import __version__
from pidlab.apply import score_branches
from pidlab.export.cpp.event import (
    EventMember,
    arguments,
    event_text,
    features_text,
    polygons_text,
    selection_text,
    struct_text,
)
from pidlab.export.cpp.models import model_text, n_scores
from pidlab.export.cpp.text import number as literal
from pidlab.export.cpp.text import table
from pidlab.export.cpp.weights import function_of, weights_text
from pidlab.export.parity import ParityEvents, flat_spectators
from pidlab.expressions import Expression
from pidlab.expressions.literals import cpp_comment, cpp_identifier, cpp_string
from pidlab.runs.bundle import Bundle, Decision

_NAMES = "Event branches candidates define detail features outputs selected std event value weight x"
_RESERVED = tuple(_NAMES.split())
_COLUMN_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*")
_INCLUDES = "algorithm array cmath cstddef cstdint cstring limits string type_traits utility vector"


class Header:
    """The text of a header and the names in it.

    Attributes:
        names: the C++ name of each model.
        flat: the spectators that flat working points follow.
        event: the branches that the models read, as members of `Event`.
        candidates: the branches with one value for each candidate, if a row is a candidate.
    """

    def __init__(self, bundle: Bundle, models: Sequence[str], events: ParityEvents, namespace: str) -> None:
        self.bundle, self.models, self.namespace, self.candidates = bundle, tuple(models), namespace, events.members
        self.names: dict[str, str] = {}
        for name in models:
            self.names[name] = cpp_identifier(name, [*_RESERVED, namespace, *self.names.values()])
        self.flat = {name: located.expression for name, located in flat_spectators(bundle).items()}
        scored = [e for name in models for e in self.expressions_of(name)]
        flat = {n for m in models for d in bundle.decisions[m] if d.flat for n in d.flat.names}
        match = bundle.reweighter.match if bundle.reweighter is not None else ()
        self.matched = [self.flat[name] for name in match]
        self.event = event_text([*scored, *(self.flat[name] for name in flat), *self.matched], events)
        self.has_features = any(bundle.models[m].fitted for m in models)

    def expressions_of(self, name: str) -> list[Expression]:
        """Returns the expressions that score one model: the selection, and the features or its own expression."""
        recipe = self.bundle.recipe
        own = recipe.expression_models.get(name)
        scored = [s for _, s in (*recipe.features, *recipe.conditions)] if own is None else [own]
        return [s.expression for s in [*(s for _, s in recipe.selection), *scored]]

    def columns_of(self, name: str) -> dict[str, int]:
        """Returns the names of a model's scores and further numbers in friend trees, and the place of each."""
        model = self.bundle.models[name]
        first = n_scores(model) - len(model.output_names)
        outputs = {f"pid_{name}_{output}": first + i for i, output in enumerate(model.output_names)}
        return score_branches(name, model) | outputs

    @property
    def weights(self) -> list[str]:
        """The branches of the weights that make classes alike; empty if the run has none."""
        return list(self.bundle.reweighter.branches) if self.bundle.reweighter is not None else []

    def text(self) -> str:
        """Returns the whole header."""
        guard = f"{self.namespace.upper()}_H"
        pieces = (Path(__file__).parent / "pieces.h").read_text(encoding="utf-8")
        event, bundle = self.event, self.bundle
        models = "".join(model_text(self.names[m], bundle.models[m], event) + "\n" for m in self.models)
        parts = [
            struct_text(event),
            "/// Whether an event is a candidate, of which an entry of the tree may hold several.\n"
            f"inline constexpr bool candidates = {str(bool(self.candidates)).lower()};\n",
            f"namespace detail {{\n\n{pieces}\n}} // namespace detail\n",
            polygons_text(event),
            selection_text(bundle, event),
            features_text(bundle, event) if self.has_features else "",
            f"namespace detail {{\n\n{models}}} // namespace detail\n",
            *(self._model(name) for name in self.models),
            weights_text(bundle.reweighter, self.matched, event) if bundle.reweighter is not None else "",
            self._outputs(),
            frame_text(self),
        ]
        includes = "".join(f"#include <{name}>\n" for name in _INCLUDES.split())
        inside = "\n".join(part for part in parts if part)
        return (
            f"{self._head()}#ifndef {guard}\n#define {guard}\n\n{includes}\n"
            f"namespace {self.namespace} {{\n\n{inside}\n}} // namespace {self.namespace}\n\n#endif\n"
        )

    def _head(self) -> str:
        """Returns the comment at the top, which says how to use the header."""
        ns, first = self.namespace, self.models[0]
        recipe, point = self.bundle.recipe, next(iter(self.bundle.decisions[first]), None)
        name = self.names[first]
        decided = f"passed_{name}_{point.name}" if point else f"score_{name}"
        lines = [
            f"{', '.join(self.models)} of the run {ns.removeprefix('pid_')}, written by pidlab {__version__}.",
            f"Fingerprint of the models: {self.bundle.fingerprint}",
            f"Signal: {recipe.classes[recipe.signal]}; classes: {', '.join(recipe.classes)}."
            if recipe.target is None
            else f"Target: {recipe.target.expression.text}.",
            "",
            "RDataFrame, with the column names of pidlab's friend trees:",
            f"    auto scored = {ns}::define(ROOT::RDataFrame(tree, file));",
            "An event at a time:",
            f"    {ns}::Event event; // then give its members the values of the branches",
            f"    {'bool good' if point else 'float score'} = {ns}::{decided}(event);",
            "From plain values:",
            f"    float score = {ns}::{name}({', '.join(m.name for m in self.members_of(first))});",
            "",
            *(
                [
                    "Where an event is not selected the score is NaN and every decision is false; a decision is",
                    "score > threshold. Nothing here changes a state: all of it may be called from many threads.",
                ]
                if recipe.target is None
                else [
                    "Where an event is not selected the prediction is NaN. Nothing here changes a state: all of it may",
                    "be called from many threads.",
                ]
            ),
        ]
        return "".join(
            f"// {' ' * (len(line) - len(line.lstrip()))}{cpp_comment(line)}".rstrip() + "\n" for line in lines
        )

    def members_of(self, name: str) -> list[EventMember]:
        """Returns the members that one model needs."""
        return self.event.members_of(self.expressions_of(name))

    def _model(self, name: str) -> str:
        """Returns the functions of one model that a user calls."""
        bundle, cpp_name = self.bundle, self.names[name]
        classes, signal = bundle.recipe.classes, bundle.recipe.signal
        k = n_scores(bundle.models[name])
        x = "features(event).data()" if bundle.models[name].fitted else "nullptr"
        nothing = f"detail::nothing<{k}>()"
        template, parameters, filled = arguments(self.members_of(name))
        further = ", ".join(bundle.models[name].output_names)
        further = cpp_comment(f", then {further}") if further else ""
        listed, wanted = cpp_comment(", ".join(classes)), cpp_comment(classes[signal])
        what, one = f"the scores of {listed}", f"the score of {wanted}"
        if (target := bundle.recipe.target) is not None:
            what = one = f"the prediction of {cpp_comment(target.expression.text)}"
        text = (
            f"/// {cpp_comment(name)}: {what}{further}; NaN where the event is not selected.\n"
            f"inline std::array<float, {k}> scores_{cpp_name}(const Event& event)\n"
            f"{{\n   return selected(event) ? detail::scores_{cpp_name}(event, {x}) : {nothing};\n}}\n\n"
            f"/// {cpp_comment(name)}: {one}; NaN where the event is not selected.\n"
            f"inline float score_{cpp_name}(const Event& event)\n"
            f"{{\n   return scores_{cpp_name}(event)[{signal}];\n}}\n\n"
            f"/// The same from the values of the branches.\n"
            f"{template}inline float {cpp_name}({parameters})\n{{\n{filled}   return score_{cpp_name}(event);\n}}\n\n"
        )
        return text + "".join(self._decision(name, i, d) for i, d in enumerate(bundle.decisions[name]))

    def _decision(self, name: str, number: int, decision: Decision) -> str:
        """Returns the functions of one working point, with the nodes of its threshold if that follows spectators."""
        cpp_name, column = f"{self.names[name]}_{decision.name}", self.bundle.models[name].decision_column(number)
        if decision.flat is None:
            test = f"score > {literal(np.float32(decision.threshold))}"
            tables, parameter, argument = "", "", ""
        else:
            nodes = [f"detail::{cpp_name}_nodes{i}" for i in range(len(decision.flat.nodes))]
            tables = "".join(
                table(n.removeprefix("detail::"), values) for n, values in zip(nodes, decision.flat.nodes, strict=True)
            ) + table(f"{cpp_name}_thresholds", decision.flat.values)
            tables = f"namespace detail {{\n{tables}}} // namespace detail\n\n"
            where = f"the working point {decision.name} of {name}"
            at = [f"double({self.event.value(where, self.flat[n])})" for n in decision.flat.names]
            test = f"score > detail::threshold_at({', '.join([*nodes, f'detail::{cpp_name}_thresholds', *at])})"
            parameter, argument = ", const Event& event", ", event"
        return (
            f"{tables}/// Whether a score of {cpp_comment(name)} passes {cpp_comment(decision.name)}.\n"
            f"inline bool passed_{cpp_name}(float score{parameter})\n{{\n   return {test};\n}}\n\n"
            f"/// Whether the event is selected and passes {cpp_comment(decision.name)} of {cpp_comment(name)}.\n"
            f"inline bool passed_{cpp_name}(const Event& event)\n"
            f"{{\n   return passed_{cpp_name}(scores_{self.names[name]}(event)[{column}]{argument});\n}}\n\n"
        )

    def _outputs(self) -> str:
        """Returns the function that hands a visitor every score and decision, each computed once."""
        lines, n = "", self.bundle.recipe.n_columns
        for name in self.models:
            cpp_name, model = self.names[name], self.bundle.models[name]
            scored = f"detail::scores_{cpp_name}(event, {'x.data()' if model.fitted else 'nullptr'})"
            nothing = f"detail::nothing<{n_scores(model)}>()"
            lines += f"   {{\n      const auto scores = kept ? {scored} : {nothing};\n"
            for column, index in self.columns_of(name).items():
                lines += f"      visit({cpp_string(column)}, scores[{index}]);\n"
            for i, d in enumerate(self.bundle.decisions[name]):
                score = f"scores[{model.decision_column(i)}]{', event' if d.flat else ''}"
                lines += f"      visit({cpp_string(f'pid_{name}_{d.name}')}, passed_{cpp_name}_{d.name}({score}));\n"
            lines += "   }\n"
        lines += "".join(f"   visit({cpp_string(b)}, {function_of(b)}(event));\n" for b in self.weights)
        x = f"   const auto x = kept ? features(event) : detail::nothing<{n}>();\n" if self.has_features else ""
        return (
            '/// Calls visit("pid_…", value) for the selection and every score and decision.\n'
            "template <class Visitor>\ninline void outputs(const Event& event, Visitor&& visit)\n{\n"
            f'   const bool kept = selected(event);\n   visit("pid_selected", kept);\n{x}{lines}}}\n'
        )


class DefinedColumn(NamedTuple):
    """A column of the data frame: a `function` of the column `source`, empty if there is none, and of branches."""

    name: str
    type: str
    function: str
    source: str
    members: Sequence[EventMember]


def frame_text(header: Header) -> str:
    """Returns `define` and the functions of plain values that it uses; the header itself includes nothing of ROOT."""
    selected_by = [s.expression for _, s in header.bundle.recipe.selection]
    selection = header.event.members_of(selected_by)
    functions = _function("selected", "bool", selection, "selected(event)")
    columns = [DefinedColumn("pid_selected", "bool", "frame_selected", "", selection)]
    for name in header.models:
        own, found = _model(header, name)
        functions, columns = functions + own, columns + found
    matched = header.event.members_of([*selected_by, *header.matched])
    for branch in header.weights:
        functions += _function(function_of(branch), "float", matched, f"{function_of(branch)}(event)")
        columns.append(DefinedColumn(branch, "float", f"frame_{function_of(branch)}", "", matched))
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


def _model(header: Header, name: str) -> tuple[str, list[DefinedColumn]]:
    """Returns the functions and columns of one model: a hidden column of all scores, then each score and decision."""
    cpp_name, members, model = header.names[name], header.members_of(name), header.bundle.models[name]
    all_scores, kind = f"rdf_pid_{cpp_name}_", f"std::array<float, {n_scores(model)}>"  # ROOT hides rdf…_
    functions = _function(cpp_name, kind, members, f"scores_{cpp_name}(event)")
    columns = [DefinedColumn(all_scores, kind, f"frame_{cpp_name}", "", members)]
    scores = f"const {kind}& scores"
    for column, index in header.columns_of(name).items():
        functions += _function(f"{cpp_name}_{index}", "float", [], f"scores[{index}]", scores)
        columns.append(DefinedColumn(column, "float", f"frame_{cpp_name}_{index}", all_scores, []))
    for i, d in enumerate(header.bundle.decisions[name]):
        followed = header.event.members_of([header.flat[n] for n in d.flat.names]) if d.flat else []
        result = f"passed_{cpp_name}_{d.name}(scores[{model.decision_column(i)}]{', event' if d.flat else ''})"
        functions += _function(f"passed_{cpp_name}_{d.name}", "bool", followed, result, scores)
        columns.append(
            DefinedColumn(f"pid_{name}_{d.name}", "bool", f"frame_passed_{cpp_name}_{d.name}", all_scores, followed)
        )
    return functions, columns


def _column_of(member: EventMember) -> str:
    """Returns the name of a branch in expressions of a data frame."""
    return member.branch if _COLUMN_NAME.fullmatch(member.branch) else f"pid_branch_{member.name}"


def _function(name: str, kind: str, members: Sequence[EventMember], result: str, first: str = "") -> str:
    """Returns a function `frame_NAME` of plain values."""
    template, parameters, filled = arguments(members)
    filled = filled if "event" in result else ""
    listed = ", ".join(part for part in (first, parameters) if part)
    return f"{template}inline {kind} frame_{name}({listed})\n{{\n{filled}   return {result};\n}}\n\n"


def _defined(header: Header, column: DefinedColumn) -> str:
    """Returns the further arguments of `Define`: a function of another column, or text that ROOT compiles."""
    call, source = f"detail::{column.function}", [column.source] if column.source else []
    if source and not column.members and not header.candidates:
        return f"{call}, {{{cpp_string(column.source)}}}"
    call = f"{header.namespace}::{call}"
    if not header.candidates:
        return cpp_string(f"{call}({', '.join([*source, *map(_column_of, column.members)])})")
    lists = [_column_of(m) for m in header.event.members if m.branch in header.candidates]
    taken = [f"{name}[i]" for name in source]
    taken += [f"{_column_of(m)}[i]" if m.branch in header.candidates else _column_of(m) for m in column.members]
    return cpp_string(
        f"ROOT::RVec<{column.type}> result({(source or lists)[0]}.size()); "
        f"for (std::size_t i = 0; i < result.size(); ++i) result[i] = {call}({', '.join(taken)}); return result;"
    )
