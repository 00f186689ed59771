"""Check: whether an expression fits the branches; one pass finds unknown names, arrays and wrong types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pidlab.errors import ExpressionError, nearest
from pidlab.expressions.kinds import Kind, Number
from pidlab.expressions.operations import operation_of
from pidlab.expressions.reductions import REDUCTIONS
from pidlab.expressions.tree import (
    CHOICE,
    ITERATION,
    Apply,
    Branch,
    Constant,
    Entry,
    Expression,
    Step,
    fold,
    stored,
    whole_list,
)

_TEXT_HINT = "A branch of text is compared as in 'class == \"g\"'; a branch with an odd name stands in backquotes."

_NUMBER = Kind(Number.FLOAT)


@dataclass(frozen=True, slots=True)
class _Item:
    """An intermediate result.

    Attributes:
        kind: what a row holds of it.
        source: the branch that makes it an array; None for one number a row.
        alternate: the `Alt$` that it contains.
        meaning: the same number for results that are computed in the same way.
        chosen: the meaning of the conditions by which its elements were chosen; 0 for whole lists.
    """

    kind: Kind
    source: Branch | None = None
    alternate: Apply | None = None
    meaning: int = 0
    chosen: int = 0


def check(expression: Expression, branches: Mapping[str, Kind]) -> Kind:
    """Returns the kind of the result, one number a row.

    Arithmetic on integers keeps the kind INT, although its values are computed as doubles.

    Args:
        expression: the expression to check.
        branches: what each branch of the tree holds.

    Raises:
        ExpressionError: a branch is unknown or holds no numbers, an array is used where one number a row is
            needed, an index is out of range, or a bit operator is applied to a float.
    """
    text = expression.text
    (result,) = _items(text, in_whole_events(expression, branches).steps, branches)
    _require_scalar(text, result)
    if result.kind.number is Number.TEXT:
        message = f"{text.strip()!r} holds text, and a number is needed"
        raise ExpressionError(message, text, 0, len(text), _TEXT_HINT)
    return result.kind


def in_whole_events(expression: Expression, branches: Mapping[str, Kind]) -> Expression:
    """Returns the expression in which candidates stand for all candidates of their event, where a list is wanted.

    If a row is a candidate, its branches hold one number. A reduction of numbers alone would mean nothing: there they
    are the lists of the event, so that `Sum$(Electron_pt > 10)` counts the electrons, as in TTree::Draw. So they are in
    a condition between brackets behind a branch of the candidates, `Electron_pt[Electron_charge > 0]`. Beside another
    list they keep the candidate's own number: `Sum$(Jet_pt > Electron_pt)`.

    Args:
        expression: the expression as it is written.
        branches: as for `check`, with the lists of the event under the names of `whole_list`.

    Raises:
        ExpressionError: as by `check`.
    """
    lists = {name for name in expression.branches if not branches.get(whole_list(name), _NUMBER).is_scalar}
    if not lists:
        return expression
    steps = list(expression.steps)
    for i, place in expression.takers_of_lists():
        items = _items(expression.text, steps[place], branches)
        if any(item.source is not None for item in items):
            continue
        taker, chosen_from = steps[i], steps[place.start - 1]
        if isinstance(taker, Apply) and taker.name == CHOICE:  # only conditions, and only of the list of candidates
            is_own = isinstance(chosen_from, Branch) and chosen_from.name in lists and not chosen_from.indices
            if not is_own or items[0].kind.number is not Number.BOOL:
                continue
        steps[place] = [
            replace(step, is_whole=True) if isinstance(step, Branch) and step.name in lists else step
            for step in steps[place]
        ]
    return replace(expression, steps=tuple(steps))


def _items(text: str, steps: Sequence[Step], branches: Mapping[str, Kind]) -> list[_Item]:
    """Returns the results of steps that take none but their own."""
    return fold(steps, partial(_leaf, text, branches), partial(_applied_with_meaning, text))


def refuse_iteration(expression: Expression, step: Entry, rows_are_candidates: bool) -> None:
    """Checks that `Iteration$` is only asked of candidates.

    Raises:
        ExpressionError: a row is an entry.
    """
    if step.name == ITERATION and not rows_are_candidates:
        message = f"{ITERATION!r} is the number of the candidate in its event, and a row is an event"
        hint = "Say in data.per of which collection the rows are the candidates."
        raise ExpressionError(message, expression.text, step.position, step.length, hint)


def _leaf(text: str, branches: Mapping[str, Kind], step: Constant | Branch | Entry) -> _Item:
    if isinstance(step, Entry):
        return _Item(Kind(Number.INT), meaning=hash(step.name))
    if isinstance(step, Constant):
        number = {bool: Number.BOOL, int: Number.INT, float: Number.FLOAT, str: Number.TEXT}[type(step.value)]
        return _Item(Kind(number), meaning=hash(step.value))
    if step.name not in branches:
        hint = nearest(step.name, sorted(stored(branches)))
        hint = hint[:1].upper() + hint[1:]
        raise ExpressionError(f"unknown branch {step.name!r}", text, step.position, step.length, hint)
    kind = branches[step.name]
    if step.is_whole:
        kind = branches.get(whole_list(step.name), kind)
    if kind.number is Number.OTHER:
        message = f"branch {step.name!r} does not hold plain numbers"
        raise ExpressionError(message, text, step.position, step.length, "Numbers, fixed arrays and lists can be used.")
    item = Kind(kind.number, _remaining(text, step, kind))
    return _Item(item, None if item.is_scalar else step, meaning=hash((step.name, step.indices)))


def _remaining(text: str, step: Branch, kind: Kind) -> tuple[int | None, ...]:
    """Returns the dimensions of the branch that its indices leave."""
    if len(step.indices) > len(kind.shape):
        held = f"{len(kind.shape)} dimension{'s' * (len(kind.shape) != 1)}" if kind.shape else "one number a row"
        message = f"branch {step.name!r} holds {held}, {len(step.indices)} indices given"
        raise ExpressionError(message, text, step.position, step.length)
    for index, size in zip(step.indices, kind.shape, strict=False):
        if size is not None and index >= size:
            hint = f"Its elements are counted from 0 to {size - 1}."
            message = f"index {index} is beyond the {size} elements of branch {step.name!r}"
            raise ExpressionError(message, text, step.position, step.length, hint)
    return kind.shape[len(step.indices) :]


def _applied_with_meaning(text: str, step: Apply, arguments: list[_Item]) -> _Item:
    return replace(_applied(text, step, arguments), meaning=hash((step.name, *(a.meaning for a in arguments))))


def _applied(text: str, step: Apply, arguments: list[_Item]) -> _Item:
    if step.name == CHOICE:
        return _chosen(text, step, *arguments)
    _check_text(text, step, arguments)
    if step.name == "Alt$":
        for argument in arguments:
            _require_scalar(text, argument)
        return _Item(Kind(_result("same", arguments)), None, step)
    if step.name in REDUCTIONS:
        _common_array(text, step, arguments)
        return _Item(Kind(_result(REDUCTIONS[step.name].result, arguments[:1])))
    operation = operation_of(step)
    assert operation is not None
    if operation.integers and not all(a.kind.number.is_integer for a in arguments):
        hint = "Use '&&', '||' or '!' for conditions, 'int(x)' for the bits of a whole number held as a float."
        message = f"bit operator {step.name!r} needs integers, not floats"
        raise ExpressionError(message, text, step.position, step.length, hint)
    array = _common_array(text, step, arguments)
    number = _result(operation.result, arguments[1:] if step.name == "?:" else arguments)
    if array is None:
        return _Item(Kind(number), None, _alternate(arguments))
    return replace(array, kind=Kind(number, array.kind.shape))


def _chosen(text: str, step: Apply, items: _Item, index: _Item) -> _Item:
    """Returns the elements of a list that a condition or a whole number between brackets chooses.

    A condition for each element leaves a list, a whole number one element (or none), a list of them a list.
    """
    written = text[step.position : step.position + step.length]
    place = (text, step.position, step.length)
    if items.source is None:
        hint = "It takes no brackets: each row has its own value."
        raise ExpressionError(f"{written!r}: there is one number a row to choose from", *place, hint)
    if len(items.kind.shape) > 1 or items.kind.number is Number.TEXT:
        raise ExpressionError(f"{written!r}: elements are chosen of a list of numbers, not of {items.kind}", *place)
    if not index.kind.number.is_integer:
        hint = "Write 'int(x)' for a whole number held as a float, or a comparison for a condition."
        raise ExpressionError(f"{written!r}: what stands in brackets is {index.kind.number.value}", *place, hint)
    if index.kind.number is Number.BOOL:
        _common_array(text, step, [items, index])
        shape, chosen = (None,), hash((items.chosen, index.meaning))
        return replace(items, kind=Kind(items.kind.number, shape), chosen=chosen)
    if index.source is None:
        return _Item(Kind(items.kind.number))
    if len(index.kind.shape) > 1:
        raise ExpressionError(f"{written!r}: an index is a whole number or a list of them", *place)
    return replace(index, kind=Kind(Number.FLOAT, index.kind.shape))


def _check_text(text: str, step: Apply, arguments: list[_Item]) -> None:
    """Checks that text is only compared with text."""
    held = [a.kind.number is Number.TEXT for a in arguments]
    if not any(held) or (all(held) and step.name in ("==", "!=")):
        return
    message = f"{step.name!r} takes numbers, and text is given"
    if step.name in ("==", "!="):
        message = "a number is compared with text"
    raise ExpressionError(message, text, step.position, step.length, _TEXT_HINT)


def _alternate(arguments: list[_Item]) -> Apply | None:
    return next((a.alternate for a in arguments if a.alternate is not None), None)


def _result(rule: str, arguments: list[_Item]) -> Number:
    if rule == "same":
        return Number.INT if all(a.kind.number.is_integer for a in arguments) else Number.FLOAT
    return Number(rule)


def _common_array(text: str, step: Apply, arguments: list[_Item]) -> _Item | None:
    """Returns the first array among the arguments, after a check that all can be walked in parallel."""
    arrays = [a for a in arguments if a.source is not None]
    if not arrays:
        return None
    if alternate := _alternate(arguments):
        hint = "ROOT takes the alternate for every element but the first; move the 'Alt$' out of the reduction."
        raise ExpressionError("'Alt$' beside an array", text, alternate.position, alternate.length, hint)
    first = arrays[0]
    for other in arrays[1:]:
        if first.chosen != other.chosen:
            hint = "Choose from each list by the same condition: Sum$(a[c] * b[c]); two conditions are x[c && d]."
            message = "a list of which elements were chosen stands beside one of other elements"
            raise ExpressionError(message, text, step.position, step.length, hint)
        flat = len(first.kind.shape) == len(other.kind.shape) == 1
        same = first.kind.shape == other.kind.shape and (not first.kind.is_jagged or _same_branch(first, other))
        if not (flat or same):
            message = f"arrays of different dimensions, {first.kind} and {other.kind}, cannot be walked side by side"
            raise ExpressionError(message, text, step.position, step.length, "Choose a row with an index: m[0].")
    return first


def _same_branch(a: _Item, b: _Item) -> bool:
    return a.source is not None and b.source is not None and a.source.name == b.source.name


def _require_scalar(text: str, item: _Item) -> None:
    if item.source is None:
        return
    name = item.source.name
    if item.kind.is_jagged:
        held = f"branch {name!r} holds a list in each row"
    else:
        held = f"branch {name!r} holds {'x'.join(map(str, item.kind.shape))} numbers in each row"
    collection = name.rpartition(".")[0] if "::" in name else name.partition("_")[0]
    hint = (
        f"Three ways out: one element '{name}[0]', a reduction such as 'Max$({name})' or 'Sum$({name} > 0) > 0', "
        f"or 'per: {collection}' in the configuration, which makes a row of each element."
    )
    raise ExpressionError(f"{held}, and one number is needed", text, item.source.position, item.source.length, hint)
