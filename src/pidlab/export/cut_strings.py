"""Writes cuts as ROOT cut strings: one line for each working point, with the selection in front.

pidlab cuts on features in single precision, ROOT on expressions in double precision. The strings are exact: each limit
lies where a double begins to round to a float on the other side, and a value that pidlab takes as missing (a code, or a
value that is not finite as a float) passes no limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.errors import ModelError, UsageError
from pidlab.export.parity import Exported, ParityEvents
from pidlab.expressions import parse, selects
from pidlab.expressions.tokens import tokens
from pidlab.models.categories import Category, CategoryModel
from pidlab.models.fold import FoldModel
from pidlab.preprocess.features import missing_values
from pidlab.preprocess.recipe import Recipe
from pidlab.runs.bundle import Bundle

_TOO_LARGE = 3.4028235677973366e38  # from here on a double is infinite as a float


def write(bundle: Bundle, models: Sequence[str], output: Path, events: ParityEvents, run: Path) -> list[Exported]:
    """Writes `NAME.txt` for each model that is a cut; other models are left out if all models are asked for.

    Raises:
        UsageError: no model is a cut, or a named model is not a cut.
        ModelError: a string decides differently from pidlab.
    """
    strings = {name: dict(cut_strings(bundle, name)) for name in models}
    wanted = [name for name in models if strings[name]]
    if not wanted or (len(wanted) < len(models) and len(models) < len(bundle.recipe.loaded.config.models)):
        other = next(name for name in models if not strings[name])
        raise UsageError(
            f"{run}: models.{other} is no cut that a string can hold (types expression and cuts, without folds and "
            "calibration); export it with --format header"
        )
    return [_written(name, strings[name], output, events) for name in wanted]


def cut_strings(bundle: Bundle, name: str) -> Iterator[tuple[str, str]]:
    """Yields each working point of a model that is a cut, and its cut string."""
    recipe, model = bundle.recipe, bundle.models[name]
    aliases = dict(recipe.loaded.config.data.aliases)
    has_boxes = model.kind == "cuts" and len(model.fitted) == 1 and model.calibration is None
    fitted = model.fitted[0] if has_boxes else None
    for number, decision in enumerate(bundle.decisions[name]):
        if model.fixed_cut:
            terms = [_whole(recipe.expression_models[name].expression.text, aliases)]
        elif isinstance(fitted, FoldModel) and decision.flat is None:
            cuts: Any = fitted.estimator
            target = model.per_point_cuts[number][1] if model.per_point_cuts else None
            box = cuts.threshold_box(decision.threshold) if target is None else cuts.box(target)
            terms = list(_faces(recipe, fitted, box, aliases))
        elif isinstance(fitted, CategoryModel) and decision.flat is None:
            boxes = fitted.boxes(decision.threshold)
            if boxes is None:
                continue
            can_overlap = recipe.loaded.config.models[name].categories_are_stated
            terms = [_in_categories(recipe, boxes, aliases, can_overlap=can_overlap)]
        else:
            continue
        selection = [_whole(located.expression.text, aliases) for _, located in recipe.selection]
        yield decision.name, " && ".join([*selection, *terms]) or "1"


def with_aliases(text: str, aliases: Mapping[str, str]) -> str:
    """Returns an expression with every alias replaced by its expression in brackets."""
    written, end = "", 0
    for token in tokens(text):
        if token.kind == "name" and token.text in aliases:
            written += f"{text[end : token.position]}({with_aliases(aliases[token.text], aliases)})"
            end = token.stop
    return written + text[end:]


def _whole(text: str, aliases: Mapping[str, str]) -> str:
    """Returns an expression as one operand, in brackets unless it is a name."""
    text = with_aliases(text, aliases)
    is_name = text.replace(".", "").replace("_", "").isalnum() and not text[0].isdigit()
    return text if is_name else f"({text})"


def _in_categories(
    recipe: Recipe, boxes: Sequence[tuple[Category, Any]], aliases: Mapping[str, str], *, can_overlap: bool
) -> str:
    """Returns the boxes of all categories as one condition; of conditions that overlap the first counts."""
    texts = [text for text, _ in recipe.conditions]
    terms, others = [], ""
    for category, box in boxes:
        condition = _whole(texts[category.column - len(recipe.features)], aliases)
        terms.append(" && ".join([f"{others}{condition}", *_faces(recipe, category.model, box, aliases)]))
        others += f"!{condition} && " if can_overlap else ""
    return f"({' || '.join(f'({term})' for term in terms)})"


def _faces(recipe: Recipe, fitted: FoldModel, box: Any, aliases: Mapping[str, str]) -> Iterator[str]:
    """Yields the terms of a box of features."""
    if np.any(box.low >= box.high):
        yield "0"
        return
    for column, low, high in zip(fitted.columns, box.low, box.high, strict=True):
        feature, located = recipe.features[column]
        name = _whole(located.expression.text, aliases)
        if np.isinf(low) and np.isinf(high):
            continue
        yield f"{name} > {-_TOO_LARGE!r}" if np.isinf(low) else f"{name} {_above(low)}"
        yield f"{name} < {_TOO_LARGE!r}" if np.isinf(high) else f"{name} {_below(high)}"
        yield from (f"{name} != {code!r}" for code in missing_values(feature))


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


def _written(model: str, strings: dict[str, str], output: Path, events: ParityEvents) -> Exported:
    path = output / f"{model}.txt"
    for point, text in strings.items():
        passed = selects(parse(text), events.branches, len(events))
        differ = np.flatnonzero(passed != events.passed[model][point])
        if len(differ):
            counted = f"decides {len(differ):,} of {len(events):,} events differently from pidlab"
            raise ModelError(f"{path.name}: {point}: the cut string {counted}; nothing was exported")
    path.write_text("".join(f"{point}: {text}\n" for point, text in strings.items()), encoding="utf-8")
    return Exported(path, "cuts", (model,), 0.0, len(events))
