"""Writes cuts as ROOT cut strings: one line for each working point, with the selection in front.

pidlab cuts on features in single precision, ROOT on expressions in double precision. The strings are exact: each limit
lies where a double begins to round to a float on the other side, and a value that pidlab takes as missing (a code, or a
value that is not finite as a float) passes no limit.

A polygon is an expression of its edges, so that a string needs nothing else. ROOT refuses formulas of more than 1000
operators, which a polygon of 20 to 40 corners has: in longer strings it is the name of a TCutG, and a macro beside the
string makes the TCutG.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.config.polygons import polygons_of
from pidlab.errors import ModelError, UsageError
from pidlab.export.band_text import Operand, band_condition
from pidlab.export.choice import elsewhere
from pidlab.export.parity import Exported, ParityEvents
from pidlab.expressions import ITERATION, Polygon, parse, selects
from pidlab.expressions.aliases import with_aliases
from pidlab.expressions.grammar import CUTG
from pidlab.expressions.literals import cpp_comment, cpp_identifier, cpp_string
from pidlab.expressions.polygons import root_expression
from pidlab.expressions.tokens import MAX_LENGTH
from pidlab.expressions.tree import Constant
from pidlab.models.categories import Category, CategoryModel
from pidlab.models.fold import FoldModel, is_tree
from pidlab.preprocess.features import missing_values
from pidlab.preprocess.recipe import Recipe
from pidlab.runs.bundle import Bundle, Decision

_SPLITTER = float(2**29 + 1)  # x s - (x s - x) is x rounded to single precision (Dekker, Numer. Math. 18 (1971) 224)
_TOO_LARGE = 3.4028235677973366e38  # from here on a double is infinite as a float


def write(bundle: Bundle, models: Sequence[str], output: Path, events: ParityEvents, run: Path) -> list[Exported]:
    """Writes `NAME.txt` for each model that is a cut; other models are left out if all models are asked for.

    Raises:
        UsageError: no model is a cut, a named model is not a cut, or the run is a regression.
        ModelError: a string decides differently from pidlab.
    """
    if bundle.recipe.target is not None:
        raise UsageError(
            f"{run}: a regression predicts numbers, and nothing of it is a cut; export it with --format header"
        )
    named: dict[str, dict[Polygon, str]] = {name: {} for name in models}
    single = frozenset(name for name, column in events.branches.items() if _is_single(column))
    strings = {name: dict(cut_strings(bundle, name, named[name], single)) for name in models}
    wanted = [name for name in models if strings[name]]
    if not wanted or (len(wanted) < len(models) and len(models) < len(bundle.recipe.loaded.config.models)):
        other = next(name for name in models if not strings[name])
        raise UsageError(
            f"{run}: models.{other} is no cut that a string can hold (types expression, cuts, tree, and band if its "
            f"shape is a formula, without folds and calibration, of at most {MAX_LENGTH:,} characters); "
            f"{elsewhere(bundle.models[other], 'cuts')}"
        )
    return [each for name in wanted for each in _written(name, strings[name], named[name], output, events)]


def cut_strings(
    bundle: Bundle, name: str, named: dict[Polygon, str], single: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """Yields each working point of a model that is a cut, and its cut string.

    The polygons of strings that would be too long are put into `named`, each with its name in the string; their axes
    hold no aliases. `single` are the branches whose values are floats, or integers that a float holds exactly.
    """
    for number, decision in enumerate(bundle.decisions[name]):
        alone = _Words(bundle, f"pid_{name}", None, single)
        text = _cut_string(bundle, name, number, decision, alone)
        if text is not None and _is_too_long(text):
            text = _cut_string(bundle, name, number, decision, _Words(bundle, f"pid_{name}", named, single))
        if text is not None and len(text) <= MAX_LENGTH:
            _refuse_choice(name, text)
            yield decision.name, text


def _refuse_choice(name: str, text: str) -> None:
    """Checks that ROOT would read a cut string as pidlab does.

    Raises:
        UsageError: it holds brackets that choose elements, or the number of a candidate.
    """
    expression = parse(text, {}, {}) if "[" in text or ITERATION in text else None
    if expression is not None and (expression.chooses or expression.counts_candidates):
        what = "brackets that choose elements of a list" if expression.chooses else f"{ITERATION!r}"
        raise UsageError(
            f"models.{name}: its cut string would hold {what}, which TTree::Draw reads in another way; nothing was "
            "exported. The decision is in the friend trees: pidlab apply"
        )


def _note_on_numbers(strings: Mapping[str, str]) -> str:
    """Returns what to know of the whole numbers in cut strings that no double holds; empty if there are none."""
    for text in strings.values():
        for step in parse(text, {}, {}).steps if _LONG_NUMBER.search(text) else ():
            if isinstance(step, Constant) and isinstance(step.value, int) and float(step.value) != step.value:
                return (
                    f"TTree::Draw reads {step.value}, and integers beyond 2^53, as the nearest double "
                    f"({float(step.value):.0f}), and decides otherwise on such rows"
                )
    return ""


_LONG_NUMBER = re.compile(r"\d{16}")  # 2^53, up to which a double holds each whole number, has 16 digits
_MOST_STEPS = 800
"""ROOT's limit is 1000 operators, of which it needs some more than a parsed expression has steps."""


