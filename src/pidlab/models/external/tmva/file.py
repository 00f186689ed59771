"""TMVA's weight files, XML as the Factory writes it, and the transformations of variables before a method.

Nothing in a file is trusted. Sources: TMVA Users Guide, arXiv:physics/0703039, "Preprocessing"; and what TMVA::Reader
does with such a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from pidlab.models.external.columns import ModelMismatchError
from pidlab.sample import FloatArray

_DEEPEST = 300
_TRUE = frozenset({"true", "1", "t", "yes"})

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """x → 2 (x - low) / (high - low) - 1 for the variables at `places`, (m,) each: section "Normalisation"."""

    places: NDArray[np.int64]
    low: Float32
    high: Float32

    def __call__(self, x: Float32) -> Float32:
        """Maps (n, d) to (n, d), in float32 as in TMVA."""
        result = x.copy()
        scale = np.float32(1) / (self.high - self.low)
        result[:, self.places] = (x[:, self.places] - self.low) * scale * np.float32(2) - np.float32(1)
        return result


@dataclass(frozen=True, slots=True)
class Decorrelation:
    """x → C^(-1/2) x for the variables at `places`, by the (m, m) matrix of the file: section "Decorrelation"."""

    places: NDArray[np.int64]
    matrix: NDArray[np.float64]

    def __call__(self, x: Float32) -> Float32:
        """Maps (n, d) to (n, d) float32; sums are float64, one variable after the other as in TMVA."""
        result = x.copy()
        own = x[:, self.places].astype(np.float64)
        rotated = np.zeros_like(own)
        for j in range(len(self.places)):
            rotated += own[:, [j]] * self.matrix[:, j]
        result[:, self.places] = rotated
        return result


Transformation = Normalisation | Decorrelation


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A method as TMVA saved it.

    Attributes:
        method: "BDT", "MLP" and so on, without the name that its user gave.
        version: TMVA's version code, 256² major + 256 minor + patch; 0 if the file does not say it.
        options: name to text.
        variables: for each variable its names: expression, label, title and internal name.
        transformations: the transformations of the variables, in order.
        weights: the element that holds the numbers of the method.
    """

    method: str
    version: int
    options: dict[str, str]
    variables: tuple[tuple[str, ...], ...]
    transformations: tuple[Transformation, ...]
    weights: Element

    def is_on(self, name: str, default: bool = False) -> bool:
        """Returns whether an option is true."""
        return self.options[name].lower() in _TRUE if name in self.options else default


def damaged(reason: str) -> ModelMismatchError:
    """Returns the error about a file that is cut short or damaged."""
    return ModelMismatchError(f"is not a whole weight file of TMVA: {reason}")


