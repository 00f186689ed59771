"""Load: a YAML file as a checked `Config`, or all mistakes at once, each with its place."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pidlab.config.names import KeyPath, collisions
from pidlab.config.schema import Config, CutsModel, Feature, SklearnModel, json_schema
from pidlab.errors import ConfigError, Mistake, UsageError, nearest

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 20
_TAGS = {"null", "bool", "int", "float", "str", "seq", "map"}
_SCALARS = YAML(typ="safe", pure=True).constructor


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A checked configuration and the place of each of its keys.

    Attributes:
        config: the typed sections.
        content: the same as dicts and lists, as written (after `--set`).
        folder: the folder to which its paths are relative.
        places: key path to `file.yaml:line:column`.
        name: the file's name without its ending.
        arrays: name to column, if the events are arrays in memory in place of `data.files`.
    """

    config: Config
    content: Mapping[str, Any]
    folder: Path
    places: Mapping[KeyPath, str]
    name: str
    arrays: Mapping[str, Any] | None = None

    def mistake(self, path: KeyPath, message: str) -> Mistake:
        """Returns a mistake at `path`, or at the nearest key above it that is in the file."""
        return Mistake(_place(self.places, path), dotted(path), message)


def load_config(path: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Reads and checks a configuration; `overrides` are `KEY=VALUE` with dotted keys and YAML values.

    Raises:
        UsageError: the file cannot be read.
        ConfigError: it holds mistakes; all are listed.
    """
    content, places = _read_yaml(_text_of(path), str(path))
    if not isinstance(content, dict):
        raise ConfigError([Mistake(f"{path}:1:1", "", "expected keys such as data, classes, features and models")])
    for override in overrides:
        _apply_override(content, places, override)
    return check_config(content, places, path)


def check_config(content: dict[str, Any], places: Mapping[KeyPath, str], path: Path) -> LoadedConfig:
    """Checks the content of a configuration that was read from `path`.

    Raises:
        ConfigError: it holds mistakes; all are listed.
    """
    places = {(): f"{path}:1:1", **places}
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_explain(error, content, places)) from None
    disagreements = [Mistake(_place(places, key), dotted(key), message) for key, message in _disagreements(config)]
    disagreements += _collisions(config, places)
    if disagreements:
        raise ConfigError(disagreements)
    return LoadedConfig(config, content, path.resolve().parent, places, path.stem)


def _collisions(config: Config, places: Mapping[KeyPath, str]) -> Iterator[Mistake]:
    """Yields the names by which one branch of the friend trees would replace another."""
    for first, second in collisions(config):
        own, other = (second, first) if second.key else (first, second)
        where = f" ({_place(places, other.key)})" if other.key and other.key != own.key else ""
        message = (
            f"{own.meaning} and {other.meaning}{where} would both be the branch {own.name!r} of the friend trees; "
            "rename one of them"
        )
        yield Mistake(_place(places, own.key), dotted(own.key), message)


def dotted(path: KeyPath) -> str:
    """Returns `models.mlp.hidden[0]` for ("models", "mlp", "hidden", 0)."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def yaml_value(text: str) -> Any:
    """Returns the value of a YAML text, as numbers, texts, lists and dicts.

    Raises:
        ConfigError: the text is no YAML value.
    """
    return _read_yaml(text, "value")[0]


def _text_of(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: is a folder, a pipe or a device, not a configuration; name a YAML file")
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(f"{path}: larger than {_MAX_BYTES:,} bytes, which no configuration is; name a YAML file")
        content = path.read_bytes()
        if content.startswith(b"root"):
            raise UsageError(f"{path}: is a ROOT file, not a configuration; `pidlab init {path}` writes one for it")
        return content.decode()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; `pidlab init FILE` writes a configuration to start from") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a configuration ({error})") from error


def _read_yaml(text: str, name: str) -> tuple[Any, dict[KeyPath, str]]:
    try:
        node = _composed(text, name)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError([Mistake(place, "", _yaml_message(str(error.problem or error.context)))]) from None
    except (YAMLError, RecursionError) as error:
        raise ConfigError([Mistake(f"{name}:1:1", "", f"not valid YAML: {error}")]) from None
    places: dict[KeyPath, str] = {}
    return (None if node is None else _value(node, (), places, name)), places


def _composed(text: str, name: str) -> Node | None:
    """Returns the nodes of a YAML text; each event is checked before a node is made of it.

    Raises:
        ConfigError: brackets nest too deep, there are anchors or aliases, or a value is too long.
    """
    yaml, depth = YAML(typ="safe", pure=True), 0
    constructor, parser = yaml.get_constructor_parser(text)
    get_event = parser.get_event

    def checked() -> Any:
        nonlocal depth
        event = get_event()
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise _refused(name, event, f"brackets nest more than {_MAX_DEPTH} deep")
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise _refused(name, event, "YAML anchors and aliases are not read; repeat the value")
        if isinstance(event, ScalarEvent) and len(event.value) > _MAX_BYTES // 10:
            raise _refused(name, event, "this value is too long")
        if isinstance(event, ScalarEvent) and "\0" in event.value:
            raise _refused(name, event, "holds a NUL character, which no name, path or expression has")
        return event

    parser.get_event = checked
    node: Node | None = constructor.composer.get_single_node()
    return node


def _yaml_message(problem: str) -> str:
    """Returns what the parser found, with the usual cause."""
    if r"\t" in problem:
        return "not valid YAML: a tab; indent by spaces"
    misplaced = ("block end", "mapping values", "could not find expected ':'")
    fix = "; is the line indented like its neighbours, and a text that holds : or # in quotes?"
    return f"not valid YAML: {problem}{fix if any(each in problem for each in misplaced) else ''}"


def _mark(name: str, marked: Any) -> str:
    return f"{name}:{marked.start_mark.line + 1}:{marked.start_mark.column + 1}"


def _refused(name: str, marked: Any, message: str, path: KeyPath = ()) -> ConfigError:
    return ConfigError([Mistake(_mark(name, marked), dotted(path), message)])


def _value(node: Node, path: KeyPath, places: dict[KeyPath, str], name: str) -> Any:
    places.setdefault(path, _mark(name, node))
    tag = str(node.tag).rsplit(":", 1)[-1]
    if tag not in _TAGS:
        raise _refused(name, node, f"the YAML tag {node.tag} is not read; quote the value", path)
    if isinstance(node, SequenceNode):
        return [_value(item, (*path, i), places, name) for i, item in enumerate(node.value)]
    if isinstance(node, MappingNode):
        return _mapping(node, path, places, name)
    assert isinstance(node, ScalarNode)
    if tag == "str":
        return node.value
    try:
        return _scalar(node)
    except ValueError:  # it has more digits than Python reads
        message = f"{node.value[:20]}… of {len(node.value):,} characters is no number that is read"
        raise _refused(name, node, message, path) from None


def _scalar(node: ScalarNode) -> Any:
    """Returns what a word without quotes means: a number, true, false or null."""
    try:
        return _SCALARS.construct_object(node)
    finally:
        _SCALARS.constructed_objects.clear()  # otherwise every node is kept


def _mapping(node: MappingNode, path: KeyPath, places: dict[KeyPath, str], name: str) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, ScalarNode):
            raise _refused(name, key_node, "a key must be a plain word", path)
        key = str(key_node.value)
        if key in content:
            raise _refused(name, key_node, "this key stands here twice", (*path, key))
        places[(*path, key)] = _mark(name, key_node)
        content[key] = _value(value_node, (*path, key), places, name)
    return content


