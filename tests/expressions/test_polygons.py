"""`cutg` decides every point as real ROOT does: in Python, in C++ and in a formula of TTree::Draw, edges included."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import pidlab.export.cpp
from pidlab.errors import ExpressionError
from pidlab.export.cpp.check import find_compiler
from pidlab.export.cpp.text import table
from pidlab.expressions import Polygon, evaluate, parse, selects, to_cpp
from pidlab.expressions.aliases import with_aliases
from pidlab.expressions.polygons import root_expression
from real_root import ask_root, needs_root

Points = tuple[tuple[float, float], ...]
SQUARE = Polygon("square", "x", "y", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
HOLE = Polygon("hole", "x + z * th", "shifted", ((0.0, 0.0), (2.0, 0.5), (1.0, 3.0)))


def star(n: int, seed: int, digits: int) -> Points:
    """n corners around the origin."""
    rng = np.random.default_rng(seed)
    angle, radius = np.sort(rng.uniform(0, 2 * np.pi, n)), rng.uniform(0.4, 1, n)
    corners = np.round(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), digits)
    return tuple((float(x), float(y)) for x, y in corners)


POLYGONS: dict[str, Points] = {
    "triangle": ((-1.0, -0.5), (1.0, -0.25), (0.1, 0.9)),
    "closed rectangle": ((-0.3, -0.7), (0.6, -0.7), (0.6, 0.2), (-0.3, 0.2), (-0.3, -0.7)),
    "star": star(24, 1, 2),
    "many corners": star(100, 2, 6),
    "crosses itself": ((-0.8, -0.8), (0.8, 0.7), (0.8, -0.9), (-0.7, 0.7), (-0.7, 0.7), (-0.0, 0.0)),
    "far from zero": tuple((1e6 + 1e-3 * x, 1e-9 * y) for x, y in star(9, 3, 15)),
}


def points_about(corners: Points, n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """n points: anywhere, on corners, on edges, on the heights of corners, and one digit beside each of these."""
    rng = np.random.default_rng(seed)
    px, py = np.array(corners).T
    x, y = rng.uniform(px.min(), px.max(), n), rng.uniform(py.min(), py.max(), n)
    kind, i, share = rng.integers(0, 5, n), rng.integers(0, len(px), n), rng.uniform(0, 1, n)
    x[kind == 1], y[kind == 1] = px[i[kind == 1]], py[i[kind == 1]]
    edge = kind == 2
    x[edge] = (px[i] + share * (px[i - 1] - px[i]))[edge]
    y[edge] = (py[i] + share * (py[i - 1] - py[i]))[edge]
    y[kind == 3] = py[i[kind == 3]]
    beside = rng.uniform(0, 1, n) < 0.3
    x[beside] = np.nextafter(x, rng.choice([-np.inf, np.inf], n))[beside]
    y[beside] = np.nextafter(y, rng.choice([-np.inf, np.inf], n))[beside]
    x[:4], y[:4] = [np.nan, 0.0, np.inf, -np.inf], [0.0, np.nan, 0.0, 0.0]
    return x, y


_ASK = """
ROOT.gInterpreter.Declare('''
#include <TCutG.h>
void ask(TCutG &cut, const double *x, const double *y, bool *inside, long n)
{ for (long i = 0; i < n; ++i) inside[i] = cut.IsInside(x[i], y[i]); }
''')
answer = {}
for name, points in given["polygons"].items():
    for end in ("f", ""):
        cut = ROOT.TCutG(given["words"][name] + end, len(points))
        ROOT.SetOwnership(cut, False)
        for i, (x, y) in enumerate(points):
            cut.SetPoint(i, x, y)
        cut.SetVarX("x" + end)
        cut.SetVarY("y" + end)
    arrays = np.load(f"{given['folder']}/{name}.npz")
    inside = np.zeros(len(arrays["x"]), bool)
    ROOT.ask(cut, arrays["x"], arrays["y"], inside, len(inside))
    file = ROOT.TFile.Open(f"{given['folder']}/{name}.root")
    tree = file.Get("T")
    formula, single = given["formulas"][name]
    answer[name] = {
        "inside": int(inside.sum()),
        "python": int((inside != arrays["inside"]).sum()),
        "draw": tree.GetEntries(f"({formula}) != inside"),
        "single": tree.GetEntries(f"({single}) != inside_f"),
    }
