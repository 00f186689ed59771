"""YAML text: the text of a configuration as values with their places; a text that needs quotes is told as it should be.

Expressions hold `!`, `&`, `*`, `:` and other characters that mean something else in YAML. A value that is written
without quotes and for which YAML has another reading is a mistake; to find the mistakes behind it, it is read on as
if it stood in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pidlab.config.names import KeyPath, dotted
from pidlab.errors import ConfigError, Mistake
from pidlab.expressions.spellings import QUOTES, character_name, how_to_type, retyped, to_type

MAX_BYTES = 1_000_000
"""The largest configuration that is read."""
_MAX_DEPTH = 20
_MAX_REPAIRS = 50
_MAX_REPAIRED = 100_000  # characters; each repair reads the text again, which takes a second per 100,000
_TAGS = {"null", "bool", "int", "float", "str", "seq", "map"}
_SCALARS = YAML(typ="safe", pure=True).constructor

_MEANINGS = {
    "!": "begins with '!', which marks a tag in YAML",
    "&": "begins with '&', which marks an anchor in YAML",
    "*": "begins with '*', which marks an alias in YAML",
    "%": "begins with '%', which YAML keeps for itself",
    "@": "begins with '@', which YAML keeps for itself",
    "`": "begins with a backquote, which YAML keeps for itself",
    "|": "begins with '|', which in YAML begins a text of several lines",
    ">": "begins with '>', which in YAML begins a text of several lines",
    "{": "begins with '{', which in YAML begins a section",
    "[": "begins with '[', which in YAML begins a list",
    '"': "goes on behind the quote that ends it",
    "'": "goes on behind the quote that ends it",
    ",": "begins with ','",
    "]": "begins with ']'",
    "}": "begins with '}'",
}
_OPERATORS = re.compile(r"[<>=|&*/+?()-]")
_BLOCK_VALUE = re.compile(r"^\s*(?:-\s+)*(?:[^\s:#'\"{}\[\],&*!|>%@`][^:#{}\[\],]*:\s+)?(?=\S)")
_FLOW_VALUE = re.compile(r"[{\[,]\s*(?:[\w.]+\s*:\s+)?(?=\S)")
_NO_SPACE = re.compile(r"^\s*(?:-\s+)?([A-Za-z_][\w.]*):([^\s:/].*)$")
_WORD = re.compile(r"[\w.\-+ $:]+")


@dataclass(slots=True)
class YamlText:
    """What a YAML text says.

    Attributes:
        content: numbers, texts, lists and dicts.
        places: key path to `file.yaml:line:column`.
        mistakes: values that YAML reads in another way than was meant; the content holds what was meant.
        cut_short: key path of texts without quotes behind which ` #` begins a comment, which may belong to them.
    """

    content: Any = None
    places: dict[KeyPath, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    cut_short: set[KeyPath] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Repair:
    """The line of a value, from `start` to before `stop`, which is read as `replacement`; lines count from 0."""

    line: int
    start: int
    stop: int
    replacement: str
    message: str


class _Unquoted(Exception):  # noqa: N818  # caught in this module
    """A value that YAML reads, although in another way than was meant."""

    def __init__(self, repair: _Repair) -> None:
        self.repair = repair


def read_yaml(text: str, name: str) -> YamlText:
    """Returns what a YAML text says; places begin with `name`.

    Raises:
        ConfigError: the text is no YAML, and it is not clear how else it is meant.
    """
    repairs: list[_Repair] = []
    while True:
        try:
            found = _Reader(text, name).read()
        except _Unquoted as unquoted:
            repair: _Repair | None = unquoted.repair
        except MarkedYAMLError as error:
            repair = _repair(text, error) if len(text) <= _MAX_REPAIRED else None
            if repair is None:
                told = [_mistake_of(each, name, {}) for each in repairs]
                raise ConfigError([*told, _syntax_mistake(text, name, error)]) from None
        except (YAMLError, RecursionError) as error:
            raise ConfigError([Mistake(f"{name}:1:1", "", f"not valid YAML: {error}")]) from None
        else:
            found.mistakes[:0] = [_mistake_of(each, name, found.places) for each in repairs]
            return found
        assert repair is not None
        repairs.append(repair)
        if len(repairs) > _MAX_REPAIRS:
            raise ConfigError(_mistake_of(each, name, {}) for each in repairs)
        lines = text.split("\n")
        old = lines[repair.line]
        lines[repair.line] = old[: repair.start] + repair.replacement + old[repair.stop :]
        text = "\n".join(lines)


def _mistake_of(repair: _Repair, name: str, places: dict[KeyPath, str]) -> Mistake:
    """Returns the mistake at a repaired value, with the last key that begins before it on its line."""
    key: KeyPath = ()
    last = 0
    for path, place in places.items():
        line, _, column = place.removeprefix(f"{name}:").partition(":")
        if int(line) == repair.line + 1 and last <= int(column) <= repair.start + 1:
            key, last = path, int(column)
    return Mistake(f"{name}:{repair.line + 1}:{repair.start + 1}", dotted(key), repair.message)


class _Reader:
    """Reads one text; each event is checked before a node is made of it."""

    def __init__(self, text: str, name: str) -> None:
        self._text, self._name = text, name
        self._lines = text.split("\n")
        self._found = YamlText()

    def read(self) -> YamlText:
        node = self._composed()
        if node is not None:
            self._found.content = self._value(node, (), in_flow=False)
        return self._found

    def _composed(self) -> Node | None:
        """Returns the nodes of the text.

        Raises:
            ConfigError: brackets nest too deep, there are anchors or aliases, or a value is too long.
            _Unquoted: what looks like an anchor or an alias is a text.
        """
        yaml, depth = YAML(typ="safe", pure=True), 0
        constructor, parser = yaml.get_constructor_parser(self._text)
        get_event = parser.get_event

        def checked() -> Any:
            nonlocal depth
            event = get_event()
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise self._refused(event, f"brackets nest more than {_MAX_DEPTH} deep")
            if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
                self._suggest_quotes(event)
                raise self._refused(event, "YAML anchors and aliases are not read; repeat the value")
            if isinstance(event, ScalarEvent) and len(event.value) > MAX_BYTES // 10:
                raise self._refused(event, "this value is too long")
            if isinstance(event, ScalarEvent) and "\0" in event.value:
                raise self._refused(event, "holds a NUL character, which no name, path or expression has")
            return event

        parser.get_event = checked
        node: Node | None = constructor.composer.get_single_node()
        return node

    def _place(self, marked: Any) -> str:
        return f"{self._name}:{marked.start_mark.line + 1}:{marked.start_mark.column + 1}"

    def _refused(self, marked: Any, message: str, path: KeyPath = ()) -> ConfigError:
        return ConfigError([Mistake(self._place(marked), dotted(path), message)])

    def _tell(self, marked: Any, message: str, path: KeyPath) -> None:
        self._found.mistakes.append(Mistake(self._place(marked), dotted(path), message))

    def _text_at(self, marked: Any) -> str:
        line, column = marked.start_mark.line, marked.start_mark.column
        return self._lines[line][column:] if line < len(self._lines) else ""

    def _suggest_quotes(self, marked: Any) -> None:
        """Raises `_Unquoted` if what holds a tag, an anchor or an alias looks like an expression."""
        line, column = marked.start_mark.line, marked.start_mark.column
        repair = _repair_at(self._lines, line, column) if len(self._text) <= _MAX_REPAIRED else None
        if repair is not None:
            raise _Unquoted(repair)

    def _value(self, node: Node, path: KeyPath, in_flow: bool) -> Any:
        self._found.places.setdefault(path, self._place(node))
        tag = str(node.tag).rsplit(":", 1)[-1]
        # A lone `!` has no tag behind it, and would be dropped from a cut without a word.
        if tag not in _TAGS or re.match(r"!(?!!)", self._text_at(node)):
            self._suggest_quotes(node)
            raise self._refused(node, f"the YAML tag {node.tag} is not read; quote the value", path)
        if isinstance(node, SequenceNode):
            return [self._value(item, (*path, i), node.flow_style) for i, item in enumerate(node.value)]
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        assert isinstance(node, ScalarNode)
        if tag == "str":
            return self._string(node, path, in_flow)
        try:
            return _scalar(node)
        except ValueError:  # it has more digits than Python reads
            message = f"{node.value[:20]}… of {len(node.value):,} characters is no number that is read"
            raise self._refused(node, message, path) from None

    def _string(self, node: ScalarNode, path: KeyPath, in_flow: bool) -> str:
        value = str(node.value)
        if node.style is not None:
            return value
        if in_flow and value.count("(") > value.count(")"):  # a comma inside brackets ended it
            line, column = node.start_mark.line, node.start_mark.column
            stop = _flow_end(self._lines[line], column)
            raw = self._lines[line][column:stop].rstrip()
            if raw != value and raw.count("(") == raw.count(")"):
                raise _Unquoted(_repair_of(line, column, raw, "holds a comma, which separates values in { } and [ ]"))
        end = node.end_mark
        if self._lines[end.line][end.column :].lstrip().startswith("#"):
            self._found.cut_short.add(path)
        inside = value[1:-1] if value[-1] in QUOTES else value[1:]
        if value[0] in QUOTES and inside and not any(c in QUOTES for c in inside):
            what = f"begins with {character_name(value[0])}, which is no quote of YAML"
            self._tell(node, f"{what}; write {in_quotes(retyped(inside))}", path)
            return inside
        return value

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        content: dict[str, Any] = {}
        if node.flow_style and len(node.value) == 1 and path:
            self._suggest_text(node)
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                raise self._refused(key_node, "a key must be a plain word", path)
            key = self._key(key_node, value_node, path, node.flow_style)
            if key is None:
                continue
            if key in content:
                raise self._refused(key_node, "this key stands here twice", (*path, key))
            self._found.places[(*path, key)] = self._place(key_node)
            content[key] = self._value(value_node, (*path, key), node.flow_style)
        return content

    def _suggest_text(self, node: MappingNode) -> None:
        """Raises `_Unquoted` if an expression stands in { }, as in `{x > 3}`."""
        (key, value), start, end = node.value[0], node.start_mark, node.end_mark
        is_alone = isinstance(value, ScalarNode) and value.value == "" and value.style is None
        if is_alone and isinstance(key, ScalarNode) and not _WORD.fullmatch(key.value) and start.line == end.line:
            raw, quoted = self._lines[start.line][start.column : end.column], in_quotes(str(key.value))
            message = f"{raw} {_MEANINGS['{']}; put the text in quotes: {quoted}"
            raise _Unquoted(_Repair(start.line, start.column, end.column, quoted, message))

    def _key(self, node: ScalarNode, value: Node, path: KeyPath, in_flow: bool) -> str | None:
        """Returns the text of a key; None if it is a mistake, which is reported."""
        key = str(node.value)
        if node.style is not None:
            return key
        is_alone = isinstance(value, ScalarNode) and value.value == "" and value.style is None
        if in_flow and is_alone and key.isdecimal():
            self._tell(node, f"a number is written with a point, not with a comma, as in 0.{key}", path)
            return None
        if in_flow and is_alone and (":" in key or not _WORD.fullmatch(key)):
            word, colon, rest = key.partition(":")
            if colon and _WORD.fullmatch(word):
                line, start, stop = node.start_mark.line, node.start_mark.column, node.end_mark.column
                spaced = f"{word}: {rest}"
                raise _Unquoted(_Repair(line, start, stop, spaced, f"write a space behind the colon: {spaced}"))
            message = f"{key!r} has no colon and is no key; a text that holds a comma or brackets stands in quotes"
            self._tell(node, f"{message}, such as {in_quotes(key)}", path)
            return None
        wrong = next((c for c in key if to_type(c) is not None), None)
        if wrong is None or path == ("labels",):
            return key
        if wrong == key[0] and to_type(wrong) == " ":  # the indentation is not what it looks like
            raise self._refused(node, f"not valid YAML: {character_name(wrong)}; {how_to_type(wrong)}")
        self._tell(node, f"the key {retyped(key).strip()!r} holds {character_name(wrong)}; {how_to_type(wrong)}", path)
        return retyped(key).strip()


def _scalar(node: ScalarNode) -> Any:
    """Returns what a word without quotes means: a number, true, false or null."""
    try:
        return _SCALARS.construct_object(node)
    finally:
        _SCALARS.constructed_objects.clear()  # otherwise every node is kept


def in_quotes(text: str) -> str:
    """Returns a text as a quoted value of YAML on one line, in double quotes if it needs no escapes."""
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def _repair_of(line: int, start: int, raw: str, reason: str) -> _Repair:
    inside = raw
    if raw[0] in QUOTES and raw[-1] in QUOTES:
        inside, reason = retyped(raw[1:-1]), f"begins with {character_name(raw[0])}, which is no quote of YAML"
    quoted = in_quotes(inside)
    return _Repair(line, start, start + len(raw), quoted, f"{raw} {reason}; put the text in quotes: {quoted}")


def _repair(text: str, error: MarkedYAMLError) -> _Repair | None:
    """Returns how a value is read on that made the text invalid; None if that is not clear."""
    lines = text.split("\n")
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return None
    opened = _open_quote(lines, mark.line)
    if opened is not None:
        return opened
    if mark.line >= len(lines):
        return None
    repair = _repair_at(lines, mark.line, mark.column)
    if repair is None and error.context_mark is not None and error.context_mark.line != mark.line:
        repair = _repair_at(lines, error.context_mark.line, error.context_mark.column)
    return repair


def _repair_at(lines: list[str], number: int, column: int) -> _Repair | None:
    """Returns how the value of a line that spans `column` is read on; None if it needs no quotes."""
    line = lines[number]
    for start, is_block in _value_starts(line):
        stop = _comment(line, start) if is_block else _flow_end(line, start)
        raw = line[start:stop].rstrip()
        if raw and start <= column <= stop and (reason := _why_quotes(raw, column - start)):
            return _repair_of(number, start, raw, reason)
    return None


def _value_starts(line: str) -> Iterator[tuple[int, bool]]:
    """Yields where values of a line begin, and whether each reaches to the line's end."""
    block = _BLOCK_VALUE.match(line)
    if block is not None:
        yield block.end(), True
    for flow in _FLOW_VALUE.finditer(line):
        yield flow.end(), False


