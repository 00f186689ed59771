"""The table of element-wise operations; an operation that is not in it is not supported.

Every operation has the meaning that it has in `TTree::Draw` (ROOT's TTreeFormula), which computes in double precision,
divides by zero to zero, and guards its built-in functions (`log` of what is not positive is 0, `sqrt` takes the
magnitude, `asin` and `acos` outside [-1, 1] are 0, `exp` stops at 700). `TMath::` functions are not guarded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pidlab.expressions import arithmetic as ar
from pidlab.expressions.tree import Apply, Inside


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    Attributes:
        takes: the type of each argument in C++, one letter each: d a double, u an unsigned 64-bit integer, b a bool.
        result: bool, int, unsigned, float, or same (an integer if all arguments are integers).
        numpy: the operation on arrays and numpy scalars.
        cpp: the C++17 text, with the arguments at {0}, {1}, {2}.
        integers: whether the arguments must be integers.
    """

    takes: str
    result: str
    numpy: Callable[..., Any]
    cpp: str
    integers: bool = False


def _real(ufunc: Any, cpp: str, takes: str = "d") -> Operation:
    """Returns a function of doubles that is the same in numpy and C++."""
    return Operation(takes, "float", lambda *x: ufunc(*x, dtype=np.float64), cpp)


def _guarded(cpp: str) -> str:
    """Returns C++ that uses its argument x more than once."""
    return "[](double x) { return " + cpp + "; }({0})"


def _pair(cpp: str) -> str:
    return "[](double a, double b) { return " + cpp + "; }({0}, {1})"


_MODULO = (
    "[](long long a, long long b) { return double(b == 0 || b == -1 ? 0 : a % b); }((long long)({0}), (long long)({1}))"
)

OPERATORS: dict[str, Operation] = {
    "unary -": Operation("d", "same", ar.negative, "(-{0})"),
    "unary +": Operation("d", "same", lambda x: x, "{0}"),
    "!": Operation("b", "bool", np.logical_not, "(!{0})"),
    "~": Operation("u", "int", ar.invert, "double((long long)(~{0}))", integers=True),
    "^": Operation("dd", "float", ar.power, "std::pow({0}, {1})"),
    "*": Operation("dd", "same", ar.arithmetic(np.multiply), "({0} * {1})"),
    "/": Operation("dd", "float", ar.divide, _pair("b == 0 ? 0.0 : a / b")),
    "%": Operation("dd", "int", ar.modulo, _MODULO),
    "+": Operation("dd", "same", ar.arithmetic(np.add), "({0} + {1})"),
    "-": Operation("dd", "same", ar.arithmetic(np.subtract), "({0} - {1})"),
    "<<": Operation("uu", "unsigned", ar.shift(np.left_shift), "({0} << ({1} & 63u))", integers=True),
    ">>": Operation("uu", "unsigned", ar.shift(np.right_shift), "({0} >> ({1} & 63u))", integers=True),
    "<": Operation("dd", "bool", ar.compare(np.less), "({0} < {1})"),
    ">": Operation("dd", "bool", ar.compare(np.greater), "({0} > {1})"),
    "<=": Operation("dd", "bool", ar.compare(np.less_equal), "({0} <= {1})"),
    ">=": Operation("dd", "bool", ar.compare(np.greater_equal), "({0} >= {1})"),
    "==": Operation("dd", "bool", ar.compare(np.equal), "({0} == {1})"),
    "!=": Operation("dd", "bool", ar.compare(np.not_equal), "({0} != {1})"),
    "&": Operation("uu", "unsigned", ar.bitwise_and, "({0} & {1})", integers=True),
    "|": Operation("uu", "unsigned", ar.bitwise_or, "({0} | {1})", integers=True),
    "&&": Operation("bb", "bool", np.logical_and, "({0} && {1})"),
    "||": Operation("bb", "bool", np.logical_or, "({0} || {1})"),
    "?:": Operation("bdd", "same", ar.choose, "({0} ? {1} : {2})"),
}

