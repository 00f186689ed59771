"""Every kind of mistake in a configuration has a message that says where it is and what to write, all in one go."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from conftest import write_tree
from pidlab.config.load import load_config
from pidlab.config.schema import Predicting
from pidlab.errors import ConfigError
from pidlab.models.registry import MODEL_TYPES
from pidlab.preprocess.events import load
from pidlab.preprocess.recipe import compile_recipe
from pidlab.progress import Watcher

CONFIG = """\
data:
  files: a.root
  weight: "1"
classes:
  electron: species == 0
  pion: species == 1
selection:
  window: "abs(light) < 5"
split: {test: 0.25}
features: [energy, light]
models:
  hand: {type: expression, cut: "energy > 0.5"}
  fisher: {type: fisher}
evaluate: {working_points: [0.9]}
seed: 1
"""
WINDOW, HAND = '"abs(light) < 5"', '"energy > 0.5"'


def said(folder: Path, text: str, *overrides: str) -> str:
    """The mistakes of a configuration, without the folder."""
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mistakes")
    species = np.arange(40, dtype="i4") % 2
    columns = {"energy": species + 0.5, "light": np.linspace(-1, 1, 40), "species": species, "run": species * 0}
    write_tree(made / "a.root", columns)
    return made


MISTAKES = [
    # `=` for `==`, wherever an expression stands
    (
        "electron: species == 0",
        "electron: species = 0",
        "5:3: classes.electron: '=' ",
        "Write '==' to compare: species == 0",
    ),
    ("species == 1", "{cut: species = 1}", "6:10: classes.pion.cut: '=' ", "Write '==' to compare: species == 1"),
    (WINDOW, "light = 5", "8:3: selection.window: '=' ", "Write '==' to compare: light == 5"),
    ("0.25", '"run = 3"', "9:9: split.test: '=' ", "Write '==' to compare: run == 3"),
    ('weight: "1"', "weight: run = 0", "3:3: data.weight: '=' ", "Write '==' to compare: run == 0"),
    (HAND, '"energy = 1"', "12:28: models.hand.cut: '=' ", "Write '==' to compare: energy == 1"),
    # characters that only look like those of the keyboard
    (WINDOW, '"light > −1"', "8:3: selection.window: '−' (U+2212, minus sign) at column 9", "Type '-': light > -1"),
    (WINDOW, '"light – 1 > 0"', "'–' (U+2013, en dash) at column 7", "Type '-': light - 1 > 0"),
    (WINDOW, "light >\u00a01", "a character (U+00A0, no-break space) at column 8", "Type a space: light > 1"),
    (WINDOW, "light ≤ 1", "'≤' (U+2264, ", "Type '<=': light <= 1"),
    (WINDOW, "light ≠ 1", "'≠' (U+2260, ", "Type '!=': light != 1"),
    (WINDOW, "light × 2 > 1", "'×' (U+00D7, ", "Type '*': light * 2 > 1"),
    (WINDOW, "light ＞ 2", "'＞' (U+FF1E, ", "Type '>': light > 2"),
    (WINDOW, "species == ‘e’", "'‘' (U+2018, ", "Type \"'\": species == 'e'"),
    (WINDOW, "“light > 1”", "8:11: selection.window: begins with '“' (U+201C, ", 'write "light > 1"'),
    ("files: a.root", "files: “a.root”", "2:10: data.files: begins with '“'", 'write "a.root"'),
    ("seed: 1", "seed: −1", "15:1: seed: must be a valid integer, not '−1', which holds '−'", "type '-': -1"),
    ("seed: 1", "seed： 1", "15:5: not valid YAML: '：' (U+FF1A, fullwidth colon)", "type ':': seed: 1"),
    ("  pion", "\u00a0 pion", "not valid YAML: a character (U+00A0, no-break space)", "type a space"),
    # numbers in quotes, shares in per cent
    ("0.25", '"0.3"', "9:9: split.test: '0.3' in quotes is an expression", "without quotes: test: 0.3"),
    ("0.25", '"25%"', "9:9: split.test: '25%' in quotes is an expression", "without quotes: test: 0.25"),
    ("0.25", '"1 > 0"', "9:9: split.test: '1 > 0' is the same for every event", "write a share, such as test: 0.25"),
    ("0.25", "25", "9:9: split.test: must be less than 1, not 25;", "for 25 % write 0.25"),
    (
        "0.25",
        '0.25, validation: "0.1"',
        "split.validation: must be a valid number, not '0.1', a text",
        "write 0.1 without quotes",
    ),
    (
        "type: fisher",
        'type: bdt, max_depth: "4"',
        "models.fisher.max_depth: must be a valid integer",
        "write 4 without quotes",
    ),
    ("type: fisher", 'type: bdt, gamma: "0.1"', "models.fisher.gamma: is the text '0.1'", "write 0.1 without quotes"),
    ("[0.9]", "[90]", "14:29: evaluate.working_points[0]: must be less than 1, not 90;", "for 90 % write 0.90"),
    ("[0.9]", "[1.0]", "evaluate.working_points[0]: must be less than 1, not 1.0;", "it is a share between 0 and 1"),
    ("[0.9]", "[0]", "evaluate.working_points[0]: must be greater than 0, not 0", ""),
    ("[0.9]", '["90%"]', "evaluate.working_points[0]: must be a valid number, not '90%'", "write 0.90"),
    ("[0.9]", "0.9", "evaluate.working_points: must be a valid list, not 0.9", "write [0.9]"),
    ('weight: "1"', "weight: 2", "data.weight: must be a valid string, not 2;", 'it stands in quotes: "2"'),
    # nothing where something is needed
    ("[energy, light]", "[]", "10:1: features: names no feature;", "list one or more"),
    ("[energy, light]", "", "10:1: features: names no feature;", "list one or more"),
    ("[energy, light]", "energy", "10:1: features: must be a valid list, not 'energy'", "write [energy]"),
    ("\n  pion: species == 1", "", "4:1: classes: name two classes or more", 'electron: "species == 0"'),
    (
        '\n  hand: {type: expression, cut: "energy > 0.5"}\n  fisher: {type: fisher}',
        " {}",
        "11:1: models: names no model;",
        "{type: bdt}",
    ),
    (
        '\n  hand: {type: expression, cut: "energy > 0.5"}\n  fisher: {type: fisher}',
        "",
        "11:1: models: names no model;",
        "{type: bdt}",
    ),
    # cuts that mean something else in YAML
    (
        WINDOW,
        "!(abs(light) < 5)",
        "8:11: selection.window: !(abs(light) < 5) begins with '!'",
        'in quotes: "!(abs(light) < 5)"',
    ),
    (WINDOW, "!(light > 5 || light < 0)", "begins with '!'", 'in quotes: "!(light > 5 || light < 0)"'),
    (WINDOW, "!light", "8:11: selection.window: !light begins with '!'", 'in quotes: "!light"'),
    (HAND, "!energy && light > 0.5", "12:33: models.hand.cut: ", 'in quotes: "!energy && light > 0.5"'),
    (WINDOW, "&light > 5", "8:11: selection.window: &light > 5 begins with '&'", 'in quotes: "&light > 5"'),
    (WINDOW, "*light > 5", "begins with '*', which marks an alias", 'in quotes: "*light > 5"'),
    (WINDOW, "%light > 5", "begins with '%'", 'in quotes: "%light > 5"'),
    (WINDOW, "@light > 5", "begins with '@'", 'in quotes: "@light > 5"'),
    (WINDOW, "`light` > 5", "begins with a backquote", 'in quotes: "`light` > 5"'),
    (WINDOW, "{light > 5}", "begins with '{', which in YAML begins a section", 'in quotes: "light > 5"'),
    (WINDOW, "> 5", "begins with '>', which in YAML begins a text of several lines", 'in quotes: "> 5"'),
    (WINDOW, "|light| < 5", "begins with '|'", 'in quotes: "|light| < 5"'),
    (WINDOW, "light > 5 ? 1 : 0", "holds a colon before a space", 'in quotes: "light > 5 ? 1 : 0"'),
    (
        HAND,
        "max(energy, light) > 1",
        "12:33: models.hand.cut: max(energy, light) > 1 holds a comma",
        'quotes: "max(energy, light) > 1"',
    ),
    (
        "[energy, light]",
        "[energy, pow(light, 2)]",
        "10:20: features[1]: pow(light, 2) holds a comma",
        'quotes: "pow(light, 2)"',
    ),
    (WINDOW, '"light" > 5', "goes on behind the quote that ends it", "in quotes: '\"light\" > 5'"),
    (WINDOW, "light > #5", "selection.window: expected a number", "is a comment of YAML"),
    ("{type: fisher}", "{type:fisher}", "13:12: models.fisher.type: write a space behind the colon", "type: fisher"),
    (WINDOW, "! (light > 5)", "8:11: selection.window: ! (light > 5) begins with '!'", 'in quotes: "! (light > 5)"'),
    (WINDOW, "!!light", "selection.window: !!light begins with '!'", 'in quotes: "!!light"'),
    (WINDOW, "- light > 5", "begins with '- ', which in YAML begins an item", 'in quotes: "- light > 5"'),
    (WINDOW, "“light” > 5", "8:3: selection.window: '“' (U+201C", 'Type \'"\': "light" > 5'),
    ("0.25", "0,25", "9:17: split: a number is written with a point, not with a comma", "0.25"),
    ("[0.9]", "90", "evaluate.working_points: must be a list of shares, not 90", "write [0.90]"),
    ("{type: fisher}", "fisher", "13:3: models.fisher: must be a section", "such as {type: bdt}"),
    # operators of other languages
    (WINDOW, "light > 0 AND light < 5", "expected an operator, found 'AND'", "Write '&&' between two conditions."),
    (WINDOW, "light > 0 OR light < 5", "expected an operator, found 'OR'", "Write '||' between two conditions."),
    (WINDOW, "NOT light > 0", "expected an operator, found 'light'", "Write '!' before a condition"),
    (WINDOW, "NOT (light > 0)", "unknown function 'NOT'", "Write '!' before a condition"),
    (WINDOW, "light .and. energy", "'.' has no meaning", "Write '&&' between two conditions."),
    (WINDOW, "light > 0 & energy > 0", "bit operator '&' beside a comparison", "Write '&&' to join conditions"),
    (WINDOW, "light > 0 | energy > 0", "bit operator '|' beside a comparison", "Write '||' to join conditions"),
    (WINDOW, "light <> 5", "found '>'", "Write '!=' in place of '<>'."),
    (WINDOW, "light === 5", "'=' has no meaning", "Write '==' in place of '==='."),
    (WINDOW, "light =< 5", "'=' has no meaning", "Write '<=' in place of '=<'."),
    (WINDOW, "light in (1, 2)", "found 'in'", "Write 'x == 1 || x == 2'"),
    (WINDOW, "np.abs(light) < 5", "unknown function 'np.abs'", "Did you mean 'abs'?"),
    (WINDOW, "light > 0,5", "found ','", "A number has a decimal point"),
    (WINDOW, '"0 < light < 5"', "comparisons cannot be chained", "'0 < light && light < 5'"),
    # what is opened and not closed, at its beginning
    (
        WINDOW,
        '"abs(light) < 5',
        '8:11: selection.window: the quote " that begins here is not closed',
        'write "abs(light) < 5"',
    ),
    (
        "species == 0",
        "'species == 0",
        "5:13: classes.electron: the quote ' that begins here is not closed",
        'write "species == 0"',
    ),
    (HAND, '"energy > 0.5', '12:33: models.hand.cut: the quote " that begins here', 'write "energy > 0.5"'),
    (WINDOW, "species == 'e", 'the quote "\'" at column 12 is not closed', "write it again"),
    (WINDOW, '"abs(light < 5"', "expected ')', found the end", "The '(' at column 4 is open."),
    (
        "[energy, light]",
        "[energy, light",
        "10:11: not valid YAML: the [ that begins here is not closed before line 11",
        "write ]",
    ),
    (
        "{type: fisher}",
        "{type: fisher",
        "13:11: not valid YAML: the { that begins here is not closed before line 14",
        "write }",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "what", "fix"), MISTAKES)
def test_a_mistake_has_its_place_and_what_to_write(folder: Path, right: str, wrong: str, what: str, fix: str) -> None:
    assert right in CONFIG
    message = said(folder, CONFIG.replace(right, wrong, 1))
    assert what in message
    assert fix in message
    n_told = sum(line.startswith("c.yaml:") for line in message.splitlines())
    # a value that needs quotes may be wrong as an expression too, which is told with it
    assert n_told == 1 or (n_told == 2 and "in quotes" in message)


ALL = """\
data:
  files: a.root
  tre: T
  event_id: [rn, run]
