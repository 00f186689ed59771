"""Grammar: a parser by precedence climbing over the tokens, with ROOT's precedence, into postfix steps.

From loose to tight: `?:`, `||`, `&&`, `not`, `|`, `&`, comparisons, `+`, `-`, `%`, `*`, `/`, shifts, unary `- + ! ~`,
`^`. ROOT computes `a*b/c` as `a*(b/c)`, which differs if c is 0, and `a*b*c` from the right. An expression that ROOT
reads in another way than C and Python is refused with the brackets that make it unambiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from pidlab.errors import ExpressionError, nearest
from pidlab.expressions.operations import CONSTANT_FUNCTIONS, CONSTANTS, FUNCTIONS
from pidlab.expressions.polygons import Polygon
from pidlab.expressions.reductions import REDUCTIONS
from pidlab.expressions.spellings import operator_hint, word_hint
from pidlab.expressions.tokens import Token, tokens
from pidlab.expressions.tree import (
    CHOICE,
    COUNTERS,
    MAX_STEPS,
    Apply,
    Branch,
    Constant,
    Entry,
    Expression,
    Inside,
    Step,
)

MAX_DEPTH = 200
"""The deepest nesting of calls of the parser; a pair of brackets takes two or more of them."""

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_SHIFTS = frozenset({"<<", ">>"})
_BESIDE_SHIFTS = frozenset({"&&", "||", "&", "|", "<<", ">>"})
_SPELLINGS = {"and": "&&", "or": "||", "**": "^"}
_PREFIXES = {"-": "unary -", "+": "unary +", "!": "!", "~": "~"}
_LEVELS = {
    "||": 1, "&&": 2, "|": 4, "&": 5, **dict.fromkeys(COMPARISONS, 6), "+": 7, "-": 8, "%": 9, "*": 10, "/": 11,
    "<<": 12, ">>": 12, "^": 14,
}  # fmt: skip
_NOT, _UNARY = 3, 13
CUTG = "cutg"
"""The function that asks a polygon, of ROOT's class TCutG."""
_FROM_THE_RIGHT = frozenset({"*"})
_NAMESPACES = frozenset(name.partition("::")[0] for name in (*FUNCTIONS, *CONSTANT_FUNCTIONS) if "::" in name)
"""What stands before `::` in the name of a function; `REC::Particle.px` is a branch."""


def parse(
    text: str, aliases: Mapping[str, str] | None = None, polygons: Mapping[str, Polygon] | None = None
) -> Expression:
    """Returns the expression of `text`; a name in `aliases` is replaced by its expression, in brackets.

    `cutg("name")` asks the polygon of that name among `polygons`, on its own axes or on those that are given.

    Raises:
        ExpressionError: the text is no expression, is ambiguous, or is too long or nested too deeply.
    """
    return Expression(text, _Parser(text, aliases or {}, polygons or {}, {}, (), 0).whole())


@dataclass(frozen=True, slots=True)
class _Operand:
    """The place of a parsed piece, and its loosest operator (with its place) outside brackets."""

    start: int
    stop: int
    top: str = ""
    top_stop: int = 0