def _why_quotes(raw: str, column: int) -> str:
    """Returns why a value needs quotes, as the end of a sentence; empty if it does not, or is no expression."""
    first = raw[0]
    if first in "\"'{[":
        close = _closing(raw)
        return _MEANINGS[first] if close is not None and raw[close + 1 :].strip() else ""
    if first in "!&*":
        rest = raw[1:]
        is_text = (first == "!" and re.fullmatch(r" *!? *[A-Za-z_][\w.]*", rest)) or _OPERATORS.search(rest)
        is_real = re.match(r"$|<|!(?:python|str|int|float|bool|null|seq|map|binary|set|omap)\b", rest) or re.fullmatch(
            r"\w+ +[\[{].*", rest
        )
        return _MEANINGS[first] if is_text and not is_real else ""
    if raw.startswith("- "):
        return "begins with '- ', which in YAML begins an item of a list"
    if first in "%@`|>,]}":
        return _MEANINGS[first]
    if re.search(r"\s:\s|:\s", raw) and raw.find(":") <= column:
        return "holds a colon before a space, which in YAML ends a key"
    return ""


def _closing(raw: str) -> int | None:
    """Returns the position of the quote or bracket that closes the first character."""
    if raw[0] in "\"'":
        return _quote_end(raw, 0)
    depth = 0
    for i, character in enumerate(raw):
        depth += (character in "[{") - (character in "]}")
        if not depth:
            return i
    return None