"""


@needs_root
def test_a_million_points_are_inside_where_real_root_says_so_in_python_and_in_tree_draw(tmp_path: Path) -> None:
    formulas, total = {}, 0
    for seed, (name, corners) in enumerate(POLYGONS.items()):
        polygon, n = Polygon(name, "x", "y", corners), 170_000
        x, y = points_about(corners, n, seed)
        inside = evaluate(parse(f'cutg("{name}")', {}, {name: polygon}), {"x": x, "y": y}, n)
        assert 0.02 < inside.mean() < 0.8
        with np.errstate(over="ignore"):
            single = {"xf": x.astype(np.float32), "yf": y.astype(np.float32)}
        in_single = evaluate(parse(f'cutg("{name}", xf, yf)', {}, {name: polygon}), single, n)
        np.savez(tmp_path / f"{name}.npz", x=x, y=y, inside=inside)
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            columns = {"x": x, "y": y, **single, "inside": inside, "inside_f": in_single}
            file.mktree("T", {k: v.dtype for k, v in columns.items()}).extend(columns)
        # 100 corners are too many operators for ROOT: there the formula is the name of the TCutG
        axes = [("x", "y"), ("xf", "yf")]
        short = len(corners) < 40
        formulas[name] = [root_expression(polygon, *each) for each in axes] if short else ["many", "manyf"]
        total += n
    assert total >= 1_000_000
    words = {name: name.split()[0] for name in POLYGONS}
    answer = ask_root(_ASK, polygons=POLYGONS, words=words, formulas=formulas, folder=tmp_path)
    for name, found in answer.items():
        assert found["python"] == 0, name
        assert (found["draw"], found["single"]) == (0, 0), name
        assert found["inside"] > 1000, name


@pytest.mark.skipif(not find_compiler(), reason="no C++ compiler")
@pytest.mark.parametrize("flags", [["-O1"], ["-O3", "-march=native", "-ffp-contract=fast"]], ids=["plain", "fused"])
def test_the_header_decides_every_point_as_python_does_whatever_the_compiler_fuses(
    flags: list[str], tmp_path: Path
) -> None:
    pieces = (Path(pidlab.export.cpp.__file__).parent / "pieces.h").read_text()
    function = pieces[pieces.index("/// Whether a point lies inside") : pieces.index("// Scaling")]
    tables, calls, expected = "", "", []
    for k, (name, corners) in enumerate(POLYGONS.items()):
        polygon = Polygon(name, "x", "y", corners)
        x, y = points_about(corners, 50_000, 100 + k)
        np.array([x, y]).tofile(tmp_path / f"{k}.bin")
        expected.append(polygon.contains(x, y))
        tables += table(f"table{k}", np.array(corners))
        expression = parse(f'cutg("{name}")', {}, {name: polygon})
        text = to_cpp(expression, lambda name: name, lambda _, k=k: f"detail::table{k}")  # type: ignore[misc]
        calls += f'   run("{k}.bin", [](double x, double y) {{ return {text}; }});\n'
    program = f"""
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <vector>
namespace detail {{
{function}
{tables}
}}
template <class F> void run(const char *name, F inside)
{{
   std::vector<double> v(100000);
   std::FILE *file = std::fopen(name, "rb");
   if (std::fread(v.data(), 8, v.size(), file) != v.size()) return;
   std::fclose(file);
   for (int i = 0; i < 50000; ++i) std::putchar(inside(v[i], v[50000 + i]) ? '1' : '0');
}}
int main()
{{
{calls}}}
"""
    (tmp_path / "inside.cpp").write_text(program)
    subprocess.run([*find_compiler(), "-std=c++17", *flags, "-o", "inside", "inside.cpp"], cwd=tmp_path, check=True)
    answer = subprocess.run(["./inside"], cwd=tmp_path, check=True, capture_output=True).stdout
    found = np.frombuffer(answer, np.uint8).reshape(len(POLYGONS), -1) == ord("1")
    assert (found != np.array(expected)).sum(axis=1).tolist() == [0] * len(POLYGONS)


def as_root(corners: Points, x: float, y: float) -> bool:
    """TMath::IsInside in plain Python, whose doubles round as C++'s do."""
    odd = False
    for (ax, ay), (bx, by) in zip(corners, (corners[-1], *corners[:-1]), strict=True):
        if (ay < y <= by or by < y <= ay) and ax + (y - ay) / (by - ay) * (bx - ax) < x:
            odd = not odd
    return odd


NUMBERS = st.one_of(st.sampled_from([-1.0, -0.1, -0.0, 0.0, 0.1, 0.3, 1.0, 1e-300, 1e300, -1e308]), st.floats(-2, 2))


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=8),
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20),
)
@settings(max_examples=300, deadline=None)
def test_the_box_around_a_polygon_and_the_formula_of_its_edges_change_no_decision(
    corners: list[tuple[float, float]], others: list[tuple[float, float]]
) -> None:
    polygon = Polygon("p", "x", "y", tuple(corners))
    x, y = np.array([*corners, *others]).T
    with np.errstate(all="ignore"):
        expected = [as_root(polygon.points, float(u), float(v)) for u, v in zip(x, y, strict=True)]
    assert polygon.contains(x, y).tolist() == expected
    if max(abs(number) for point in corners for number in point) < 1e307:  # differences are finite
        formula = parse(root_expression(polygon, "x", "y"))
        assert selects(formula, {"x": x, "y": y}, len(x)).tolist() == expected


