"""One C++17 header for models of a run: selection, features, scores and decisions, without any library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pidlab import __version__
from pidlab.apply import score_branches
from pidlab.export.cpp.check import checked
from pidlab.export.cpp.event import Member, arguments, event_text, features_text, selection_text, struct_text
from pidlab.export.cpp.frame import frame_text
from pidlab.export.cpp.models import model_text, n_scores
from pidlab.export.cpp.text import number as literal
from pidlab.export.cpp.text import table
from pidlab.export.parity import Exported, ParityEvents, flat_spectators
from pidlab.expressions import Expression
from pidlab.expressions.literals import cpp_comment, cpp_identifier, cpp_string
from pidlab.runs.bundle import Bundle, Decision

_RESERVED = (
    "Event",
    "branches",
    "candidates",
    "define",
    "detail",
    "features",
    "outputs",
    "selected",
    "std",
    "event",
    "value",
    "x",
)
_INCLUDES = "algorithm array cmath cstddef cstdint cstring limits string type_traits utility vector"


def write(bundle: Bundle, models: Sequence[str], output: Path, events: ParityEvents, run: Path) -> list[Exported]:
    """Write `pid_RUN.h` into `output`, compile it, and hold it against pidlab on `events`.

    Raises:
        UsageError: a model or an expression cannot be written in C++.
        ModelError: the header disagrees with pidlab.
    """
    header = Header(bundle, models, events, namespace_of(run))
    path = output / f"{header.namespace}.h"
    path.write_text(header.text(), encoding="utf-8")
    worst, note = checked(header, path, events)
    return [Exported(path, "header", tuple(models), worst, len(events), note)]


def namespace_of(run: Path) -> str:
    """The namespace of a run's header, `pid_` and the name of its folder."""
    return cpp_identifier(f"pid_{run.resolve().name}")


