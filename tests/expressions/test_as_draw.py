"""The same string selects the same events as TTree::Draw: random cuts, every function, the C++ text, by real ROOT."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from pidlab.errors import ExpressionError
from pidlab.expressions import evaluate, parse, selects, to_cpp
from pidlab.expressions.operations import CONSTANT_FUNCTIONS, FUNCTIONS

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ROOT") is None, reason="the ROOT wheel is not installed")

N = 240
DRAWN = 450

_DRAW = """
import json, sys
import ROOT
ROOT.gROOT.SetBatch(True)
ROOT.gErrorIgnoreLevel = ROOT.kFatal
request = json.load(open(sys.argv[1]))
file = ROOT.TFile.Open(request["file"])
tree = file.Get("t")
selected, values = {}, {}
for cut in request["cuts"]:
    found = tree.Draw(">>list", cut, "entrylist")
    entries = ROOT.gDirectory.Get("list")
    selected[cut] = [int(entries.GetEntry(k)) for k in range(entries.GetN())] if found >= 0 else None
for text in request["values"]:
    formula = ROOT.TTreeFormula("formula", text, tree)
    values[text] = None
    if formula.GetNdim():
        values[text] = []
        for k in range(tree.GetEntries()):
            tree.LoadTree(k)
            values[text].append(repr(formula.EvalInstance(0)) if formula.GetNdata() else "nan")