_EXP = "x < -700 ? 0.0 : std::exp(x > 700 ? 700.0 : x)"
_PHI = '!std::isfinite(x) ? std::nan("") : x - 6.283185307179586 * std::floor((x + {low}) / 6.283185307179586)'
_INT = "[](double x) { return std::abs(x) < 2147483648.0 ? x : -2147483648.0; }"
_ANGLE = "b != 0 ? std::atan2(a, b) : a == 0 ? 0.0 : a > 0 ? 1.5707963267948966 : -1.5707963267948966"
_ARC = "std::abs(x) > 1 ? 0.0 : std::"

_GUARDED: dict[str, Operation] = {
    "sqrt": Operation("d", "float", ar.root_of_magnitude, "std::sqrt(std::abs({0}))"),
    "exp": Operation("d", "float", ar.bounded_exp, _guarded(_EXP)),
    "log": Operation(
        "d", "float", ar.guarded(np.log, lambda x: np.greater(x, 0), 1.0), _guarded("x > 0 ? std::log(x) : 0.0")
    ),
    "log10": Operation(
        "d", "float", ar.guarded(np.log10, lambda x: np.greater(x, 0), 1.0), _guarded("x > 0 ? std::log10(x) : 0.0")
    ),
    "asin": Operation("d", "float", ar.guarded(np.arcsin, ar.not_beyond_one, 0.0), _guarded(_ARC + "asin(x)")),
    "acos": Operation("d", "float", ar.guarded(np.arccos, ar.not_beyond_one, 1.0), _guarded(_ARC + "acos(x)")),
    "atanh": Operation("d", "float", ar.guarded(np.arctanh, ar.not_beyond_one, 0.0), _guarded(_ARC + "atanh(x)")),
    "atan2": Operation("dd", "float", ar.angle, _pair(_ANGLE)),
    "acosh": Operation(
        "d", "float", ar.guarded(np.arccosh, ar.not_below_one, 1.0), _guarded("x < 1 ? 0.0 : std::acosh(x)")
    ),
}

_REAL = {
    "sqrt": np.sqrt, "cbrt": np.cbrt, "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1,
    "log": np.log, "log10": np.log10, "log2": np.log2, "log1p": np.log1p,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
}  # fmt: skip
_REAL_PAIRS = {"atan2": np.arctan2, "hypot": np.hypot, "fmod": np.fmod}

_UNGUARDED: dict[str, Operation] = {
    **{name: _real(ufunc, f"std::{name}({{0}})") for name, ufunc in _REAL.items()},
    **{name: _real(ufunc, f"std::{name}({{0}}, {{1}})", "dd") for name, ufunc in _REAL_PAIRS.items()},
    "pow": Operation("dd", "float", ar.power, "std::pow({0}, {1})"),
    "abs": Operation("d", "same", ar.exact(np.abs), "std::abs({0})"),
    "floor": Operation("d", "same", ar.exact(np.floor), "std::floor({0})"),
    "ceil": Operation("d", "same", ar.exact(np.ceil), "std::ceil({0})"),
    "trunc": Operation("d", "same", ar.exact(np.trunc), "std::trunc({0})"),
    "round": Operation("d", "same", ar.round_half_away, "std::round({0})"),
    "sq": Operation("d", "same", lambda x: np.square(x, dtype=np.float64), _guarded("x * x")),
    "isnan": Operation("d", "bool", np.isnan, "std::isnan({0})"),
    "isinf": Operation("d", "bool", np.isinf, "std::isinf({0})"),
    "isfinite": Operation("d", "bool", np.isfinite, "std::isfinite({0})"),
}

