"""What the sections of a configuration refuse, in sentences, and the part of it that later checks can use."""

from __future__ import annotations

import copy
import difflib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pidlab.config.names import KeyPath, dotted
from pidlab.config.schema import (
    Config,
    Evaluate,
    RegressionConfig,
    RegressionEvaluate,
    config_class,
    json_schema,
)
from pidlab.errors import Mistake, nearest
from pidlab.expressions.spellings import character_name, how_to_type, retyped, to_type

_MAX_ROUNDS = 12
"""Mistakes show up in rounds, because pydantic looks into a section only once its own type is right. Sections are not
nested so deep that a configuration needs as many rounds as this."""

_MAX_RENAMED = 100
"""At most so many unknown keys are compared with the known ones, because each comparison takes time; a text with more
is no configuration."""


@dataclass(frozen=True, slots=True)
class Usable:
    """What the sections say of a configuration.

    Attributes:
        mistakes: everything that the sections refuse.
        config: the configuration without what is refused; None if nothing can be kept.
        places: the place in the file of each key path; a misspelt key has its place under the name that was meant.
        doubtful: key paths at which something was refused; `config` holds a substitute there, or nothing.
        incomplete: top-level keys that lack names in `config`, so that no other key can be checked against them.
    """

    mistakes: tuple[Mistake, ...]
    config: Config | None
    places: Mapping[KeyPath, str]
    doubtful: frozenset[KeyPath] = frozenset()
    incomplete: frozenset[str] = frozenset()

    def is_doubtful(self, key: KeyPath) -> bool:
        """Returns whether the value at `key`, or a section that holds it, was refused."""
        return any(key[:length] in self.doubtful for length in range(len(key) + 1))

    def lacks(self, key: KeyPath) -> bool:
        """Returns whether numbers of classes lack one that was refused, which is not missing in the file then."""
        of_classes = key[-1:] and key[-1] in ("abundance", "expected", "priors")
        return bool(of_classes) and any(path[: len(key)] == key for path in self.doubtful)


def usable_part(content: Mapping[str, Any], places: Mapping[KeyPath, str]) -> Usable:
    """Checks each section of a configuration, and returns the configuration without what is refused."""
    section = config_class(content)
    try:
        return Usable((), section.model_validate(content), places)
    except ValidationError as error:
        mistakes, first = tuple(explain(error, content, places)), error
    rest = _Rest(copy.deepcopy(dict(content)), dict(places))
    found: ValidationError | None = first
    for _ in range(_MAX_ROUNDS):
        assert found is not None
        wrong = [(_where(tuple(e["loc"]), rest.content, e["type"] == "missing")[0], e["type"]) for e in found.errors()]
        for path, kind in sorted(wrong, key=lambda each: each[1] != "extra_forbidden"):  # a misspelt key may be missing
            if path:
                rest.leave_out(path, kind)
        try:
            config = section.model_validate(rest.content)
        except ValidationError as error:
            found = error
            continue
        return Usable(mistakes, config, rest.places, frozenset(rest.doubtful), frozenset(rest.incomplete))
    return Usable(mistakes, None, places)


