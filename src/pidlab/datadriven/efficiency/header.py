"""Efficiencies as a C++ header without any library: the same look-up as in friend trees, for RDataFrame and loops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pidlab.atomic import write_text
from pidlab.datadriven.efficiency.corrections import variations
from pidlab.datadriven.efficiency.replicas import replicas
from pidlab.datadriven.efficiency.result import EfficiencyResult, Quantity
from pidlab.export.cpp.text import table
from pidlab.expressions.literals import cpp_comment, cpp_identifier

_NAMESPACE = "pidlab_efficiency"

_HEAD = """\
// Efficiencies from data and scale factors, measured by pidlab. C++17, no library.
//
// Arguments are the axes of the bins, in this order: {axes}
// Every function returns NaN outside the bins and in a bin without a number; `outside` tells so.
// A variation is one of the enumeration: Variation::nominal, up, down (all uncertainties), stat_up, stat_down, and up
// and down of each systematic. Replica r moves all bins together as far as they share their uncertainties.

#ifndef PIDLAB_EFFICIENCY_H
#define PIDLAB_EFFICIENCY_H

#include <limits>

namespace {namespace} {{

{edges}
/// The number of the bin of n + 1 ascending edges that holds x, the last one with its upper edge; -1 outside.
inline int find(double x, const double *edges, int n)
{{
   if (!(x >= edges[0] && x <= edges[n]))
      return -1;
   int i = n - 1;
   while (x < edges[i])
      --i;
   return i;
}}

/// The number of the bin, the last axis varies fastest; -1 outside.
inline int bin({arguments})
{{
   int number = 0;
{steps}   return number;
}}
"""
_FUNCTION = """
{values}{replicas}
/// {what}
inline double {name}({arguments}, Variation variation = Variation::nominal)
{{
   const int number = bin({passed});
   return number < 0 ? std::numeric_limits<double>::quiet_NaN() : {name}_values[static_cast<int>(variation)][number];
}}
"""
_REPLICA = """
/// Replica r, from 0 to {last}, of {name}.
inline double {name}_replica({arguments}, int r)
{{
   const int number = bin({passed});
   return number < 0 ? std::numeric_limits<double>::quiet_NaN() : {name}_replicas[r][number];
}}
"""
_OUTSIDE = """
/// Whether there is no number.
inline bool {name}_outside({arguments})
{{
   const double value = {of}({passed});
   return value != value;
}}
"""


def write_header(path: Path, result: EfficiencyResult, n_replicas: int = 0) -> None:
    """Writes `efficiency.h`.

    Raises:
        OutputError: the file cannot be written.
    """
    binning = result.binning
    n = len(binning.names)
    arguments, passed = ", ".join(f"double x{i}" for i in range(n)), ", ".join(f"x{i}" for i in range(n))
    edges = "".join(table(f"edges{i}", np.asarray(e, np.float64)) for i, e in enumerate(binning.edges))
    steps = "".join(
        f"   const int i{i} = find(x{i}, edges{i}, {len(e) - 1});\n   if (i{i} < 0)\n      return -1;\n"
        f"   number = number * {len(e) - 1} + i{i};\n"
        for i, e in enumerate(binning.edges)
    )
    head = _HEAD.format(
        axes=", ".join(cpp_comment(name) for name in binning.names), namespace=_NAMESPACE, edges=edges,
        arguments=arguments, steps=steps,
    )  # fmt: skip
    quantities = _quantities(result)
    names = list(dict.fromkeys(key for _, _, values in quantities for key in variations(values)))
    enumerators = {name: cpp_identifier(name, ["Variation"]) for name in names}
    parts = [head, f"\nenum class Variation {{ {', '.join(enumerators.values())} }};\n"]
    taken: list[str] = ["bin", "find", "Variation"]
    for stem, what, values in quantities:
        name = cpp_identifier(stem, taken)
        taken.append(name)
        found = variations(values)
        rows = np.array([found.get(key, found["nominal"]) for key in names])
        moved = replicas(values, n_replicas)
        tables = table(f"{name}_values", rows), table(f"{name}_replicas", moved) if n_replicas else ""
        common = {"name": name, "arguments": arguments, "passed": passed}
        parts.append(_FUNCTION.format(values=tables[0], replicas=tables[1], what=cpp_comment(what), **common))
        if n_replicas:
            parts.append(_REPLICA.format(last=n_replicas - 1, **common))
        parts.append(_OUTSIDE.format(of=name, **common))
    write_text(path, "".join(parts) + f"\n}} // namespace {_NAMESPACE}\n\n#endif\n")


def _quantities(result: EfficiencyResult) -> list[tuple[str, str, Sequence[Quantity]]]:
    """Returns the names, descriptions and numbers of everything that the header has a function for."""
    found: list[tuple[str, str, Sequence[Quantity]]] = []
    for point in result.points:
        found.append((f"{point.name}_efficiency", f"Efficiency of {point.title}.", point.efficiencies))
        if point.with_simulation:
            found.append((f"{point.name}_sf", f"Scale factor of {point.title}.", point.scale_factors))
    return found