_OWN: dict[str, Operation] = {
    "int": Operation("d", "int", ar.whole, "double((long long)({0}))"),
    "sign": Operation("d", "int", lambda x: np.where(np.less(x, 0), -1, 1), "({0} < 0 ? -1.0 : 1.0)"),
    "min": Operation("dd", "same", lambda a, b: ar.choose(np.less(b, a), b, a), _pair("b < a ? b : a")),
    "max": Operation("dd", "same", lambda a, b: ar.choose(np.less(a, b), b, a), _pair("a < b ? b : a")),
    "TMath::Min": Operation("dd", "same", lambda a, b: ar.choose(np.less_equal(a, b), a, b), _pair("a <= b ? a : b")),
    "TMath::Max": Operation(
        "dd", "same", lambda a, b: ar.choose(np.greater_equal(a, b), a, b), _pair("a >= b ? a : b")
    ),
    "TMath::Sign": _real(np.copysign, "std::copysign({0}, {1})", "dd"),
    "TMath::Nint": Operation("d", "int", ar.rounded(np.rint), _INT + "(std::nearbyint({0}))"),
    "TMath::FloorNint": Operation("d", "int", ar.rounded(np.floor), _INT + "(std::floor({0}))"),
    "TMath::CeilNint": Operation("d", "int", ar.rounded(np.ceil), _INT + "(std::ceil({0}))"),
    "TMath::Even": Operation("d", "bool", lambda x: ~ar.odd(x), "(((long long)({0}) & 1) == 0)"),
    "TMath::Odd": Operation("d", "bool", ar.odd, "(((long long)({0}) & 1) != 0)"),
    "TMath::Range": Operation(
        "ddd",
        "same",
        lambda low, high, x: ar.choose(np.less(x, low), low, ar.choose(np.greater(x, high), high, x)),
        "[](double a, double b, double x) { return x < a ? a : x > b ? b : x; }({0}, {1}, {2})",
    ),
    "TVector2::Phi_mpi_pi": Operation(
        "d", "float", ar.into_turn(-np.pi), _guarded(_PHI.replace("{low}", "3.141592653589793"))
    ),
    "TVector2::Phi_0_2pi": Operation("d", "float", ar.into_turn(0.0), _guarded(_PHI.replace("{low}", "0.0"))),
}

_TMATH = {
    "Abs": "abs", "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Log10": "log10", "Log2": "log2", "Power": "pow",
    "Sin": "sin", "Cos": "cos", "Tan": "tan", "ASin": "asin", "ACos": "acos", "ATan": "atan",
    "SinH": "sinh", "CosH": "cosh", "TanH": "tanh", "ASinH": "asinh", "ACosH": "acosh", "ATanH": "atanh",
    "Floor": "floor", "Ceil": "ceil", "Hypot": "hypot", "Sq": "sq", "IsNaN": "isnan", "Finite": "isfinite",
}  # fmt: skip

FUNCTIONS: dict[str, Operation] = {
    **_UNGUARDED,
    **_GUARDED,
    **_OWN,
    "fabs": _UNGUARDED["abs"],
    "TMath::ATan2": _GUARDED["atan2"],
    **{f"TMath::{name}": _UNGUARDED[unguarded] for name, unguarded in _TMATH.items()},
    **{f"std::{name}": operation for name, operation in _UNGUARDED.items() if name != "sq"},
    "std::fabs": _UNGUARDED["abs"],
}

OPERATIONS: dict[str, Operation] = OPERATORS | FUNCTIONS


def operation_of(step: Apply) -> Operation | None:
    """Returns the element-wise operation of a step; None for a reduction. The C++ of `cutg` has its table at {2}."""
    if isinstance(step, Inside):
        return Operation("dd", "bool", step.polygon.contains, "detail::inside({2}, {0}, {1})")
    return OPERATIONS.get(step.name)


CONSTANTS: dict[str, float | bool] = {"pi": float(np.pi), "true": True, "false": False, "True": True, "False": False}

CONSTANT_FUNCTIONS: dict[str, float] = {
    "TMath::Pi": float(np.pi),
    "TMath::TwoPi": float(2 * np.pi),
    "TMath::PiOver2": float(np.pi / 2),
    "TMath::PiOver4": float(np.pi / 4),
    "TMath::DegToRad": float(np.pi / 180),
    "TMath::RadToDeg": float(180 / np.pi),
    "TMath::E": float(np.e),
    "TMath::Ln10": float(np.log(10)),
    "TMath::LogE": float(np.log10(np.e)),
    "TMath::Sqrt2": float(np.sqrt(2)),
    "TMath::C": 2.99792458e8,
    "TMath::Infinity": float("inf"),
    "TMath::QuietNaN": float("nan"),
}
