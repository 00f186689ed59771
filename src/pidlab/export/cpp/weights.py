"""Writes the weights that make classes alike in C++: the density ratios of `reweight` as functions of an event."""

from __future__ import annotations

import numpy as np

from pidlab.datadriven.reweighting.ratio import BinRatio, TreeRatio
from pidlab.datadriven.reweighting.reweighter import BRANCH, Group, Reweighter
from pidlab.export.cpp.event import EventText
from pidlab.export.cpp.models import tree_margins
from pidlab.export.cpp.text import number, table
from pidlab.expressions import Expression
from pidlab.expressions.literals import cpp_comment

_BOUND = 1e38  # as `bounded` of the ratios


def function_of(branch: str) -> str:
    """Returns the C++ name of the function of a branch of weights: weight, or weight_CLASS."""
    return branch.replace(BRANCH, "weight", 1)


def weights_text(reweighter: Reweighter, expressions: list[Expression], event: EventText) -> str:
    """Returns the functions `weight(event)` or `weight_CLASS(event)`, and all that they use.

    Args:
        reweighter: the reweighter of the run.
        expressions: the matched variables, in their order.
        event: the members of `Event`.
    """
    values = ", ".join(
        f"double({event.value(f'reweight.match {text!r}', expression)})"
        for text, expression in zip(reweighter.match, expressions, strict=True)
    )
    d = len(expressions)
    inner = (
        "/// The variables in which classes were made alike.\n"
        f"inline std::array<double, {d}> matched([[maybe_unused]] const Event& event)\n"
        f"{{\n   return {{{{{values}}}}};\n}}\n\n"
    )
    outer = ""
    for branch, group in reweighter.branches.items():
        name = function_of(branch)
        inner += _ratio_text(name, group, d)
        like = cpp_comment(reweighter.target or "the target")
        of = cpp_comment(group.name) if group.name else "a class that is reweighted"
        outer += (
            f"/// The weight that makes an event of {of} like {like} in {cpp_comment(', '.join(reweighter.match))};\n"
            "/// NaN where the event is not selected.\n"
            f"inline float {name}(const Event& event)\n"
            f"{{\n   return selected(event) ? float(detail::{name}_of(detail::matched(event).data())) "
            ": std::numeric_limits<float>::quiet_NaN();\n}\n\n"
        )
    return f"namespace detail {{\n\n{inner}}} // namespace detail\n\n{outer}"


def _ratio_text(name: str, group: Group, d: int) -> str:
    """Returns the function NAME_of(z) of d variables."""
    first = group.ratios[0]
    if isinstance(first, BinRatio):
        mean = np.mean([r.values for r in group.ratios if isinstance(r, BinRatio)], axis=0) * group.scale
        return _bins(name, first, mean)
    text, calls = "", []
    for k, ratio in enumerate(group.ratios):
        assert isinstance(ratio, TreeRatio)
        text += _trees(f"{name}_fold{k}", ratio, d)
        calls.append(f"{name}_fold{k}(z)")
    total = " + ".join(calls)
    return (
        f"{text}inline double {name}_of(const double* z)\n"
        f"{{\n   return ({total}) / {len(calls)} * {number(np.float64(group.scale))};\n}}\n\n"
    )


def _trees(name: str, ratio: TreeRatio, d: int) -> str:
    tables, lines, (margin,) = tree_margins(name, ratio.forest(), "x", d)
    support = ratio.support
    inside = []
    for j in range(d):
        missing = str(bool(support.missing[j])).lower()
        low, high = number(np.float64(support.low[j])), number(np.float64(support.high[j]))
        inside.append(f"(std::isnan(z[{j}]) ? {missing} : z[{j}] >= {low} && z[{j}] <= {high})")
    bounded = ", ".join(
        f"std::isnan(z[{j}]) ? std::numeric_limits<float>::quiet_NaN() : "
        f"float(std::min(std::max(z[{j}], {number(-_BOUND)}), {number(_BOUND)}))"
        for j in range(d)
    )
    return (
        f"{tables}inline double {name}(const double* z)\n{{\n   if (!({' && '.join(inside)}))\n      return 0.0;\n"
        f"   const float x[{d}] = {{{bounded}}};\n{lines}   return std::exp({margin});\n}}\n\n"
    )


def _bins(name: str, ratio: BinRatio, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    tables, body, index = "", "", ""
    for j, edges in enumerate(ratio.edges):
        n = len(edges) - 1
        tables += table(f"{name}_edges{j}", edges)
        place = f"std::upper_bound({name}_edges{j}, {name}_edges{j} + {n + 1}, z[{j}]) - {name}_edges{j} - 1"
        body += (
            f"   const auto bin{j} = std::isnan(z[{j}]) ? std::ptrdiff_t({n})\n"
            f"      : std::min<std::ptrdiff_t>(std::max<std::ptrdiff_t>({place}, 0), {n - 1});\n"
        )
        index = f"({index}) * {n + 1} + bin{j}" if index else f"bin{j}"
    tables += table(f"{name}_values", values.ravel())
    return f"{tables}inline double {name}_of(const double* z)\n{{\n{body}   return {name}_values[{index}];\n}}\n\n"