def _quote_end(line: str, start: int) -> int | None:
    """Returns the position of the quote that closes the one at `start`."""
    quote, i = line[start], start + 1
    while i < len(line):
        if (quote == '"' and line[i] == "\\") or (quote == "'" and line[i : i + 2] == "''"):
            i += 1
        elif line[i] == quote:
            return i
        i += 1
    return None


def _comment(line: str, start: int) -> int:
    """Returns where the comment of a line begins behind a value, or its end."""
    found = re.search(r"\s#", line[start:])
    return start + found.start() if found else len(line)


def _flow_end(line: str, start: int) -> int:
    """Returns where a value in { } or [ ] ends: before the `,`, `}` or `]` outside brackets, or at the line's end."""
    depth, i = 0, start
    while i < len(line):
        if line[i] in "\"'" and (close := _quote_end(line, i)) is not None:
            i = close
        elif line[i] in "([{":
            depth += 1
        elif line[i] in ")]}":
            if not depth:
                return i
            depth -= 1
        elif (line[i] == "," and not depth) or (line[i] == "#" and line[i - 1].isspace()):
            return i
        i += 1
    return len(line)


def _open_quote(lines: list[str], last: int) -> _Repair | None:
    """Returns the first quote that begins a value and is not closed on its line, if the text is wrong because of it.

    That is so if the next quote of its kind stands in the line `last`, where the parser failed, or nowhere before it.
    """
    for number, line in enumerate(lines[: last + 1]):
        for start, _ in _value_starts(line):
            if line[start] not in "\"'" or _quote_end(line, start) is not None:
                continue
            if any(_quote_end(f"{line[start]}{later}", 0) is not None for later in lines[number + 1 : last]):
                return None
            in_flow = any(c in line[:start] for c in "{[")
            stop = _flow_end(line, start + 1) if in_flow else _comment(line, start)
            raw = line[start:stop].rstrip()
            quoted = in_quotes(raw[1:])
            message = f"the quote {line[start]} that begins here is not closed; write {quoted}"
            return _Repair(number, start, start + len(raw), quoted, message)
    return None