def test_the_axes_are_the_polygons_own_with_aliases_or_those_of_the_call() -> None:
    aliases, polygons = {"shifted": "2 * y", "in_hole": 'cutg("hole")'}, {"hole": HOLE}
    rng = np.random.default_rng(5)
    arrays = {name: rng.uniform(-1, 2, 400) for name in ("x", "y", "z", "th", "p")}
    own, nested, other = (
        parse(t, aliases, polygons) for t in ('cutg("hole")', "in_hole && p > 0", "cutg('hole', p, y)")
    )
    assert own.branches == {"x", "y", "z", "th"}
    assert other.branches == {"p", "y"}
    inside = HOLE.contains(arrays["x"] + arrays["z"] * arrays["th"], 2 * arrays["y"])
    assert 20 < inside.sum() < 380
    assert evaluate(own, arrays, 400).tolist() == inside.tolist()
    assert selects(nested, arrays, 400).tolist() == (inside & (arrays["p"] > 0)).tolist()
    assert evaluate(other, arrays, 400).tolist() == HOLE.contains(arrays["p"], arrays["y"]).tolist()
    assert [(p.x, p.y) for p in (*own.polygons, *other.polygons)] == [("x + z * th", "shifted"), ("p", "y")]
    single = {name: values.astype(np.float32) for name, values in arrays.items()}
    double = {name: values.astype(np.float64) for name, values in single.items()}
    assert evaluate(own, single, 400).tolist() == evaluate(own, double, 400).tolist()


def test_points_of_jagged_branches_are_asked_one_by_one_and_missing_ones_are_not_there() -> None:
    hits = ak.Array([[0.5, 2.0, 0.25], [], [0.75]])
    arrays: dict[str, Any] = {"hx": hits, "hy": hits, "y": np.array([0.5, 0.5, 5.0])}
    polygons = {"square": SQUARE}
    count = parse('Sum$(cutg("square", hx, hy))', {}, polygons)
    assert evaluate(count, arrays, 3).tolist() == [2, 0, 1]
    first = parse('cutg("square", hx[0], y)', {}, polygons)
    assert selects(first, arrays, 3).tolist() == [True, False, False]
    assert selects(parse('!cutg("square", hx[0], y)', {}, polygons), arrays, 3).tolist() == [False, False, True]
    with pytest.raises(ExpressionError, match="branch 'hx' holds a list in each row, and one number is needed"):
        selects(parse('cutg("square", hx, y)', {}, polygons), arrays, 3)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('cutg("hol")', "no polygon 'hol'", "Did you mean 'hole'?"),
        ('cutg("quasielastic")', "no polygon 'quasielastic'", "Give it under polygons in the configuration"),
        ("cutg(hole)", "takes the name of a polygon in quotes", 'Write cutg("name")'),
        ("cutg()", "takes the name of a polygon in quotes", 'Write cutg("name")'),
        ('cutg("hole", x)', "takes two axes, or none", 'Write cutg("hole", x, y)'),
        ('cutg("hole", x, y, z)', "takes two axes, or none", 'Write cutg("hole", x, y)'),
        ('cutg("bare")', "'bare' does not say what its axes are", 'Give them: cutg("bare", x_expression'),
        ('cutg("loop")', "polygon 'loop': x: the polygon 'loop' refers to itself", "Its axes need branches."),
        ('cutg("wrong")', "polygon 'wrong': y: expected a number", "needs a value on both sides"),
        ('Cutg("hole")', "unknown function 'Cutg'", "Did you mean 'cutg'?"),
    ],
    ids=range(10),
)
def test_what_cannot_be_asked_is_told_with_the_way_out(text: str, message: str, hint: str) -> None:
    polygons = {
        "hole": HOLE,
        "bare": Polygon("bare", "", "", SQUARE.points),
        "loop": Polygon("loop", 'cutg("loop") + x', "y", SQUARE.points),
        "wrong": Polygon("wrong", "x", "y +", SQUARE.points),
    }
    with pytest.raises(ExpressionError) as caught:
        parse(text, {"shifted": "y"}, polygons)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_calls_are_found_for_other_programs_whatever_brackets_and_quotes_their_axes_hold() -> None:
    def written(name: str, axes: list[str]) -> str:
        return f"<{name}: {' | '.join(axes)}>"

    text = """!cutg("f.root:a,b") && cutg('hole', atan2(y, x), v[0]) || pre"""
    aliases = {"pre": 'cutg("hole", a, (b))'}
    assert with_aliases(text, aliases, written) == "!<f.root:a,b: > && <hole: atan2(y, x) | v[0]> || (<hole: a | (b)>)"


def test_a_polygon_without_a_place_for_its_table_has_no_cpp() -> None:
    with pytest.raises(ExpressionError, match="has no C\\+\\+ for one row"):
        to_cpp(parse('cutg("square")', {}, {"square": SQUARE}), lambda name: name)