class Header:
    """The text of a header and the names in it.

    Attributes:
        names: model to its name in C++.
        event: the branches that are read, as members of `Event`.
    """

    def __init__(self, bundle: Bundle, models: Sequence[str], events: ParityEvents, namespace: str) -> None:
        self.bundle, self.models, self.namespace, self.candidates = bundle, tuple(models), namespace, events.members
        self.names: dict[str, str] = {}
        for model in models:
            self.names[model] = cpp_identifier(model, [*_RESERVED, namespace, *self.names.values()])
        self.flat = flat_spectators(bundle)
        wanted = [e for model in models for e in self.expressions_of(model)]
        flat = {n for m in models for d in bundle.decisions[m] if d.flat for n in d.flat.names}
        self.event = event_text([*wanted, *(self.flat[name] for name in flat)], events)
        self.has_features = any(bundle.contenders[m].fitted for m in models)

    def expressions_of(self, model: str) -> list[Expression]:
        """What is read to score one model: the selection, and the features or its own expression."""
        recipe = self.bundle.recipe
        own = [recipe.given[model]] if model in recipe.given else [s for _, s in recipe.features]
        return [s.expression for s in [*(s for _, s in recipe.selection), *own]]

    def columns_of(self, model: str) -> dict[str, int]:
        """The names that friend trees have for the scores of a model, and the class of each."""
        return score_branches(model, self.bundle.contenders[model])

    def text(self) -> str:
        """The whole header."""
        guard = f"{self.namespace.upper()}_H"
        pieces = (Path(__file__).parent / "pieces.h").read_text(encoding="utf-8")
        event, bundle = self.event, self.bundle
        models = "".join(model_text(self.names[m], bundle.contenders[m], event) + "\n" for m in self.models)
        parts = [
            struct_text(event),
            "/// Whether an event is a candidate, of which an entry of the tree may hold several.\n"
            f"inline constexpr bool candidates = {str(bool(self.candidates)).lower()};\n",
            f"namespace detail {{\n\n{pieces}\n}} // namespace detail\n",
            selection_text(bundle, event),
            features_text(bundle, event) if self.has_features else "",
            f"namespace detail {{\n\n{models}}} // namespace detail\n",
            *(self._model(model) for model in self.models),
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
        ns, first = self.namespace, self.models[0]
        recipe, point = self.bundle.recipe, next(iter(self.bundle.decisions[first]), None)
        name = self.names[first]
        decided = f"passed_{name}_{point.name}" if point else f"score_{name}"
        lines = [
            f"{', '.join(self.models)} of the run {ns.removeprefix('pid_')}, written by pidlab {__version__}.",
            f"Fingerprint of the models: {self.bundle.fingerprint}",
            f"Signal: {recipe.classes[recipe.signal]}; classes: {', '.join(recipe.classes)}.",
            "",
            "RDataFrame, with the column names of pidlab's friend trees:",
            f"    auto scored = {ns}::define(ROOT::RDataFrame(tree, file));",
            "An event at a time:",
            f"    {ns}::Event event; // then give its members the values of the branches",
            f"    bool good = {ns}::{decided}(event);",
            "From plain values:",
            f"    float score = {ns}::{name}({', '.join(m.name for m in self.members_of(first))});",
            "",
            "Where an event is not selected the score is NaN and every decision is false; a decision is",
            "score > threshold. Nothing here changes a state: all of it may be called from many threads.",
        ]
        return "".join(f"// {line}".rstrip() + "\n" for line in map(_line, lines))

    def members_of(self, model: str) -> list[Member]:
        """The members that one model needs."""
        return self.event.members_of(self.expressions_of(model))

    def _model(self, model: str) -> str:
        """The functions of one model that a user calls."""
        bundle, name = self.bundle, self.names[model]
        classes, signal = bundle.recipe.classes, bundle.recipe.signal
        k = n_scores(bundle.contenders[model])
        x = "features(event).data()" if bundle.contenders[model].fitted else "nullptr"
        nothing = f"detail::nothing<{k}>()"
        template, parameters, filled = arguments(self.members_of(model))
        listed, wanted = cpp_comment(", ".join(classes)), cpp_comment(classes[signal])
        text = (
            f"/// {cpp_comment(model)}: the scores of {listed}; NaN where the event is not selected.\n"
            f"inline std::array<float, {k}> scores_{name}(const Event& event)\n"
            f"{{\n   return selected(event) ? detail::scores_{name}(event, {x}) : {nothing};\n}}\n\n"
            f"/// {cpp_comment(model)}: the score of {wanted}; NaN where the event is not selected.\n"
            f"inline float score_{name}(const Event& event)\n{{\n   return scores_{name}(event)[{signal}];\n}}\n\n"
            f"/// The same from the values of the branches.\n"
            f"{template}inline float {name}({parameters})\n{{\n{filled}   return score_{name}(event);\n}}\n\n"
        )
        return text + "".join(self._decision(model, i, d) for i, d in enumerate(bundle.decisions[model]))

    def _decision(self, model: str, number: int, decision: Decision) -> str:
        name, column = f"{self.names[model]}_{decision.name}", self.bundle.contenders[model].decision_column(number)
        if decision.flat is None:
            test = f"score > {literal(np.float32(decision.threshold))}"
            tables, also, given = "", "", ""
        else:
            nodes = [f"detail::{name}_nodes{i}" for i in range(len(decision.flat.nodes))]
            tables = "".join(
                table(n.removeprefix("detail::"), values) for n, values in zip(nodes, decision.flat.nodes, strict=True)
            ) + table(f"{name}_thresholds", decision.flat.values)
            tables = f"namespace detail {{\n{tables}}} // namespace detail\n\n"
            where = f"the working point {decision.name} of {model}"
            at = [f"double({self.event.value(where, self.flat[n])})" for n in decision.flat.names]
            test = f"score > detail::threshold_at({', '.join([*nodes, f'detail::{name}_thresholds', *at])})"
            also, given = ", const Event& event", ", event"
        return (
            f"{tables}/// Whether a score of {cpp_comment(model)} passes {cpp_comment(decision.name)}.\n"
            f"inline bool passed_{name}(float score{also})\n{{\n   return {test};\n}}\n\n"
            f"/// Whether the event is selected and passes {cpp_comment(decision.name)} of {cpp_comment(model)}.\n"
            f"inline bool passed_{name}(const Event& event)\n"
            f"{{\n   return passed_{name}(scores_{self.names[model]}(event)[{column}]{given});\n}}\n\n"
        )

    def _outputs(self) -> str:
        """The function that shows a visitor everything, each thing computed once."""
        lines, n = "", len(self.bundle.recipe.features)
        for model in self.models:
            name, contender = self.names[model], self.bundle.contenders[model]
            scored = f"detail::scores_{name}(event, {'x.data()' if contender.fitted else 'nullptr'})"
            nothing = f"detail::nothing<{n_scores(contender)}>()"
            lines += f"   {{\n      const auto scores = kept ? {scored} : {nothing};\n"
            for column, index in self.columns_of(model).items():
                lines += f"      visit({cpp_string(column)}, scores[{index}]);\n"
            for i, d in enumerate(self.bundle.decisions[model]):
                score = f"scores[{contender.decision_column(i)}]{', event' if d.flat else ''}"
                lines += f"      visit({cpp_string(f'pid_{model}_{d.name}')}, passed_{name}_{d.name}({score}));\n"
            lines += "   }\n"
        x = f"   const auto x = kept ? features(event) : detail::nothing<{n}>();\n" if self.has_features else ""
        return (
            '/// Calls visit("pid_…", value) for the selection and every score and decision.\n'
            "template <class Visitor>\ninline void outputs(const Event& event, Visitor&& visit)\n{\n"
            f'   const bool kept = selected(event);\n   visit("pid_selected", kept);\n{x}{lines}}}\n'
        )


def _line(text: str) -> str:
    indent = text[: len(text) - len(text.lstrip(" "))]
    return indent + cpp_comment(text)