json.dump({"selected": selected, "values": values}, open(sys.argv[2], "w"))
"""

_COMPILE = """
import json, sys
import numpy as np
import ROOT
request = json.load(open(sys.argv[1]))
columns = dict(np.load(request["columns"]))
assert ROOT.gInterpreter.Declare(request["code"])
out = np.empty((request["n"], request["expressions"]))
ROOT.all_expressions(out, request["n"], *(columns[name].ctypes.data for name in request["order"]))
np.save(sys.argv[2], out)
"""


def columns() -> dict[str, Any]:
    """N events of every kind of branch, with what is awkward about real ones."""
    random = np.random.default_rng(20)
    x, y = random.normal(0, 2, (2, N))
    x[::17], x[3::23], x[5::31], x[7::41], y[2::13] = np.nan, np.inf, -np.inf, 0.0, 0.0
    y[4::19] = random.choice([-1.0, 0.5, 1.0, 700.5, -701.0], len(y[4::19]))
    f = random.choice(np.array([0.1, 0.2, 0.3, 0.5, -1, 2, np.nan, 7.25], np.float32), N)
    # beside another list, ROOT reads on behind a list of one element: such lists have a branch of their own
    lengths = random.choice([0, 2, 3, 4], (2, N))
    few = random.integers(0, 3, N)
    jet = ak.unflatten(random.normal(1, 2, lengths[0].sum()).astype(np.float32), lengths[0])
    jet = ak.where(random.random(N) < 0.1, np.float32(np.nan) * jet, jet)
    return {
        "x": x,
        "y": y,
        "f": f,
        "P.cal.etot": random.exponential(1, N).astype(np.float32),
        "i": random.integers(-9, 10, N).astype(np.int32),
        "s": random.integers(-128, 128, N).astype(np.int8),
        "u": random.choice(np.array([0, 1, 2, 5, 7, 4294967295], np.uint32), N),
        "l": random.integers(-(2**40), 2**40, N),
        "flags": random.integers(0, 256, N).astype(np.uint16),
        "b": random.random(N) < 0.5,
        "v": random.normal(0, 1, (N, 3)).astype(np.float32),
        "m": random.integers(-3, 4, (N, 2, 3)).astype(np.int32),
        "jet_pt": ak.values_astype(jet, np.float32),
        "jet_k": ak.unflatten(random.integers(-3, 4, lengths[0].sum()).astype(np.int32), lengths[0]),
        "solo": ak.unflatten(random.normal(0, 1, few.sum()), few),
        "hit": ak.unflatten(random.exponential(1, lengths[1].sum()), lengths[1]),
    }


COLUMNS = columns()

CONSTANTS = st.sampled_from(["0", "1", "2", "3", "7", "100", "0.1", "0.2", "0.3", "0.5", "1.5", ".25", "1e2", "0x1F"])
FLOATS = st.sampled_from(["x", "y", "f", "P.cal.etot", "v[0]", "v[2]"])
INTEGERS = st.sampled_from(["i", "s", "u", "l", "b", "flags", "m[1][2]", "Entry$"])
ELEMENTS = st.sampled_from(["hit[0]", "hit[1]", "solo[0]", "jet_pt[0]", "jet_pt[2]", "jet_k[1]"])
COMPARE = st.sampled_from([" < ", ">", "<=", ">=", "==", "!="])
SMOOTH = st.sampled_from(
    ["sqrt", "exp", "log", "log10", "sin", "cos", "tan", "atan", "asin", "acos", "tanh", "TMath::Sqrt", "TMath::Log"]
)
STEPPED = st.sampled_from(["abs", "fabs", "floor", "ceil", "int", "round", "sign", "TMath::Abs", "TMath::Nint"])
OF_TWO = st.sampled_from(["min", "max", "TMath::Min", "TMath::Max", "hypot", "atan2"])
UNARY = st.sampled_from(["", "", "", "-", "!"])


@st.composite
def lists(draw: st.DrawFn) -> str:
    """A list of numbers an event, for a reduction."""
    array = draw(st.sampled_from(["jet_pt", "jet_k", "hit", "solo", "v", "m[0]"]))
    single = st.one_of(st.sampled_from(["v", "x", "i", "hit[0]"]), CONSTANTS)
    other = draw(single if array == "solo" else st.one_of(st.sampled_from(["jet_pt", "jet_k", "hit"]), single))
    operator = draw(st.sampled_from(["", "+", "-", "*", ">", "<=", "&&", "||"]))
    return draw(st.sampled_from([array, f"abs({array})"])) + (operator + other if operator else "")


@st.composite
def reductions(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(["Sum$", "Max$", "Min$", "Length$", "MinIf$", "MaxIf$", "Alt$"]))
    if name == "Alt$":
        return f"Alt$({draw(ELEMENTS)},{draw(CONSTANTS)})"
    if name.endswith("If$"):
        pair = draw(lists()), draw(lists())
        assume(not any("solo" in text for text in pair) or all("solo" in text for text in pair))
        return f"{name}({','.join(pair)})"
    return f"{name}({draw(lists())})"


LEAVES = st.one_of(FLOATS, FLOATS, INTEGERS, CONSTANTS, ELEMENTS, reductions(), reductions())


@st.composite
def numbers(draw: st.DrawFn, depth: int = 2) -> str:
    """An expression with a number as result; what may land a digit apart is never rounded or compared with itself."""
    form = draw(st.sampled_from(["leaf", "arithmetic", "smooth", "stepped", "two", "choice", "bits", "modulo"]))
    if depth == 0 or form == "leaf":
        return draw(LEAVES)
    if form == "arithmetic":
        pieces = [draw(numbers(depth - 1)) for _ in range(draw(st.integers(2, 4)))]
        joined = pieces[0]
        for piece in pieces[1:]:
            joined += draw(st.sampled_from(["+", " - ", "*", "/", " * "])) + piece
        return draw(st.sampled_from([joined, f"({joined})", f"(-({joined}))", f"({joined})^2"]))
    if form == "smooth":
        return f"{draw(SMOOTH)}({draw(numbers(depth - 1))})"
    if form == "stepped":
        return f"{draw(STEPPED)}({draw(LEAVES)})"
    if form == "two":
        return f"{draw(OF_TWO)}({draw(numbers(depth - 1))},{draw(LEAVES)})"
    if form == "choice":
        side = st.one_of(st.sampled_from(["x", "y", "f", "i"]), CONSTANTS, reductions())
        return f"({draw(cuts(depth - 1))} ? {draw(side)} : {draw(side)})"
    if form == "bits":
        operator = draw(st.sampled_from(["&", "|", " & ", "<<", ">>"]))
        return f"({draw(st.sampled_from(['i', 'flags', 'u', 'b']))}{operator}{draw(st.sampled_from(['1', '3', '6']))})"
    return f"({draw(LEAVES)}%{draw(st.sampled_from(['2', '3', '7', '10']))})"


@st.composite
def cuts(draw: st.DrawFn, depth: int = 2) -> str:
    """An expression with a truth value as result."""
    compared = f"{draw(numbers(depth))}{draw(COMPARE)}{draw(st.one_of(CONSTANTS, LEAVES))}"
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from([compared, f"!({compared})", f"({compared})"]))
    joined = f"{compared} {draw(st.sampled_from(['&&', '||']))} {draw(UNARY)}{draw(LEAVES)}"
    return f"{joined}{draw(st.sampled_from(['&&', '||']))}{draw(cuts(depth - 1))}"


def drawn_cuts() -> list[str]:
    """The random cuts that the grammar takes; lines with two readings are refused and thrown away."""
    found: dict[str, None] = {}

    @settings(
        max_examples=DRAWN,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cuts())
    def collect(text: str) -> None:
        try:
            parse(text)
        except ExpressionError:
            assume(False)
        # a branch that first occurs in the unused side of ?: is not read by ROOT, which then uses the event before
        found[f"x+y+f+i!=1e30 && ({text})" if "?" in text else text] = None

    collect()
    return list(found)


def function_calls() -> dict[str, str]:
    """A call of every function, by its name."""
    branches = {"d": ["x"], "dd": ["x", "y"], "ddd": ["(-1)", "2", "x"]}
    calls = {name: f"{name}({','.join(branches[f.takes])})" for name, f in FUNCTIONS.items()}
    # ROOT turns an infinite angle for ever
    calls |= {name: f"{name}(9*P.cal.etot - 20)" for name in FUNCTIONS if "Phi" in name}
    return calls | {name: f"{name}()" for name in CONSTANT_FUNCTIONS}


KNOWN = """
x/y   i/0   -x^2   2^3^2   2^-i   2^-3^2   1/2   -7%3   x%3   20/3%4   7+5%3   1+2*3%4   !y+1   !i==0   -i*2   u*u
x*y/0   TMath::Sqrt(x)*x/i   1e308*10/10   0.1*10*1e308   1e16+1-1e16+1   1+1-1e16-1+1e16   x-y+f-i   7/2*3/4   s*s
x<0&&y>0||b   b||x<0&&y>0   i|1   i>>1   7&1<<2   1<<2&7   8>>1&7   1&&2|4   4|1&&0   x?2:3+1   x>0?1:0?2:3   x>y
f==0.1   f<0.1   f>=0.1   f<=0.2   f>0.2   0.2<f   0.3>=f   f!=0.1   f+0   f*f   f/3   u-7   P.cal.etot*2   v[1]   i<u
Sum$(m)   Sum$(m[1])   Length$(m)   Sum$(jet_k*jet_k[1])   Sum$(jet_pt*v)   Length$(x)   Sum$(x)   Max$(jet_pt)   l%4
MaxIf$(x,y>0)   Length$(hit[1])   Max$(hit[0]+1)   Alt$(hit[2]*2,x)   Sum$(jet_k-Max$(jet_k))   Max$(v)   Min$(jet_pt)
1||hit[0]   y?hit[0]:7   0&&hit[0]   hit[0]+v[0]   Entry$/2   010   1e400   9007199254740993   min(0.3,x)   max(f,0.1)
x>0?f:0.1   MinIf$(jet_pt,jet_k>0)   Length$(solo)   Max$(solo)   Sum$(solo*v)   Sum$(jet_pt*hit)   m[1][0]   pi   b+b
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ROOT answers to everything that this file asks, from one process."""
    folder = tmp_path_factory.mktemp("root")
    types = {
        name: np.dtype((c.dtype, c.shape[1:])) if isinstance(c, np.ndarray) else f"var * {ak.flatten(c).type.content}"
        for name, c in COLUMNS.items()
    }
    with uproot.recreate(folder / "events.root") as file:
        file.mktree("t", types).extend(COLUMNS)
    request = {
        "file": str(folder / "events.root"),
        "cuts": [*drawn_cuts(), "x", "!x", "x||0", "f&&1"],
        "values": [*KNOWN.split(), *function_calls().values()],
    }
    return run_root(_DRAW, request, folder, json_answer=True)


def run_root(script: str, request: dict[str, Any], folder: Path, json_answer: bool = False) -> Any:
    (folder / "ask.py").write_text(script)
    (folder / "request.json").write_text(json.dumps(request))
    answer = folder / ("answer.json" if json_answer else "answer.npy")
    command = [sys.executable, "-W", "ignore", str(folder / "ask.py"), str(folder / "request.json"), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert answer.exists(), done.stderr[-3000:]
    return json.loads(answer.read_text()) if json_answer else np.load(answer)


def test_random_cuts_select_the_events_that_tree_draw_selects(root: dict[str, Any]) -> None:
    understood = {cut: entries for cut, entries in root["selected"].items() if entries is not None}
    assert len(understood) >= 300
    differing = {}
    for cut, entries in understood.items():
        ours = np.flatnonzero(selects(parse(cut), COLUMNS, N)).tolist()
        if ours != entries:
            differing[cut] = sorted(set(ours) ^ set(entries))
    assert not differing, json.dumps(differing, indent=1)


def test_the_random_cuts_are_worth_comparing(root: dict[str, Any]) -> None:
    fractions = [len(entries) / N for entries in root["selected"].values() if entries is not None]
    assert np.mean([0 < fraction < 1 for fraction in fractions]) > 0.6
    drawn = " ".join(root["selected"])
    assert all(piece in drawn for piece in ("Sum$", "MaxIf$", "Alt$", "hit[0]", "&&", "?", "Entry$", "%", "^2", ">>"))


@pytest.mark.parametrize("text", KNOWN.split())
def test_each_rule_has_roots_value(root: dict[str, Any], text: str) -> None:
    assert_values(text, root["values"][text])


@pytest.mark.parametrize("name", sorted(function_calls()))
def test_each_function_has_roots_value(root: dict[str, Any], name: str) -> None:
    if root["values"][function_calls()[name]] is None:
        assert name.startswith("std::"), f"ROOT does not know {name}"
        pytest.skip("TTreeFormula does not take this std:: function")
    assert_values(function_calls()[name], root["values"][function_calls()[name]])


def assert_values(text: str, wanted: list[str]) -> None:
    ours = evaluate(parse(text), COLUMNS, N).astype(np.float64)
    # numpy's and the C library's functions may differ in the last digits; angles lose what the turns take away
    tolerance = 1e-13 if "Phi" in text else 4e-15
    np.testing.assert_allclose(ours, np.array(wanted, dtype=np.float64), rtol=tolerance, atol=0)


CPP = """
x > 0.5 && !(abs(y) < 2 && i != 3); x/y; x%3; l%4 == 1; s%(-1); x%y; -x^2; 2^-i; x ? y : f; f == 0.1; f < 0.1; ~i; +x
(i & 3) == 3; (i | 1) > 0; flags >> 2 & 3; (flags & ~4) != 0; !x + 1; not x > 1 or b; v[0]*v[2] + P.cal.etot; u << 3
true && x; i; b; f; 9007199254740993 * 1; u > -1 && i < u; (x>0)*3 + pi; 1e400 > x; -TMath::QuietNaN(); i * l; x - -1
min(x, min(y, f)); (b ? 1 : 0) ? x > 1 : y; x && y || b; flags; sq(x) + sq(y) < 4; (i + 2) & 3; 1e-3; 0x1F | i; x*y/0
m[1][2] * 2; 18446744073709551615 > u; (x > 0) & (y > 0); u >> 35; x*y*f
"""

ORDER = {"x": "double", "y": "double", "f": "float", "P.cal.etot": "float", "i": "int", "s": "signed char"}
ORDER |= {"u": "unsigned int", "l": "long long", "flags": "unsigned short", "b": "bool", "v": "float", "m": "int"}


def variable(name: str) -> str:
    c = name.replace(".", "_")
    return {"v": "(c_v + 3 * k)", "m": "((const int (*)[3])(c_m + 6 * k))"}.get(name, f"c_{c}[k]")


def test_cpp_text_means_what_evaluate_means(tmp_path: Path) -> None:
    texts = [*CPP.replace("\n", ";").strip(";").split(";"), *function_calls().values()]
    names = {name: name.replace(".", "_") for name in ORDER}
    addresses = ", ".join(f"unsigned long a_{name}" for name in names.values())
    arrays = " ".join(f"auto c_{names[name]} = (const {kind}*)a_{names[name]};" for name, kind in ORDER.items())
    lines = "\n".join(f"out[k * {len(texts)} + {j}] = {to_cpp(parse(text), variable)};" for j, text in enumerate(texts))
    code = (
        "#include <cmath>\n#include <limits>\n"
        f"void all_expressions(double* out, long n, {addresses}) {{\n{arrays}\n"
        f"for (long k = 0; k < n; ++k) {{\n{lines}\n}} }}"
    )
    np.savez(tmp_path / "columns.npz", **{name: COLUMNS[name] for name in ORDER})
    request = {"columns": str(tmp_path / "columns.npz"), "code": code, "n": N, "expressions": len(texts)}
    answer = run_root(_COMPILE, request | {"order": list(ORDER)}, tmp_path)
    for j, text in enumerate(texts):
        ours = evaluate(parse(text), COLUMNS, N).astype(np.float64)
        rtol = 1e-13 if "Phi" in text else 4e-15
        np.testing.assert_allclose(answer[:, j], ours, rtol=rtol, atol=0, err_msg=text)
