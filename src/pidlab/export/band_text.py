"""Writes a band whose shape is a formula as a ROOT cut string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pidlab.models.band.curves import Array, Curves

_FORMULAE = ("clas12", "polynomial")
_N_PLACES = 101  # in each quantity, at which a width is compared with its least value


class Operand(NamedTuple):
    """An expression, and the condition that it has a value."""

    value: str
    there: str


def band_condition(band: Any, operands: Sequence[Operand], threshold: float) -> str | None:
    """Returns `score > threshold` as a condition; None if the shape of the band is no formula.

    Args:
        band: the fitted band.
        operands: one for each column that it reads.
        threshold: the threshold of the score of the signal, which is minus a distance.
    """
    if band.shape not in _FORMULAE:
        return None
    limit = _largest_below(-threshold)
    if limit <= 0:
        return "0"
    v, d = len(band.variables_), band.n_against
    variables, against = operands[:v], operands[v : v + d]
    terms = []
    for g, group in enumerate(band.groups_.tolist()):
        own = [band.curves_[j][g] for j in range(v)]
        if v == 1:
            term = _window(variables[0], [value for value, _ in against], own[0], band.sides_[0], limit)
        else:
            term = _sum(variables, [value for value, _ in against], own, band.sides_, limit)
        terms.append(f"{operands[v + d][0]} == {group} && {term}" if band.by is not None else term)
    there = [condition for _, condition in operands[v:]]
    either = terms[0] if len(terms) == 1 else f"({' || '.join(f'({term})' for term in terms)})"
    return f"({' && '.join([*there, either])})"


def _window(variable: Operand, against: Sequence[str], curves: Curves, side: str, limit: float) -> str:
    """Returns the condition of one variable: between so many widths below and above the mean."""
    value, there = variable
    mean = _text(curves, curves.mean, against)
    below = f"{value} - {mean} > -{limit!r} * {_width(curves, 'below', against)}"
    above = f"{value} - {mean} < {limit!r} * {_width(curves, 'above', against)}"
    sides = {"low": (below,), "high": (above,), "both": (below, above)}[side]
    return " && ".join([there, *sides])


def _sum(
    variables: Sequence[Operand], against: Sequence[str], curves: Sequence[Curves], sides: Sequence[str], limit: float
) -> str:
    """Returns the condition of several variables, of which those that are missing add nothing."""
    squares = []
    for (value, there), own, side in zip(variables, curves, sides, strict=True):
        from_mean = f"({value} - {_text(own, own.mean, against)})"
        width = _width(own, "above", against)
        if not own.is_symmetric:
            width = f"({from_mean} < 0 ? {_width(own, 'below', against)} : {width})"
        distance = f"{from_mean} / {width}"
        counts = {"low": f" && {from_mean} < 0", "high": f" && {from_mean} > 0", "both": ""}[side]
        squares.append(f"({there}{counts} ? pow({distance}, 2) : 0)")
    any_there = " || ".join(f"({there})" for _, there in variables)
    return f"({any_there}) && sqrt({' + '.join(squares)}) < {limit!r}"


def _width(curves: Curves, side: str, against: Sequence[str]) -> str:
    """Returns a width, guarded by the least width if the formula falls below that."""
    text = _text(curves, getattr(curves, side), against)
    lines = [np.linspace(a, b, _N_PLACES) for a, b in zip(curves.basis.low, curves.basis.high, strict=True)]
    places = np.stack([line.ravel() for line in np.meshgrid(*lines)], axis=1)
    smallest = (curves.basis.design(places) @ getattr(curves, side)).min()
    return text if smallest > 1.1 * curves.least else f"max({text}, {curves.least!r})"


def _text(curves: Curves, coefficients: Array, against: Sequence[str]) -> str:
    """Returns a curve as a formula, with each quantity moved to within the range of training."""
    basis = curves.basis
    limits = zip(against, basis.low.tolist(), basis.high.tolist(), strict=False)
    inside = [f"min(max({x}, {low!r}), {high!r})" for x, low, high in limits]
    if len(inside) == 1:
        text, operator = "", "/" if basis.reciprocal else "*"
        for value in coefficients[::-1].tolist():  # Horner's scheme, which repeats the quantity least
            text = f"({value!r} + {text} {operator} {inside[0]})" if text else repr(value)
        return text
    terms = []
    for powers, value in zip(basis.powers, coefficients.tolist(), strict=True):
        factors = [each for each, power in zip(inside, powers, strict=True) for _ in range(power)]
        terms.append(" * ".join([repr(value), *factors]))
    return f"({' + '.join(terms)})"


def _largest_below(distance: float) -> float:
    """Returns the double below which a distance is, as a float, smaller than `distance`.

    It lies in the middle between two floats; a double there rounds to the even one of them.
    """
    above = np.float32(distance)
    if float(above) < distance:
        above = np.nextafter(above, np.float32(np.inf))
    below = np.nextafter(above, np.float32(-np.inf))
    middle = (float(below) + float(above)) / 2
    return float(middle if np.float32(middle) == above else np.nextafter(middle, np.inf))