class _Rest:
    """The content of a configuration without refused values; other items keep their names and numbers."""

    def __init__(self, content: dict[str, Any], places: dict[KeyPath, str]) -> None:
        self.content, self.places = content, places
        self.doubtful: set[KeyPath] = set()
        self.incomplete: set[str] = set()

    def leave_out(self, path: KeyPath, kind: str) -> None:
        """Removes the value at `path`, or puts a valid one in its place if other keys refer to it."""
        if not path:  # a key that is no text, which leaves nothing to check
            return
        if _holds(_at(self.content, path[:-1]), path[-1]) == (kind == "missing"):
            return  # it was removed with another mistake, or stood there under a misspelt name
        if kind == "missing":
            path = path[:1] if len(path) == 1 else path[:-1]
        elif kind == "extra_forbidden" and len(self.doubtful) < _MAX_RENAMED and self._renamed(path):
            return
        stands_for = self._substitute(path)
        if stands_for is None and isinstance(path[-1], int):  # an item of a list: the others would change their numbers
            self.leave_out(path[:-1], "list_type")
            return
        self.doubtful.add(path)
        holder = _at(self.content, path[:-1])
        if kind == "string_pattern_mismatch" and isinstance(holder, dict):
            holder.pop(path[-1], None)
            self.incomplete.add(str(path[0]))
        elif stands_for is not None and (isinstance(holder, dict) or _holds(holder, path[-1])):
            holder[path[-1]] = stands_for
        elif isinstance(holder, dict):
            holder.pop(path[-1], None)
            self.incomplete |= {str(path[0])} if path[0] in ("data", "evaluate") or len(path) == 1 else set()

    def _substitute(self, path: KeyPath) -> Any:
        """Returns a valid value for the place of a refused one to which others may refer; None if no key does."""
        section = path[0] if path else ""
        of_target = config_class(self.content) is RegressionConfig
        model = {"type": "linear" if of_target else "fisher"}
        if len(path) == 1 and section in ("classes", "features", "models", "target"):
            self.incomplete.add(str(section))
            empty: dict[str, Any] = {
                "classes": None if of_target else {"a_": "1", "b_": "1"},
                "features": ["0"],
                "models": {"a_": model},
                "target": "0",
            }
            return empty[str(section)]
        if len(path) != 2:
            return None
        if section == "features" and isinstance(path[1], int):
            old = _at(self.content, path)
            if isinstance(old, dict) and isinstance(old.get("name"), str):
                return {"name": old["name"], "expression": "0"}
            self.incomplete.add("features")
            return f"{path[1]} * 0"
        if section == "spectators" and isinstance(path[1], int):
            self.incomplete.add("spectators")
            return "0"
        return {"classes": "1", "models": model, "polygons": {}}.get(str(section))

    def _renamed(self, path: KeyPath) -> bool:
        """Renames a misspelt key to the most similar valid key that is not used; returns whether there is one."""
        holder = _at(self.content, path[:-1])
        known = [
            name for name in _known_keys(path[:-1], self.content) if isinstance(holder, dict) and name not in holder
        ]
        meant = next(iter(difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.75)), None)
        if meant is None:
            return False
        holder[meant] = holder.pop(path[-1])
        for old in [p for p in self.places if p[: len(path)] == path]:
            self.places[(*path[:-1], meant, *old[len(path) :])] = self.places[old]
        return True


def _at(content: Any, path: KeyPath) -> Any:
    for part in path:
        content = content[part] if _holds(content, part) else None
    return content


def place_of(places: Mapping[KeyPath, str], path: KeyPath) -> str:
    """Returns the place of a key path, or of the nearest key above it that is in the file."""
    while path and path not in places:
        path = path[:-1]
    return places.get(path, "")


def explain(error: ValidationError, content: Any, places: Mapping[KeyPath, str]) -> list[Mistake]:
    """Returns pydantic's errors as mistakes, with the alternatives of a union joined into one."""
    found = [(*_where(tuple(e["loc"]), content, e["type"] == "missing"), e) for e in error.errors()]
    n_said = Counter(path for path, _, _ in found)
    above = {path[:length] for path, _, _ in found for length in range(len(path))}
    messages: dict[KeyPath, list[str]] = {}
    for path, value, e in found:
        wants_scalar = str(e["type"]).endswith("_type") and e["type"] not in ("model_type", "dict_type")
        if isinstance(value, dict | list) and (wants_scalar or e["type"] == "literal_error") and path in above:
            continue
        if e["type"] == "string_type" and isinstance(value, int | float) and n_said[path] > 1:
            continue  # a number was meant, of which another alternative says what is wrong
        message = _DIGITS.sub(r"\1…", _message(dict(e), path, content))
        if message not in messages.setdefault(path, []):
            messages[path].append(message)
    return [Mistake(place_of(places, path), dotted(path), "; or ".join(texts)) for path, texts in messages.items()]


def _where(loc: tuple[str | int, ...], content: Any, is_missing: bool) -> tuple[KeyPath, Any]:
    """Returns the key path of a pydantic location, without the names of union members, and the value at it."""
    path: list[str | int] = []
    value = content
    for part in loc:
        if _holds(value, part):
            value = value[part]
            path.append(part)
    if is_missing:
        return (*path, loc[-1]), None
    return tuple(path), value


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and 0 <= part < len(value)
    return isinstance(value, dict) and part in value


