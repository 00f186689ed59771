"""Settings: what a file or the command line says of a mass fit, checked, with the place of each mistake."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pidlab.config.names import KeyPath, dotted
from pidlab.config.usable import place_of
from pidlab.config.yaml_text import MAX_BYTES, read_yaml
from pidlab.datadriven.massfit.fit import YIELD, Component, Start
from pidlab.datadriven.massfit.shapes import shape_of
from pidlab.errors import ConfigError, Mistake, UsageError, in_order, nearest

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_KEYS = ("mass", "range", "components", "cut", "features", "label")


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What is fitted, and by which shapes.

    Attributes:
        mass: a branch or an expression.
        low: lower end of the range.
        high: upper end of the range.
        components: by name, the signal first.
        cut: which candidates take part; empty for all.
        features: branches, patterns of them or expressions whose independence of the mass is tested.
        label: the label of the mass's axis; empty for the expression.
    """

    mass: str
    low: float
    high: float
    components: Mapping[str, Component]
    cut: str = ""
    features: tuple[str, ...] = ()
    label: str = ""


def range_of(text: str) -> tuple[float, float]:
    """Returns both ends of a range LOW:HIGH.

    Raises:
        UsageError: the text is no such range.
    """
    ends = text.split(":")
    try:
        low, high = (float(end) for end in ends)
    except ValueError:
        raise UsageError(f"{text!r} is no range LOW:HIGH, as in 5.1:5.5") from None
    if not low < high or not math.isfinite(high - low):
        raise UsageError(f"{text!r} is no range; the lower end stands first, as in 5.1:5.5")
    return low, high


def with_parameters(components: Mapping[str, Component], settings: Sequence[str]) -> dict[str, Component]:
    """Returns the components with what texts NAME=VALUE say of their parameters.

    VALUE is a number, at which the parameter is fixed, the name of one whose value it shares, or START:LOW:HIGH.

    Raises:
        UsageError: a text is none of these, or there is no such component or parameter.
    """
    changed = {name: dict(component.parameters) for name, component in components.items()}
    for setting in settings:
        name, equals, value = setting.partition("=")
        component, dot, parameter = name.strip().partition(".")
        if not equals or not dot:
            raise UsageError(f"--fix {setting}: expected COMPONENT.PARAMETER=VALUE, for example signal.n=3")
        if component not in components:
            raise UsageError(f"--fix {setting}: no component {component!r}; {nearest(component, components)}")
        known = (*shape_of(components[component].shape).names, YIELD)
        if parameter not in known:
            shape = components[component].shape
            raise UsageError(f"--fix {setting}: {shape} has no parameter {parameter!r}; {nearest(parameter, known)}")
        changed[component][parameter] = _said(setting, value.strip())
    return {name: Component(component.shape, changed[name]) for name, component in components.items()}


def _said(setting: str, value: str) -> float | str | Start:
    if "." in value and _NAME.match(value.partition(".")[0]) and _NAME.match(value.partition(".")[2]):
        return value
    try:
        numbers = [float(each) for each in value.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) == 3:
        return Start(*numbers)
    raise UsageError(
        f"--fix {setting}: expected a number, another parameter such as signal.sigma, or START:LOW:HIGH behind the ="
    )