def _syntax_mistake(text: str, name: str, error: MarkedYAMLError) -> Mistake:
    """Returns what the parser found, with the usual cause."""
    problem, context = str(error.problem or error.context), str(error.context or "")
    mark, start = error.problem_mark or error.context_mark, error.context_mark
    lines = text.split("\n")
    if mark is None:
        return Mistake(name, "", f"not valid YAML: {problem}")
    place = f"{name}:{mark.line + 1}:{mark.column + 1}"
    if r"\t" in problem:
        return Mistake(place, "", "not valid YAML: a tab; indent by spaces")
    if context.startswith("while parsing a flow") and start is not None and start.line < mark.line:
        bracket = "{" if "mapping" in context else "["
        where = "" if "end" in problem else f" before line {mark.line + 1}"
        close = "}" if bracket == "{" else "]"
        message = f"not valid YAML: the {bracket} that begins here is not closed{where}; write {close} behind its end"
        return Mistake(f"{name}:{start.line + 1}:{start.column + 1}", "", message)
    near = range(max(0, mark.line - 1), min(len(lines), mark.line + 1))
    for number in reversed(near):
        if (wrong := next((c for c in lines[number] if to_type(c) is not None), None)) is not None:
            place = f"{name}:{number + 1}:{lines[number].index(wrong) + 1}"
            message = f"not valid YAML: {character_name(wrong)}; {how_to_type(wrong)}: {retyped(lines[number]).strip()}"
            return Mistake(place, "", message)
        if (joined := _NO_SPACE.match(lines[number])) is not None:
            message = f"not valid YAML: write a space behind the colon: {joined[1]}: {joined[2]}"
            return Mistake(f"{name}:{number + 1}:{joined.start(2)}", "", message)
    if "escape character" in problem:
        return Mistake(place, "", f"not valid YAML: {problem}; a text that holds a backslash stands in single quotes")
    misplaced = ("block end", "mapping values", "could not find expected ':'")
    fix = "; is the line indented like its neighbours, and a text that holds : or # in quotes?"
    return Mistake(place, "", f"not valid YAML: {problem}{fix if any(each in problem for each in misplaced) else ''}")