classes:
  electron: species = 0
  pion: species == 1
signal: electrn
selection:
  window: !(abs(light) < 5)
  other: abs(light) < 5 AND light > 0
features:
  - enrgy
  - light
  - {name: q, expresion: enrgy}
  - species
split: {test: "0.3"}
models:
  hand: {type: expression, cut: energie > 0.5}
  fisher: {type: fishr}
  cuts: {type: cuts, sides: {lite: min}}
evaluate:
  working_points: [90]
  abundance: {pion: 1, electrn: 3}
balance: equl
"""


def test_mistakes_of_every_kind_are_told_in_one_go_in_the_order_of_the_file(folder: Path) -> None:
    told = [line for line in said(folder, ALL).splitlines() if line.startswith("c.yaml:")]
    keys = [line.split(": ")[1] for line in told]
    assert keys == [
        "data.tre", "data.event_id[0]", "classes.electron", "signal", "selection.window", "selection.other",
        "features[0]", "features[2].expression", "features[2].expresion", "features[3]", "split.test",
        "models.hand.cut", "models.fisher", "models.cuts.sides.lite", "evaluate.working_points[0]",
        "evaluate.abundance", "evaluate.abundance.electrn", "balance",
    ]  # fmt: skip


def test_what_follows_from_a_mistake_is_not_told(folder: Path) -> None:
    text = CONFIG.replace("seed: 1", "signal: pion\nlabels: {energy: E}\ntune: {fisher: {}}")
    wrong = text.replace("  pion: species == 1", "  pion: 3").replace("type: fisher}", "type: fishr}")
    wrong = wrong.replace("[energy, light]", "[energy, 5]").replace("[0.9]", "[0.9, 90, 95]")
    told = [line.split(": ")[1] for line in said(folder, wrong).splitlines() if line.startswith("c.yaml:")]
    assert told == [
        "classes.pion", "features[1]", "models.fisher", "evaluate.working_points[1]", "evaluate.working_points[2]",
    ]  # fmt: skip


def test_unknown_branches_are_told_under_a_misspelt_key_and_by_the_first_file_of_each_class(folder: Path) -> None:
    write_tree(folder / "pions.root", {"energy": np.ones(3), "run": np.ones(3, "i4"), "species": np.ones(3, "i4")})
    text = CONFIG.replace("features:", "featurs:").replace("[energy, light]", "[enrgy, light]")
    message = said(folder, text.replace("pion: species == 1", "pion: {files: pions.root}"))
    assert "10:1: featurs: unknown key; did you mean 'features'" in message
    assert "10:11: features[0]: unknown branch 'enrgy'" in message
    assert "10:18: features[1]: unknown branch 'light'" in message
    assert "pions.root" in message


def test_a_missing_file_hides_no_other_mistake_and_a_right_configuration_opens_none(folder: Path) -> None:
    gone = CONFIG.replace("a.root", "gone.root")
    assert "split.test" in said(folder, gone.replace("0.25", '"0.3"'))
    (folder / "c.yaml").write_text(gone)
    assert load_config(folder / "c.yaml").config.data.files == "gone.root"


def test_a_parameter_that_xgboost_lacks_is_told_with_the_other_mistakes(folder: Path) -> None:
    message = said(folder, CONFIG.replace("type: fisher", "type: bdt, gama: 1, etta: 2").replace("[0.9]", "[90]"))
    assert "13:23: models.fisher.gama: xgboost's trees have no parameter 'gama': did you mean 'gamma'" in message
    assert "models.fisher.etta: xgboost's trees have no parameter 'etta'" in message
    assert "evaluate.working_points[0]: must be less than 1" in message


def test_branches_that_the_files_of_two_classes_lack_are_told_together(folder: Path) -> None:
    for name, branch in (("one", "energy"), ("two", "light")):
        write_tree(folder / f"{name}.root", {branch: np.ones(3), "run": np.ones(3, "i4")})
    text = CONFIG.replace("species == 0", "{files: one.root}").replace("species == 1", "{files: two.root}")
    (folder / "c.yaml").write_text(text.replace("  files: a.root\n", "  event_id: [rn]\n"))
    with pytest.raises(ConfigError) as caught:
        load(compile_recipe(load_config(folder / "c.yaml")), Watcher())
    keys = [m.key for m in caught.value.mistakes]
    assert keys == ["data.event_id[0]", "selection.window", "features[0]", "features[1]", "models.hand.cut"]


@pytest.mark.parametrize("of_target", [False, True], ids=["classes", "target"])
def test_a_model_without_a_type_is_told_every_type_that_there_is(folder: Path, of_target: bool) -> None:
    text = CONFIG.replace("fisher: {type: fisher}", "mine: {seed: 3}")
    if of_target:
        lines = [f"{line}\n" for line in text.splitlines() if not line.startswith("evaluate")]
        text = "".join(lines).replace("classes:\n  electron: species == 0\n  pion: species == 1\n", "target: energy\n")
        text = text.replace('  hand: {type: expression, cut: "energy > 0.5"}\n', "")
    found = re.search(r"models\.mine: missing the key 'type' \((.*)\)", said(folder, text))
    assert found is not None
    known = {row.type for row in MODEL_TYPES.values() if of_target == issubclass(row.section, Predicting)}
    assert set(re.split(", | or ", found[1])) == known | ({"score"} if of_target else set())