def _message(error: dict[str, Any], path: KeyPath, content: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden" and config_class(content) is RegressionConfig and path in _OF_CLASSES:
        return f"is of classes, which a configuration with a target does not have; leave {path[-1]} out, or target"
    if kind == "missing" and path == ("classes",):
        return "missing; this key is needed, or target for a regression"
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(str(path[-1]), _known_keys(path[:-1], content))}"
    if kind == "missing":
        return "missing; this key is needed"
    if kind in ("literal_error", "union_tag_invalid"):
        expected = str(context.get("expected") or context.get("expected_tags"))
        value = context.get("tag", error["input"])
        options = [o.strip(" '") for o in expected.replace(" or ", ",").split(",")]
        return f"must be one of {', '.join(options)}, not {value!r}; {nearest(str(value), options)}"
    if kind == "union_tag_not_found":
        *others, last = _model_types(content)
        return f"missing the key 'type' ({', '.join(others)} or {last})"
    if kind == "string_pattern_mismatch":
        return "a name must be letters, digits and underscores, and not start with a digit"
    value = error["input"]
    if path[0] == "models" and path[-1] == "by" and isinstance(value, str | list):
        return (
            f'must be categories, not {value!r}; write a condition for each, such as {{low: "p < 1", high: "p >= 1"}}, '
            "or bins: {x: p, bins: [0.5, 1, 2]}"
        )
    if path[-2:] == ("by", "bins") and isinstance(value, int | float):
        return f"must be a list of edges, not {value!r}; write for example [0.5, 1, 2]"
    if path == ("classes",) and kind in ("dict_type", "too_short"):
        return 'name two classes or more, each by an expression, such as electron: "species == 0", or by its files'
    if kind in ("too_short", "list_type", "dict_type") and path in _EMPTY and not (kind == "list_type" and value):
        return _EMPTY[path]
    if kind == "too_short" and path[:1] == ("polygons",):
        wanted = "polygon has three points or more" if path[-1] == "points" else "point has two numbers, [x, y]"
        return f"a {wanted}, not {value}"
    if kind == "too_short" and not value:
        return "is an empty list; write what belongs into it, or leave the key out"
    if value is None and kind.endswith("_type"):
        return "is empty; write what belongs here, or leave the key out"
    if path == ("evaluate", "working_points") and isinstance(value, int | float) and 1 < value < 100:
        return f"must be a list of shares, not {value!r}; for {value:g} % write [{value / 100:.2f}]"
    if kind in ("model_type", "model_attributes_type") and isinstance(value, str | int | float | list):
        such = "{type: bdt}" if path[:1] == ("models",) else "{key: value}"
        return f"must be a section, such as {such}, not {'a list' if isinstance(value, list) else repr(value)}"
    return _of_value(kind, value, str(error["msg"]).replace("Input should be", "must be"))


_OF_CLASSES: frozenset[KeyPath] = frozenset(
    (*above, key)
    for above, whole, part in (((), Config, RegressionConfig), (("evaluate",), Evaluate, RegressionEvaluate))
    for key in whole.model_fields.keys() - part.model_fields.keys()
)
"""The keys that a configuration with classes may have, but one with a target may not."""

_EMPTY: dict[KeyPath, str] = {
    ("features",): "names no feature; list one or more branches or expressions, such as features: [p, log(1 + npe)]",
    ("models",): "names no model; give one or more, such as models: {bdt: {type: bdt}}",
}