def _is_too_long(text: str) -> bool:
    return len(text) > MAX_LENGTH or len(parse(text).steps) > _MOST_STEPS


def _cut_string(bundle: Bundle, name: str, number: int, decision: Decision, words: _Words) -> str | None:
    """Returns the cut string of one working point; None if the model is no cut."""
    recipe, model = bundle.recipe, bundle.models[name]
    is_cut = model.kind in ("cuts", "band", "tree") and len(model.fitted) == 1
    is_cut = is_cut and (model.calibration is None or model.kind == "tree")
    is_cut = is_cut and not any(part.band_columns for part in model.fitted[0].models)
    fitted = model.fitted[0] if is_cut and decision.flat is None else None
    if model.fixed_cut:
        terms = [words.operand(recipe.expression_models[name].expression.text)]
    elif model.kind == "band" and isinstance(fitted, FoldModel):
        text = band_condition(fitted.estimator, _operands(recipe, fitted, words), decision.threshold)
        if text is None or _is_too_long(text):
            return None
        terms = [text]
    elif isinstance(fitted, FoldModel) and is_tree(fitted.estimator):
        operands = _operands(recipe, fitted, words)
        passes = model.passing_nodes(decision.threshold)
        names, there = [each.value for each in operands], [f"({each.there})" for each in operands]
        terms = [f"({fitted.estimator.cut_string(passes, names, there)})"]
        if _is_too_long(terms[0]):
            return None
    elif isinstance(fitted, FoldModel):
        cuts: Any = fitted.estimator
        target = model.per_point_cuts[number][1] if model.per_point_cuts else None
        box = cuts.threshold_box(decision.threshold) if target is None else cuts.box(target)
        terms = list(_faces(recipe, fitted, box, words))
    elif isinstance(fitted, CategoryModel) and model.kind != "tree":
        boxes = fitted.boxes(decision.threshold)
        if boxes is None:
            return None
        can_overlap = recipe.loaded.config.models[name].categories_are_stated
        terms = [_in_categories(recipe, boxes, words, can_overlap=can_overlap)]
    else:
        return None
    selection = [words.operand(located.expression.text) for _, located in recipe.selection]
    return " && ".join([*selection, *terms]) or "1"


class _Words:
    """Writes expressions of a configuration for ROOT, which knows none of its aliases and polygons."""

    def __init__(self, bundle: Bundle, prefix: str, named: dict[Polygon, str] | None, single: frozenset[str]) -> None:
        """Makes a writer whose polygons are expressions, or names in `named`, each of which begins with `prefix`.

        `single` are the branches whose values single precision holds exactly.
        """
        config = bundle.recipe.loaded.config
        self._aliases, self._polygons = dict(config.data.aliases), polygons_of(config)
        self._prefix, self._named, self._single = prefix, named, single

    def text(self, text: str) -> str:
        """Returns an expression without aliases and calls of `cutg`."""
        return with_aliases(text, self._aliases, self._polygon)

    def operand(self, text: str) -> str:
        """Returns an expression as one operand, in brackets unless it is a name."""
        text = self.text(text)
        is_name = text.replace(".", "").replace("_", "").isalnum() and not text[0].isdigit()
        return text if is_name else f"({text})"

    def single(self, text: str) -> str:
        """Returns an expression rounded to single precision, as one operand."""
        name = self.operand(text)
        if self.text(text) in self._single:
            return name
        large = f"({name}) * {_SPLITTER!r}"
        return f"({large} - ({large} - {name}))"

    def _polygon(self, name: str, axes: list[str]) -> str:
        polygon = self._polygons[name]
        x, y = axes or (polygon.x, polygon.y)
        if self._named is None:
            return root_expression(polygon, self.operand(x), self.operand(y))
        on_axes = replace(polygon, x=self.text(x), y=self.text(y))
        if on_axes not in self._named:
            self._named[on_axes] = cpp_identifier(f"{self._prefix}_{polygon.short_name}", self._named.values())
        return self._named[on_axes]


def polygons_macro(name: str, named: Mapping[Polygon, str]) -> str:
    """Returns a ROOT macro of this name that makes each polygon a TCutG, which formulas then find by its name."""
    parts = [
        "// The polygons of the cut strings beside this macro. Run it before a tree is drawn with one of them:\n"
        f"//    .x {name}.C\n#include <TCutG.h>\n\nvoid {name}()\n{{\n"
    ]
    for polygon, word in named.items():
        points = textwrap.fill(", ".join(f"{{{x!r}, {y!r}}}" for x, y in polygon.points), 110)
        text = (
            f"const double points[][2] = {{\n{points}}};\n"
            f"const int n = {len(polygon.points)};\n"
            f"TCutG *cut = new TCutG({cpp_string(word)}, n); // gROOT keeps it\n"
            "for (int i = 0; i < n; ++i) cut->SetPoint(i, points[i][0], points[i][1]);\n"
            f"cut->SetVarX({cpp_string(polygon.x)});\ncut->SetVarY({cpp_string(polygon.y)});\n"
        )
        indented = "".join(f"      {line}\n" for line in text.splitlines())
        parts.append(f"   {{ // {cpp_comment(polygon.name)}\n{indented}   }}\n")
    return "".join([*parts, "}\n"])