def transformed(x: FloatArray, transformations: Sequence[Transformation]) -> Float32:
    """Returns the variables (n, d) after all transformations."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.ascontiguousarray(x, np.float32)
        for transformation in transformations:
            values = transformation(values)
    return values


def read_weight_file(content: bytes) -> WeightFile:
    """Returns the weight file in `content`.

    Raises:
        ModelMismatchError: the file is damaged, or holds something that pidlab does not read.
    """
    root = _parsed(content)
    if root.tag != "MethodSetup" or "::" not in root.get("Method", ""):
        raise ModelMismatchError(
            f"is no weight file of TMVA: it begins with <{root.tag}>, not <MethodSetup Method=...>"
        )
    info = {e.get("name", ""): e.get("value", "") for e in root.iterfind("GeneralInfo/Info")}
    if info.get("AnalysisType", "Classification").lower() != "classification":
        raise ModelMismatchError(f"is for TMVA's {info['AnalysisType']}; only Classification has signal and background")
    n_classes = whole(root.find("Classes"), "NClass") if root.find("Classes") is not None else 2
    if n_classes != 2:
        raise ModelMismatchError(f"tells {n_classes} classes apart; only signal and background are read")
    variables = tuple(_names(element) for element in _variables(root))
    if not variables:
        raise ModelMismatchError("has no <Variables>")
    return WeightFile(
        method=root.get("Method", "").split("::")[0],
        version=_version(info.get("TMVA Release", "")),
        options={e.get("name", ""): (e.text or "").strip() for e in root.iterfind("Options/Option")},
        variables=variables,
        transformations=tuple(_transformations(root, variables)),
        weights=child(root, "Weights"),
    )


def _parsed(content: bytes) -> Element:
    """Returns the root of an XML document; a DOCTYPE, which can define entities, and deep nesting are refused."""
    builder, depth = ElementTree.TreeBuilder(), 0

    def refuse(*_: Any) -> None:
        raise ModelMismatchError("has a DOCTYPE, which no weight file of TMVA has; it is not read")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ModelMismatchError(f"nests elements more than {_DEEPEST} deep")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise damaged(f"no XML ({error})") from error
    return builder.close()


def child(element: Element, tag: str) -> Element:
    """Returns the first child with that tag.

    Raises:
        ModelMismatchError: the element has no such child.
    """
    found = element.find(tag)
    if found is None:
        raise damaged(f"<{element.tag}> has no <{tag}>")
    return found


def number(element: Element | None, name: str) -> float:
    """Returns an attribute as a number.

    Raises:
        ModelMismatchError: it is missing, or not a finite number.
    """
    text = None if element is None else element.get(name)
    try:
        value = float(text if text is not None else "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        tag = "?" if element is None else element.tag
        raise damaged(f"{name}={text!r} of <{tag}> is no number")
    return value


def whole(element: Element | None, name: str) -> int:
    """Returns an attribute as an integer.

    Raises:
        ModelMismatchError: it is missing, or not an integer.
    """
    value = number(element, name)
    if value != int(value):
        tag = "?" if element is None else element.tag
        raise damaged(f"{name}={value!r} of <{tag}> is no integer")
    return int(value)


def numbers(element: Element, n: int) -> NDArray[np.float64]:
    """Returns the numbers (n,) in the text of an element.

    Raises:
        ModelMismatchError: the text is not n finite numbers.
    """
    words = (element.text or "").split()
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.array([math.nan])
    if len(words) != n or not np.isfinite(values).all():
        raise damaged(f"<{element.tag}> should hold {n} numbers")
    return values


def _variables(root: Element) -> list[Element]:
    """Returns the variables in the order of their index, which must run from 0 without a gap."""
    holder = root.find("Variables")
    found = [] if holder is None else sorted(holder.iterfind("Variable"), key=lambda e: whole(e, "VarIndex"))
    n = 0 if holder is None else whole(holder, "NVar")
    if len(found) != n or [whole(e, "VarIndex") for e in found] != list(range(n)):
        raise damaged(f"{n} of <Variable> are announced")
    return found


def _names(variable: Element) -> tuple[str, ...]:
    texts = [variable.get(key, "") for key in ("Expression", "Label", "Title", "Internal")]
    return tuple(dict.fromkeys(text for text in texts if text)) or ("?",)


def _version(release: str) -> int:
    """Returns the version code in brackets at the end of, for example, `4.2.1 [262657]`."""
    digits = release.partition("[")[2].partition("]")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


def _transformations(root: Element, variables: tuple[tuple[str, ...], ...]) -> Iterator[Transformation]:
    """Yields the transformations that TMVA::Reader applies: the last set of parameters, which is for all classes."""
    for element in root.iterfind("Transformations/Transform"):
        name = element.get("Name", "")
        places = _places(element, variables)
        if name == "Normalize":
            yield _normalisation(element, places)
        elif name == "Decorrelation":
            yield _decorrelation(element, places)
        else:
            raise ModelMismatchError(
                f"puts its variables through the transformation {name!r}; Normalize and Decorrelation are read"
            )


def _places(element: Element, variables: tuple[tuple[str, ...], ...]) -> NDArray[np.int64]:
    """Returns the variables that a transformation changes: those that it lists, or all."""
    sides: list[list[str]] = []
    for side in ("Input", "Output"):
        inputs = element.findall(f"Selection/{side}/{side}")
        if any(e.get("Type") != "Variable" for e in inputs):
            raise ModelMismatchError("transforms something that is not a variable, which is not read")
        sides.append([e.get("Expression") or e.get("Label") or "" for e in inputs])
    if sides == [[], []]:
        return np.arange(len(variables))
    if sides[0] != sides[1]:
        raise ModelMismatchError(
            "has a transformation whose output is in other variables than its input; it is not read"
        )
    known = {name: i for i, names in reversed(list(enumerate(variables))) for name in names}
    if unknown := [name for name in sides[0] if name not in known]:
        raise ModelMismatchError(f"transforms {unknown[0]!r}, which is none of its variables")
    return np.array([known[name] for name in sides[0]], np.int64)


def _normalisation(element: Element, places: NDArray[np.int64]) -> Normalisation:
    classes = sorted(element.iterfind("Class"), key=lambda e: whole(e, "ClassIndex"))
    ranges = sorted(classes[-1].iterfind("Ranges/Range"), key=lambda e: whole(e, "Index")) if classes else []
    if len(ranges) != len(places):
        raise ModelMismatchError(f"normalises {len(places)} variables by {len(ranges)} ranges; it is damaged")
    low = np.array([number(e, "Min") for e in ranges], np.float32)
    high = np.array([number(e, "Max") for e in ranges], np.float32)
    if not (high > low).all():
        raise ModelMismatchError("normalises a variable whose range is empty; train it without that variable")
    return Normalisation(places, low, high)


def _decorrelation(element: Element, places: NDArray[np.int64]) -> Decorrelation:
    matrices = element.findall("Matrix")
    n = len(places)
    if not matrices or any(whole(matrices[-1], key) != n for key in ("Rows", "Columns")):
        raise ModelMismatchError(f"has no {n} x {n} matrix to decorrelate {n} variables; it is damaged")
    return Decorrelation(places, numbers(matrices[-1], n * n).reshape(n, n))