class _Parser:
    """Parses one text; each alias has its own parser, and `expanded` keeps its steps."""

    def __init__(
        self,
        text: str,
        aliases: Mapping[str, str],
        polygons: Mapping[str, Polygon],
        expanded: dict[str, tuple[Step, ...]],
        within: tuple[str, ...],
        depth: int,
    ) -> None:
        self._text, self._aliases, self._polygons = text, aliases, polygons
        self._expanded, self._within, self._depth = expanded, within, depth
        self._tokens = tokens(text)
        self._index = 0
        self._steps: list[Step] = []

    def whole(self) -> tuple[Step, ...]:
        """Returns the steps of the whole text."""
        self._ternary()
        if self._next.kind != "end":
            raise self._unexpected("an operator", self._operator_hint())
        return tuple(self._steps)

    @property
    def _next(self) -> Token:
        return self._tokens[self._index]

    def _take(self) -> Token:
        token = self._next
        self._index += token.kind != "end"
        return token

    def _at(self, *operators: str) -> bool:
        return self._next.kind == "operator" and self._next.text in operators

    def _expect(self, operator: str, after: Token) -> Token:
        if not self._at(operator):
            hint = f"The {after.text!r} at column {after.position + 1} is open."
            raise self._unexpected(repr(operator), hint)
        return self._take()

    def _refuse(self, message: str, place: Token, hint: str = "") -> ExpressionError:
        return ExpressionError(message, self._text, place.position, place.length, hint)

    def _unexpected(self, wanted: str, hint: str = "") -> ExpressionError:
        token = self._next
        found = "the end of the expression" if token.kind == "end" else repr(token.text)
        return self._refuse(f"expected {wanted}, found {found}", token, hint)

    def _operator_hint(self) -> str:
        """Returns what may be meant where an operator is expected and something else stands."""
        token, before = self._next, self._tokens[self._index - 1]
        if token.text == ")":
            return "No bracket is open for it."
        if token.text == ",":
            return "A number has a decimal point; two conditions are joined by '&&'."
        hint = operator_hint(self._text, token.position) if token.kind == "operator" else ""
        return hint or word_hint(token.text) or (word_hint(before.text) if before.kind == "name" else "")

    def _operand_hint(self) -> str:
        """Returns what may be meant where a number, a branch or a bracket is expected and something else stands."""
        token = self._next
        if token.kind == "end" and self._index:
            token = self._tokens[self._index - 1]  # an operator at the end
        elif token.kind == "operator" and (hint := operator_hint(self._text, token.position)):
            return hint
        if token.text == "|":
            return "The absolute value is written abs(x)."
        if token.text in COMPARISONS | {"+", "-", "*", "/", "%", "&", "&&", "||", "^", "**", "and", "or"}:
            return f"{token.text!r} needs a value on both sides."
        return ""

    def _source(self, operand: _Operand) -> str:
        return self._text[operand.start : operand.stop]

    def _emit(self, steps: Iterable[Step], place: Token) -> None:
        self._steps.extend(steps)
        if len(self._steps) > MAX_STEPS:
            raise self._refuse(f"the expression has more than {MAX_STEPS} parts", place, "Cut it into several.")

    def _join(self, name: str, arity: int, start: int, stop: int, place: Token) -> _Operand:
        """Appends an operation on the last results; the steps of its operands precede it."""
        self._emit([Apply(name, arity, place.position, place.length)], place)
        return _Operand(start, stop, name, place.stop)

    def _nested(self, read: Callable[[], _Operand]) -> _Operand:
        """Returns what `read` returns, one level deeper."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            hint = "Give its parts names in data.aliases."
            raise self._refuse("the expression is nested too deeply", self._next, hint)
        operand = read()
        self._depth -= 1
        return operand

    def _ternary(self) -> _Operand:
        condition = self._nested(lambda: self._binary(1))
        if not self._at("?"):
            return condition
        mark = self._take()
        self._nested(self._ternary)
        self._expect(":", mark)
        no = self._nested(self._ternary)
        return self._join("?:", 3, condition.start, no.stop, mark)

    def _binary(self, level: int) -> _Operand:
        left = self._unary(level)
        while (name := self._operator()) and _LEVELS[name] >= level:
            chain: list[tuple[_Operand, Token]] = []
            while self._operator() == name and (not chain or name in _FROM_THE_RIGHT):
                mark = self._take()
                read = self._exponent if name == "^" else partial(self._binary, _LEVELS[name] + 1)
                right = self._nested(read)
                self._check_reading(name, mark, left, right)
                chain.append((left, mark))
                left = right
            if name in ("==", "!="):
                self._read_text(chain[0][0], left)
            for operand, mark in reversed(chain):
                left = self._join(name, 2, operand.start, left.stop, mark)
        return left

    def _read_text(self, left: _Operand, right: _Operand) -> None:
        """Turns a name in quotation marks into a text if it is compared with a name without them."""
        sides = self._steps[-2:]
        quoted = [self._text[operand.start] in "\"'" for operand in (left, right)]
        if len(sides) < 2 or not all(isinstance(s, Branch) and not s.indices for s in sides) or sum(quoted) != 1:
            return
        place = -2 if quoted[0] else -1
        word = self._steps[place]
        assert isinstance(word, Branch)
        self._steps[place] = Constant(word.name, word.position, word.length)

    def _operator(self) -> str:
        token = self._next
        if token.kind not in ("operator", "name"):
            return ""
        name = _SPELLINGS.get(token.text, token.text)
        return name if name in _LEVELS else ""

    def _unary(self, level: int) -> _Operand:
        token = self._next
        if token.kind == "name" and token.text == "not":
            if level > _NOT:
                raise self._refuse("'not' binds looser than what stands before it", token, "Write it in brackets.")
            self._take()
            operand = self._nested(lambda: self._binary(_NOT))
            return replace(self._join("!", 1, token.position, operand.stop, token), top="not")
        if not self._at(*_PREFIXES):
            return self._primary()
        self._take()
        operand = self._nested(lambda: self._binary(_UNARY))
        return self._join(_PREFIXES[token.text], 1, token.position, operand.stop, token)

    def _exponent(self) -> _Operand:
        """Reads what follows `^`: signs and a single operand, so that the caller sees a chain of powers."""
        token = self._next
        if not self._at(*_PREFIXES):
            return self._primary()
        self._take()
        operand = self._nested(self._exponent)
        return self._join(_PREFIXES[token.text], 1, token.position, operand.stop, token)

    def _check_reading(self, name: str, token: Token, left: _Operand, right: _Operand) -> None:
        """Refuses what ROOT reads in another way than C or Python."""
        tops = {left.top, right.top} - {""}
        if not tops:
            return
        if name in COMPARISONS and left.top in COMPARISONS:
            a, b = self._source(left), self._source(right)
            middle = self._text[left.top_stop : left.stop].strip()
            fix = f"Write '{a} && {middle} {token.text} {b}', or put brackets around '{a}'."
            raise self._refuse("comparisons cannot be chained: ROOT compares the 0 or 1 of the first", token, fix)
        if name in ("&", "|") and tops & COMPARISONS:
            fix = f"Write '{2 * token.text}' to join conditions, or put brackets around the bits: '(flags & 4) != 0'."
            raise self._refuse(f"bit operator {name!r} beside a comparison without brackets", token, fix)
        if (name in _SHIFTS and tops - _SHIFTS) or (name not in _BESIDE_SHIFTS and tops & _SHIFTS):
            fix = f"Write '({self._source(left)}) {token.text} ({self._source(right)})', or bracket the shift."
            raise self._refuse("ROOT and C bind a shift differently: it needs brackets here", token, fix)
        if name == "%" and right.top in ("*", "/"):
            fix = f"Write '{self._source(left)} % ({self._source(right)})', as ROOT reads it, or bracket the remainder."
            raise self._refuse("ROOT and C read '%' before '*' or '/' differently: brackets are needed", token, fix)
        if name == "^" and left.top == "^" and "**" in self._source(left) + token.text:
            fix = f"Write '({self._source(left)})**{self._source(right)}'."
            raise self._refuse("ROOT and Python read a chain of powers differently", token, fix)

    def _primary(self) -> _Operand:
        token = self._next
        if token.kind == "number":
            self._take()
            return self._leaf(Constant(self._number(token), token.position, token.length), token)
        if token.kind == "quoted":
            self._take()
            return self._element(token)
        if token.kind == "name" and token.text not in ("and", "or", "not"):
            self._take()
            return self._named(token)
        if self._at("("):
            self._take()
            self._nested(self._ternary)
            close = self._expect(")", token)
            return _Operand(token.position, close.stop)
        raise self._unexpected("a number, a branch or '('", self._operand_hint())

    def _leaf(self, step: Step, token: Token) -> _Operand:
        self._emit([step], token)
        return _Operand(token.position, token.stop)

    def _number(self, token: Token) -> float | int:
        """Returns the number, an integer if it is whole and fits into 64 bits."""
        text = token.text
        if text[:2] in ("0x", "0X"):
            if len(text) > 18:
                raise self._refuse("the number does not fit into 64 bits", token)
            return int(text, 16)
        whole = int(text) if text.isdecimal() and len(text) <= 20 else 2**64
        return whole if whole < 2**64 else float(text)

    def _named(self, token: Token) -> _Operand:
        name = token.text
        if self._at("("):
            return self._call(token)
        if name in COUNTERS:
            return self._leaf(Entry(name, token.position, token.length), token)
        if name in self._aliases:
            return self._alias(token)
        if name in CONSTANTS:
            return self._leaf(Constant(CONSTANTS[name], token.position, token.length, name), token)
        if "$" in name or name.partition("::")[0] in _NAMESPACES:
            raise self._unknown_function(token)
        return self._element(token)

    def _call(self, token: Token) -> _Operand:
        name, opening = token.text, self._take()
        if name == CUTG:
            return self._cutg(token, opening)
        n_arguments = 0
        while not self._at(")"):
            if n_arguments:
                self._expect("," if self._at(",") else ")", opening)
            self._nested(self._ternary)
            n_arguments += 1
        stop = self._take().stop
        self._check_arity(token, n_arguments)
        if name in CONSTANT_FUNCTIONS:
            self._leaf(Constant(CONSTANT_FUNCTIONS[name], token.position, token.length), token)
        else:
            self._join(name, n_arguments, token.position, stop, token)
        return _Operand(token.position, stop)

    def _cutg(self, token: Token, opening: Token) -> _Operand:
        """Reads what follows `cutg(`: the name of a polygon in quotes and, unless they are its own, its two axes."""
        named = self._next
        if named.kind != "quoted":
            raise self._refuse("cutg takes the name of a polygon in quotes", named, 'Write cutg("name").')
        polygon = self._polygon(self._take())
        axes: list[_Operand] = []
        while self._at(","):
            self._take()
            axes.append(self._nested(self._ternary))
        stop = self._expect(")", opening).stop
        whole = Token("name", self._text[token.position : stop], token.position, stop - token.position)
        if axes and len(axes) != 2:
            hint = f'Write cutg("{polygon.name}", x, y), or cutg("{polygon.name}") for its own axes.'
            raise self._refuse("cutg takes two axes, or none", whole, hint)
        if axes:
            polygon = replace(polygon, x=self._source(axes[0]), y=self._source(axes[1]))
        else:
            for axis in ("x", "y"):
                self._emit(self._axis(polygon, axis, whole), whole)
        self._emit([Inside(CUTG, 2, whole.position, whole.length, polygon)], whole)
        return _Operand(token.position, stop)

    def _polygon(self, named: Token) -> Polygon:
        if named.text in self._polygons:
            return self._polygons[named.text]
        hint = nearest(named.text, self._polygons)
        advice = "Give it under polygons in the configuration, or name a TCutG of a file as 'file.root:name'."
        hint = f"{hint[:1].upper()}{hint[1:]}" if hint.startswith("did") else advice
        raise self._refuse(f"no polygon {named.text!r}", named, hint)

    def _axis(self, polygon: Polygon, axis: str, place: Token) -> Iterable[Step]:
        """Returns the steps of an axis that the polygon states itself; all have the place of the call."""
        text = polygon.x if axis == "x" else polygon.y
        if not text.strip():
            hint = f'Give them: cutg("{polygon.name}", x_expression, y_expression).'
            raise self._refuse(f"the polygon {polygon.name!r} does not say what its axes are", place, hint)
        known = f'cutg("{polygon.name}")'  # no alias has such a name
        if known in self._within:
            raise self._refuse(f"the polygon {polygon.name!r} refers to itself", place, "Its axes need branches.")
        key = f"{known}.{axis}"
        if key not in self._expanded:
            self._expanded[key] = self._steps_of(text, known, f"polygon {polygon.name!r}: {axis}")
        return (replace(s, position=place.position, length=place.length) for s in self._expanded[key])

    def _check_arity(self, token: Token, n_arguments: int) -> None:
        name = token.text
        if name in REDUCTIONS:
            wanted = REDUCTIONS[name].arity
        elif name in FUNCTIONS:
            wanted = len(FUNCTIONS[name].takes)
        elif name in CONSTANT_FUNCTIONS:
            wanted = 0
        else:
            raise self._unknown_function(token)
        if wanted != n_arguments:
            raise self._refuse(f"{name} takes {wanted} argument{'s' * (wanted != 1)}, {n_arguments} given", token)

    def _unknown_function(self, token: Token) -> ExpressionError:
        name = token.text
        if name in CONSTANT_FUNCTIONS:
            return self._refuse(f"{name} is a function", token, f"Write '{name}()'.")
        if name in REDUCTIONS:
            return self._refuse(f"{name} needs an argument", token, f"Write '{name}(x)'.")
        known = [*FUNCTIONS, *REDUCTIONS, *CONSTANT_FUNCTIONS, CUTG, *COUNTERS]
        hint = nearest(name, known)
        own = name.rpartition(".")[2]  # np.sqrt and math.sqrt are sqrt
        hint = f"did you mean {own!r}?" if own != name and own in known else hint
        hint = word_hint(name) or (hint if hint.startswith("did") else "docs/cuts.md lists the functions.")
        return self._refuse(f"unknown function {name!r}", token, hint[:1].upper() + hint[1:])

    def _alias(self, token: Token) -> _Operand:
        name = token.text
        if name in self._within:
            circle = " -> ".join((*self._within[self._within.index(name) :], name))
            raise self._refuse(
                f"alias {name!r} refers to itself ({circle})", token, "An alias needs branches to end at."
            )
        if name not in self._expanded:
            self._expanded[name] = self._steps_of(self._aliases[name], name, f"alias {name!r}")
        steps = self._expanded[name]
        self._emit((replace(s, position=token.position, length=token.length) for s in steps), token)
        return self._indexed(token, len(steps))

    def _steps_of(self, text: str, name: str, what: str) -> tuple[Step, ...]:
        """Returns the steps of the text that stands for `name`, which is `what` in messages."""
        within = (*self._within, name)
        try:
            parser = _Parser(text, self._aliases, self._polygons, self._expanded, within, self._depth + 4)
            return parser.whole()
        except ExpressionError as error:
            message = f"{what}: {error.message}"
            raise ExpressionError(message, error.text, error.position, error.length, error.hint) from None

    def _element(self, token: Token) -> _Operand:
        self._emit([Branch(token.text, (), token.position, token.length)], token)
        return self._indexed(token, 1)

    def _indexed(self, token: Token, n_steps: int) -> _Operand:
        """Reads the brackets after the branch or alias of the last `n_steps` steps, if there are any.

        Numbers, `x[0][1]`, become part of the branch; any other text between brackets is an expression, which chooses
        elements, and so is what follows it.
        """
        stop = token.stop
        is_chosen = False
        while self._at("["):
            if not is_chosen and (n_steps > 1 or not isinstance(self._steps[-1], Branch)):
                raise self._refuse("only a branch can take an index", token, "Put the index into the alias.")
            opening = self._take()
            first, n_before = self._next, len(self._steps)
            self._depth += 1  # brackets take half as many calls again as a pair of round ones
            self._nested(self._ternary)
            self._depth -= 1
            inside = self._steps[n_before:]
            close = self._expect("]", opening)
            stop = close.stop
            is_number = len(inside) == 1 and isinstance(inside[0], Constant) and first.text.isdecimal()
            if not is_number and not any(isinstance(step, Branch | Entry) for step in inside):
                hint = "An index is a whole number, counted from 0: x[0]. To use all elements: Sum$(x), Max$(x)."
                raise self._refuse("an index has to be a whole number", first, hint)
            branch = self._steps[n_before - 1]
            if is_number and isinstance(branch, Branch):
                index = min(int(first.text[:19]), 2**62)
                place = {"position": token.position, "length": stop - token.position}
                self._steps[n_before - 1 :] = [Branch(branch.name, (*branch.indices, index), **place, is_whole=True)]
            else:
                is_chosen = True
                if isinstance(branch, Branch):
                    self._steps[n_before - 1] = replace(branch, is_whole=True)
                self._emit([Apply(CHOICE, 2, token.position, stop - token.position)], token)
        return _Operand(token.position, stop)
