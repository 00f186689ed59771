"""Edit: a configuration with some values replaced, and everything else as its author wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from pidlab.config.load import yaml_value
from pidlab.config.names import KeyPath, dotted
from pidlab.errors import UsageError

_UNQUOTED = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")


def edited(text: str, values: Mapping[KeyPath, Any]) -> str:
    """Returns YAML `text` with the value at each key path replaced, or its key added to the mapping above it.

    Comments, order and layout are kept. Values are numbers, texts, lists and dicts.

    Raises:
        UsageError: there is no mapping above a key.
    """
    for path, value in values.items():
        root = YAML(typ="safe", pure=True).compose(text)
        text = _replaced(text, root, path, flow(value))
    return text


def flow(value: Any) -> str:
    """Returns a value in YAML on one line."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(str(k))}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str):
        is_unquoted = _UNQUOTED.fullmatch(value) and isinstance(yaml_value(value), str)
        return value if is_unquoted else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _replaced(text: str, root: Node, path: KeyPath, value: str) -> str:
    key, node, below = _deepest(root, path)
    if not below:
        if key is not None and _is_empty(node):
            return f"{text[: _colon(key)]} {value}{text[_colon(key) :]}"
        return text[: node.start_mark.index] + value + text[_end(None, node) :]
    if not isinstance(node, MappingNode) or not node.value or any(isinstance(part, int) for part in below):
        raise UsageError(
            f"{dotted(path)} cannot be put into the configuration: nothing there takes it; write it by hand"
        )
    for part in reversed(below[1:]):
        value = "{" + f"{flow(part)}: {value}" + "}"
    return _added(text, node, f"{flow(below[0])}: {value}")


def _deepest(node: Node, path: KeyPath) -> tuple[Node | None, Node, KeyPath]:
    """Returns the key and the node at `path`, or those of the deepest key above it and the rest of the path."""
    key: Node | None = None
    for i, part in enumerate(path):
        found: tuple[Node | None, Node] | None = None
        if isinstance(node, MappingNode):
            found = next((pair for pair in node.value if pair[0].value == part), None)
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = None, node.value[part]
        if found is None:
            return key, node, path[i:]
        key, node = found
    return key, node, ()


def _is_empty(node: Node) -> bool:
    """Returns True for the value of `key:` without a value, which ruamel places anywhere up to the next key."""
    return bool(node.start_mark.index == node.end_mark.index)


def _colon(key: Node) -> int:
    return int(key.end_mark.index) + 1


def _end(key: Node | None, node: Node) -> int:
    """Returns where the text of a value ends; a block ends with its last value, before the comments after it."""
    if key is not None and _is_empty(node):
        return _colon(key)
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        return _end(*(node.value[-1] if isinstance(node, MappingNode) else (None, node.value[-1])))
    return int(node.end_mark.index)


def _added(text: str, node: MappingNode, entry: str) -> str:
    last_key, last_value = node.value[-1]
    end = _end(last_key, last_value)
    if node.flow_style:
        return f"{text[:end]}, {entry}{text[end:]}"
    if text[:end].endswith("\n"):  # a text of several lines includes its last line end
        return f"{text[:end]}{' ' * last_key.start_mark.column}{entry}\n{text[end:]}"
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    return f"{text[:line_end]}\n{' ' * last_key.start_mark.column}{entry}{text[line_end:]}"