def _in_categories(recipe: Recipe, boxes: Sequence[tuple[Category, Any]], words: _Words, *, can_overlap: bool) -> str:
    """Returns the boxes of all categories as one condition; of conditions that overlap the first counts."""
    texts = [text for text, _ in recipe.conditions]
    terms, others = [], ""
    for category, box in boxes:
        condition = words.operand(texts[category.column - len(recipe.features)])
        terms.append(" && ".join([f"{others}{condition}", *_faces(recipe, category.model, box, words)]))
        others += f"!{condition} && " if can_overlap else ""
    return f"({' || '.join(f'({term})' for term in terms)})"


def _faces(recipe: Recipe, fitted: FoldModel, box: Any, words: _Words) -> Iterator[str]:
    """Yields the terms of a box of features; boxes that are accepted too stand in one term with it."""
    if box.alternatives:
        conditions = (" && ".join(_faces(recipe, fitted, each, words)) or "1" for each in box.boxes)
        yield f"({' || '.join(f'({condition})' for condition in conditions)})"
        return
    if np.any(box.low >= box.high):
        yield "0"
        return
    for column, low, high in zip(fitted.columns, box.low, box.high, strict=True):
        feature, located = recipe.features[column]
        name = words.operand(located.expression.text)
        if np.isinf(low) and np.isinf(high):
            continue
        yield f"{name} > {-_TOO_LARGE!r}" if np.isinf(low) else f"{name} {_above(low)}"
        yield f"{name} < {_TOO_LARGE!r}" if np.isinf(high) else f"{name} {_below(high)}"
        yield from (f"{name} != {code!r}" for code in missing_values(feature))


def _is_single(column: Any) -> bool:
    """Returns whether single precision holds each value of a branch, a number for each row, exactly."""
    kind = getattr(column, "dtype", None)
    return kind is not None and column.ndim == 1 and np.can_cast(kind, np.float32)


def _operands(recipe: Recipe, fitted: FoldModel, words: _Words) -> list[Operand]:
    """Returns for each column that a model reads its value in single precision, and the condition that it is there."""
    found = []
    for column in fitted.columns:
        feature, located = recipe.features[column]
        name = words.operand(located.expression.text)
        codes = [f"{name} != {code!r}" for code in missing_values(feature)]
        there = " && ".join([f"abs({name}) < {_TOO_LARGE!r}", *codes])
        found.append(Operand(words.single(located.expression.text), there))
    return found


def _above(face: float) -> str:
    """Returns the condition that a double is above `face` as a float: > or >= the middle between two floats."""
    first = np.float32(face)
    if not float(first) > face:
        first = np.nextafter(first, np.float32(np.inf))
    last = np.nextafter(first, np.float32(-np.inf))
    middle = (float(first) + float(last)) / 2
    return f"{'>=' if np.float32(middle) == first else '>'} {middle!r}"


def _below(face: float) -> str:
    """Returns the condition that a double is below `face` as a float."""
    operator, middle = _above(-face).split()
    return f"{operator.replace('>', '<')} {-float(middle)!r}"


def _written(
    model: str, strings: dict[str, str], named: Mapping[Polygon, str], output: Path, events: ParityEvents
) -> Iterator[Exported]:
    """Writes the strings of one model, checked on `events`, and the macro that makes their polygons, if there are any.

    Raises:
        ModelError: a string decides differently from pidlab.
    """
    path = output / f"{model}.txt"
    asked = {word: f'{CUTG}("{word}")' for word in named.values()}
    polygons = {word: polygon for polygon, word in named.items()}
    for point, text in strings.items():
        passed = selects(parse(text, asked, polygons), events.branches, len(events))
        differ = np.flatnonzero(passed != events.passed[model][point])
        if len(differ):
            counted = f"decides {len(differ):,} of {len(events):,} events differently from pidlab"
            raise ModelError(f"{path.name}: {point}: the cut string {counted}; nothing was exported")
    path.write_text("".join(f"{point}: {text}\n" for point, text in strings.items()), encoding="utf-8")
    yield Exported(path, "cuts", (model,), 0.0, len(events), _note_on_numbers(strings))
    if named:
        macro = output / f"{model}_polygons.C"
        macro.write_text(polygons_macro(macro.stem, named), encoding="utf-8")
        note = f"its polygons have too many corners for a formula of ROOT: run .x {macro.name} first"
        yield Exported(macro, "cuts", (model,), 0.0, len(events), note)