def _apply_override(content: dict[str, Any], places: dict[KeyPath, str], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {override}: expected KEY=VALUE, for example --set models.mlp.epochs=20")
    name = f"--set {key}"
    value, _ = _read_yaml(text, name)
    parts = key.split(".")
    section: Any = content
    for part in parts[:-1]:
        section = section.setdefault(part, {}) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise UsageError(f"--set {override}: {part!r} is not a section; keys are separated by dots")
    section[parts[-1]] = value
    prefix = tuple(parts)
    for path in [p for p in places if p[: len(prefix)] == prefix]:
        del places[path]
    places[prefix] = name


def _place(places: Mapping[KeyPath, str], path: KeyPath) -> str:
    while path and path not in places:
        path = path[:-1]
    return places.get(path, "")


def _explain(error: ValidationError, content: Any, places: Mapping[KeyPath, str]) -> list[Mistake]:
    """Returns pydantic's errors as mistakes, with the alternatives of a union joined into one."""
    found = [(*_where(tuple(e["loc"]), content, e["type"] == "missing"), e) for e in error.errors()]
    above = {path[:length] for path, _, _ in found for length in range(len(path))}
    messages: dict[KeyPath, list[str]] = {}
    for path, value, e in found:
        wants_scalar = str(e["type"]).endswith("_type") and e["type"] not in ("model_type", "dict_type")
        if isinstance(value, dict | list) and wants_scalar and path in above:
            continue
        message = _message(dict(e), path, content)
        if message not in messages.setdefault(path, []):
            messages[path].append(message)
    return [Mistake(_place(places, path), dotted(path), "; or ".join(texts)) for path, texts in messages.items()]


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
        return "missing the key 'type' (expression, score, cuts, fisher, logistic, bdt, mlp, onnx, tmva or sklearn)"
    if kind == "string_pattern_mismatch":
        return "a name must be letters, digits and underscores, and not start with a digit"
    text = str(error["msg"]).replace("Input should be", "must be")
    value = error["input"]
    if path == ("classes",) and kind in ("dict_type", "too_short"):
        return 'name two classes or more, each by an expression, such as electron: "species == 0", or by its files'
    if value is None and kind.endswith("_type"):
        return "is empty; write what belongs here, or leave the key out"
    return f"{text}, not {value!r}" if isinstance(value, str | int | float | bool) or value is None else text


def _known_keys(path: KeyPath, content: Any) -> list[str]:
    """Returns the keys that the section at `path` may hold, from the JSON schema."""
    whole = json_schema()
    node: dict[str, Any] = whole
    value = content
    for part in path:
        value = value[part] if _holds(value, part) else None
        node = _object_of(_step(_resolved(node, whole), part), whole, value)
    return list(_resolved(node, whole).get("properties", {}))


def _step(node: dict[str, Any], part: str | int) -> dict[str, Any]:
    if isinstance(part, int):
        return dict(node.get("items", {}))
    named = next(iter(node.get("patternProperties", {}).values()), None) or node.get("additionalProperties")
    return dict(node.get("properties", {}).get(part) or named or {})


def _object_of(node: dict[str, Any], whole: dict[str, Any], value: Any) -> dict[str, Any]:
    """Returns the member of a union that `value` was meant to be; any other node as it is."""
    node = _resolved(node, whole)
    if "discriminator" in node and isinstance(value, dict):
        return _resolved({"$ref": node["discriminator"]["mapping"].get(value.get("type"), "")}, whole)
    for member in node.get("anyOf", []):
        resolved = _resolved(member, whole)
        if resolved.get("type") == ("array" if isinstance(value, list) else "object"):
            return resolved
    return node


def _resolved(node: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    return dict(whole["$defs"].get(reference.rsplit("/", 1)[-1], {})) if reference is not None else node


def _disagreements(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yields what no single section can check, because it concerns names or values of another section."""
    classes, asked = config.classes, config.evaluate
    if config.signal is not None and config.signal not in classes:
        yield ("signal",), f"{config.signal!r} is none of the classes; {nearest(config.signal, classes)}"
    yield from _class_numbers(config, "abundance", asked.abundance, "its abundance")
    yield from _class_numbers(config, "expected", asked.expected, "its number")
    if asked.expected is not None and asked.abundance is not None:
        yield ("evaluate", "expected"), "gives the abundances too; leave evaluate.abundance out"
    if asked.calibration != "none" and config.split.validation == 0:
        yield ("evaluate", "calibration"), "is fitted on validation: give split.validation a share"
    for name, spec in classes.items():
        if config.data.files is None and (isinstance(spec, str) or (spec.files is None and spec.tree is None)):
            yield ("classes", name), "has no files of its own, and data.files is missing"
    names = [f.name for f in config.feature_list]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield ("features", i), f"the feature {name!r} stands here twice"
    for model_name, model in config.models.items():
        if isinstance(model, CutsModel):
            yield from _merit_disagreements(config, model_name, model)
            for key in ("sides", "ranges", "min_width", "features"):
                yield from _unknown(getattr(model, key) or (), names, "features", ("models", model_name, key))
        if isinstance(model, SklearnModel):
            for i, name in enumerate(model.features or ()):
                if name not in names:
                    wrong = f"{name!r} is none of the features; {nearest(name, names)}"
                    yield ("models", model_name, "features", i), wrong
    for section, maps in (("maps", asked.maps), ("flat", asked.flat)):
        for i, each in enumerate(maps):
            for axis, edges in (("bins", each.bins), ("y_bins", each.y_bins)):
                if isinstance(edges, list) and any(b <= a for a, b in itertools.pairwise(edges)):
                    yield ("evaluate", section, i, axis), "bin edges must rise"
    yield from _unknown(config.tune or (), config.models, "models", ("tune",))
    reference = config.style.reference
    if reference is not None and reference not in config.models:
        yield ("style", "reference"), f"{reference!r} is none of the models; {nearest(reference, config.models)}"
    known = {*names, *(f.expression for f in config.feature_list), *spectator_keys(config)}
    for name in (n for n in config.labels if n not in known):
        yield ("labels", name), f"is no feature, spectator or axis of a map; {nearest(name, known)}"


def _unknown(names: Iterable[str], known: Collection[str], what: str, key: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    for name in names:
        if name not in known:
            yield (*key, name), f"is none of the {what}; {nearest(name, known)}"


def _class_numbers(
    config: Config, key: str, numbers: Mapping[str, float] | None, what: str
) -> Iterator[tuple[KeyPath, str]]:
    """Yields what is wrong with a section of `evaluate` that has one number for each class."""
    if numbers is not None:
        yield from _unknown(numbers, config.classes, "classes", ("evaluate", key))
        for name in config.classes.keys() - numbers.keys():
            yield ("evaluate", key), f"says nothing of the class {name!r}; give every class {what}"


def _merit_disagreements(config: Config, name: str, model: CutsModel) -> Iterator[tuple[KeyPath, str]]:
    merit, key = model.figure_of_merit, ("models", name, "figure_of_merit")
    if not model.nested and not config.evaluate.working_points:
        yield ("models", name, "nested"), "cuts without nesting need evaluate.working_points, each of which gets a box"
    if merit is None:
        return
    if not model.nested:
        yield key, "needs nested: true; without nesting there are only the boxes of evaluate.working_points"
    if merit.name == "purity" and merit.efficiency == 0:
        yield key, "purity needs the least signal efficiency too, such as efficiency: 0.5; alone it is best at none"


def feature_key(index: int, feature: str | Feature) -> KeyPath:
    """Returns the key path of a feature's expression."""
    return ("features", index) if isinstance(feature, str) else ("features", index, "expression")


def spectator_keys(config: Config) -> dict[str, KeyPath]:
    """Returns the spectators and the axes of maps and of flat working points, each with its first key path."""
    keys: dict[str, KeyPath] = {name: ("spectators", i) for i, name in enumerate(config.spectators)}
    for section, maps in (("maps", config.evaluate.maps), ("flat", config.evaluate.flat)):
        for i, each in enumerate(maps):
            keys.setdefault(each.x, ("evaluate", section, i, "x"))
            if each.y is not None:
                keys.setdefault(each.y, ("evaluate", section, i, "y"))
    return keys