def load_fit(path: Path) -> FitSettings:
    """Reads the settings of a fit from a YAML file.

    Raises:
        UsageError: the file cannot be read.
        ConfigError: it holds mistakes; all are listed, each with its place.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(
                f"{path}: larger than {MAX_BYTES:,} bytes, which no settings of a fit are; name a YAML file"
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as the settings of a fit ({error})") from error
    written = read_yaml(text, str(path))
    places = {(): f"{path}:1:1", **written.places}
    content = written.content if isinstance(written.content, dict) else {}
    found = list(_mistakes(content)) if content else [((), "expected the keys mass, range and components")]
    if found or written.mistakes:
        own = [Mistake(place_of(places, key), dotted(key), message) for key, message in found]
        raise ConfigError(in_order([*written.mistakes, *own]))
    low, high = map(float, content["range"])
    components = {name: _component(section) for name, section in content["components"].items()}
    features = tuple(content.get("features", ()))
    return FitSettings(
        content["mass"], low, high, components, content.get("cut", ""), features, content.get("label", "")
    )


def _component(section: str | Mapping[str, Any]) -> Component:
    if isinstance(section, str):
        return Component(section)
    parameters = {
        name: Start(**{key: float(value) for key, value in said.items()}) if isinstance(said, dict) else said
        for name, said in section.get("parameters", {}).items()
    }
    return Component(section["shape"], parameters)


def _mistakes(content: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yields the mistakes of the settings, each with its key path."""
    for key in content:
        if key not in _KEYS:
            yield (key,), f"unknown key; {nearest(str(key), _KEYS)}"
    for key in ("mass", "range", "components"):
        if key not in content:
            yield (), f"the key {key} is missing"
    for key in ("mass", "cut", "label"):
        if key in content and (not isinstance(content[key], str) or not content[key]):
            yield (key,), f"must be a text, not {content[key]!r}"
    features = content.get("features", [])
    if not isinstance(features, list) or not all(isinstance(each, str) for each in features):
        yield ("features",), "must be a list of branches or expressions, such as [PT, ETA]"
    if "range" in content:
        ends = content["range"]
        if not isinstance(ends, list) or len(ends) != 2 or not all(map(_is_number, ends)) or not ends[0] < ends[1]:
            yield ("range",), f"must be two numbers, the lower one first, such as [5.1, 5.5], and not {ends!r}"
    components = content.get("components", {"": "gauss"})
    if not isinstance(components, dict) or not components:
        yield ("components",), "must be a section such as {signal: gauss, background: exponential}, the signal first"
        return
    shapes: dict[str, tuple[str, ...]] = {}
    for name, section in components.items():
        if name and not _NAME.match(str(name)):
            yield ("components", name), "a name must be letters, digits and underscores, and not start with a digit"
        yield from _component_mistakes(("components", name), section, shapes)
    yield from _sharing_mistakes(components, shapes)


def _component_mistakes(
    path: KeyPath, section: Any, shapes: dict[str, tuple[str, ...]]
) -> Iterator[tuple[KeyPath, str]]:
    """Yields the mistakes of one component, and notes the parameters of its shape in `shapes`."""
    if isinstance(section, dict):
        for key in section:
            if key not in ("shape", "parameters"):
                yield (*path, key), f"unknown key; {nearest(str(key), ('shape', 'parameters'))}"
    shape = section.get("shape") if isinstance(section, dict) else section
    if not isinstance(shape, str):
        yield path, "must be the name of a shape, such as gauss, or {shape: gauss, parameters: {sigma: 0.02}}"
        return
    try:
        known = (*shape_of(shape).names, YIELD)
    except UsageError as error:
        yield (*path, "shape") if isinstance(section, dict) else path, str(error)
        return
    shapes[str(path[-1])] = known
    parameters = section.get("parameters", {}) if isinstance(section, dict) else {}
    if not isinstance(parameters, dict):
        yield (*path, "parameters"), "must be a section such as {sigma: 0.02}"
        return
    for name, said in parameters.items():
        where = (*path, "parameters", name)
        if name not in known:
            yield where, f"{shape} has no parameter {name!r}; {nearest(str(name), known)}"
        elif isinstance(said, dict):
            wrong = [key for key in said if key not in ("start", "low", "high")]
            if wrong:
                yield (*where, wrong[0]), f"unknown key; {nearest(str(wrong[0]), ('start', 'low', 'high'))}"
            elif not all(map(_is_number, said.values())):
                yield where, f"start, low and high must be numbers, not {said!r}"
        elif not _is_number(said) and not isinstance(said, str):
            yield (
                where,
                "must be a number, at which it is fixed, another parameter, or {start: 0.02, low: 0, high: 0.1}",
            )


def _sharing_mistakes(
    components: Mapping[str, Any], shapes: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[KeyPath, str]]:
    known = [f"{name}.{parameter}" for name, names in shapes.items() for parameter in names]
    for name, section in components.items():
        parameters = section.get("parameters", {}) if isinstance(section, dict) else {}
        for key, said in parameters.items() if isinstance(parameters, dict) else ():
            if isinstance(said, str) and said not in known:
                where = ("components", name, "parameters", key)
                yield where, f"there is no parameter {said!r} to share; {nearest(said, known)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