def _of_value(kind: str, value: Any, text: str) -> str:
    """Returns what is wrong with a number, a text or a list that was found, and how to write it."""
    if kind in ("less_than", "less_than_equal") and isinstance(value, int | float) and "than 1" in text:
        if 1 < value <= 100:
            share = f"{value / 100:.2f}" if value == int(value) else f"{value / 100:g}"
            return f"{text}, not {value!r}; for {value:g} % write {share if value < 100 else '0.99'}"
        return f"{text}, not {value!r}; it is a share between 0 and 1"
    if isinstance(value, str) and kind in _NUMBERS:
        if (wrong := next((c for c in value if to_type(c) is not None), None)) is not None:
            return f"{text}, not {value!r}, which holds {character_name(wrong)}; {how_to_type(wrong)}: {retyped(value)}"
        if (number := quoted_number(value)) is not None:
            return f"{text}, not {value!r}, a text; write {number}{'' if '%' in value else ' without quotes'}"
    if kind == "string_type" and isinstance(value, int | float):
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        return f'{text}, not {value!r}; as an expression or a name it stands in quotes: "{shown}"'
    if kind == "string_type" and isinstance(value, dict | list):
        what = "a section" if isinstance(value, dict) else "a list"
        return f"{text}, not {what}; an expression that begins with a bracket stands in quotes"
    if kind == "dict_type" and isinstance(value, list):
        return f"{text}, not a list; write a name before each value, as in name: value"
    if kind == "list_type" and isinstance(value, str | int | float):
        number = quoted_number(value) if isinstance(value, str) else None
        return f"{text}, not {value!r}; write [{number or value}]"
    if kind == "list_type" and isinstance(value, dict):
        return f"{text}, not a section; write '- ' before each item, or the items in [ ]"
    return f"{text}, not {value!r}" if isinstance(value, str | int | float | bool) or value is None else text


_NUMBERS = frozenset({"int_type", "float_type", "int_parsing", "float_parsing", "int_from_float"})
_DIGITS = re.compile(r"([0-9]{20})[0-9]{20,}")
"""The digits of a number so long that only the first of them are shown."""
_PERCENT = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?)\s*%\s*")


def quoted_number(text: str) -> str | None:
    """Returns the number that a text in quotes holds, as it is written without them; of a percentage, the share."""
    text = retyped(text).strip()
    if percent := _PERCENT.fullmatch(text):
        return f"{float(percent[1]) / 100:.2f}" if "." not in percent[1] else f"{float(percent[1]) / 100:g}"
    try:
        float(text)
    except ValueError:
        return None
    return text if any(c.isdigit() for c in text) and "_" not in text else None


def _model_types(content: Any) -> list[str]:
    """Returns the values that the key `type` of a model may have, from the JSON schema."""
    of_name = _step(json_schema(config_class(content))["properties"]["models"], "name")
    return sorted(of_name["discriminator"]["mapping"])


def _known_keys(path: KeyPath, content: Any) -> list[str]:
    """Returns the keys that the section at `path` may hold, from the JSON schema."""
    whole = json_schema(config_class(content))
    node: dict[str, Any] = whole
    value = content
    for part in path:
        value = value[part] if _holds(value, part) else None
        node = _object_of(_step(_resolved(node, whole), part), whole, value)
    of_target = ["target"] if not path else []  # which makes it the other kind of configuration
    return [*_resolved(node, whole).get("properties", {}), *of_target]


def _step(node: dict[str, Any], part: str | int) -> dict[str, Any]:
    if isinstance(part, int):
        return dict(node.get("items", {}))
    named = next(iter(node.get("patternProperties", {}).values()), None) or node.get("additionalProperties")
    return dict(node.get("properties", {}).get(part) or named or {})


def _object_of(node: dict[str, Any], whole: dict[str, Any], value: Any) -> dict[str, Any]:
    """Returns the member of a union that `value` was meant to be; a node that is no union is returned unchanged."""
    node = _resolved(node, whole)
    if "discriminator" in node and isinstance(value, dict):
        return _resolved({"$ref": node["discriminator"]["mapping"].get(value.get("type"), "")}, whole)
    members = [_resolved(each, whole) for each in node.get("anyOf", [])]
    members = [_resolved(each, whole) for member in members for each in member.get("oneOf", [member])]
    kind = "array" if isinstance(value, list) else "object"
    fitting = [member for member in members if member.get("type") == kind]
    if fitting and isinstance(value, dict):  # the section that has most of the keys, and lacks the fewest
        return max(
            fitting,
            key=lambda member: (
                len(value.keys() & member.get("properties", {}).keys()),
                -len(set(member.get("required", [])) - value.keys()),
            ),
        )
    return fitting[0] if fitting else node


def _resolved(node: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    return dict(whole["$defs"].get(reference.rsplit("/", 1)[-1], {})) if reference is not None else node
