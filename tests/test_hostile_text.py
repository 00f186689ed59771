"""No text of a user's runs: the known escapes, at every place that takes text, are refused at once."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import write_tree
from pidlab.config.load import check_config, load_config
from pidlab.errors import PidlabError
from pidlab.preprocess.events import load
from pidlab.preprocess.recipe import compile_recipe
from pidlab.progress import Watcher

PLANTED = "().__class__.__base__.__subclasses__()[0].__init__.__globals__['sys'].exit(3)"
ESCAPES = {
    "subclasses": PLANTED,
    "import": "__import__('os').system('touch planted')",
    "open": "open('planted', 'w')",
    "lambda": "(lambda: 1)()",
    "comprehension": "[x for x in (1,)]",
    "walrus": "(a := 1)",
    "f-string": "f'{a}'",
    "pandas": "@pd.io.common.os.system('touch planted')",
    "attribute": "a.__class__.__mro__",
    "brackets": "(" * 50_000 + "a" + ")" * 50_000,
    "minus": "-" * 9_000 + "a",
    "newline": "a\nimport os",
    "nul": "a\x00",
    "backslash": "a \\\n + 1",
    "root": 'gSystem->Exec("touch planted")',
}
BASE: dict[str, Any] = {
    "data": {"files": "a.root", "weight": "1", "aliases": {"twice": "2 * a"}},
    "classes": {"s": "y == 1", "b": "y == 0"},
    "selection": {"loose": "a > -10"},
    "features": ["a", {"name": "b", "expression": "b"}],
    "spectators": ["p"],
    "split": {"test": "p > 0.5"},
    "models": {"hand": {"type": "expression", "cut": "a > 0"}, "given": {"type": "score", "expression": "a"}},
    "evaluate": {"maps": [{"x": "p", "bins": [0, 1]}]},
}
Place = Callable[[dict[str, Any], str], None]
PLACES: dict[str, Place] = {
    "data.files": lambda c, t: c["data"].update(files=t),
    "data.tree": lambda c, t: c["data"].update(tree=t),
    "data.per": lambda c, t: c["data"].update(per=t),
    "data.event_id": lambda c, t: c["data"].update(event_id=[t]),
    "data.weight": lambda c, t: c["data"].update(weight=t),
    "data.aliases": lambda c, t: (c["data"].update(aliases={"twice": t}), c["features"].append("twice"))[0],
    "classes": lambda c, t: c["classes"].update(s=t),
    "classes.cut": lambda c, t: c["classes"].update(s={"cut": t}),
    "classes.weight": lambda c, t: c["classes"].update(s={"cut": "y == 1", "weight": t}),
    "signal": lambda c, t: c.update(signal=t),
    "selection": lambda c, t: c["selection"].update(loose=t),
    "features": lambda c, t: c["features"].append(t),
    "features.expression": lambda c, t: c["features"].append({"name": "n", "expression": t}),
    "spectators": lambda c, t: c["spectators"].append(t),
    "split.test": lambda c, t: c["split"].update(test=t),
    "models.cut": lambda c, t: c["models"]["hand"].update(cut=t),
    "models.expression": lambda c, t: c["models"]["given"].update(expression=t),
    "models.type": lambda c, t: c["models"]["hand"].update(type=t),
    "models name": lambda c, t: c["models"].update({t: {"type": "fisher"}}),
    "maps.x": lambda c, t: c["evaluate"]["maps"][0].update(x=t),
    "scaling": lambda c, t: c.update(scaling=t),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(1)
    write_tree(
        folder / "a.root",
        {"a": rng.normal(size=50), "b": rng.normal(size=50), "p": rng.random(50), "y": np.arange(50) % 2},
    )
    return folder


def read(folder: Path, content: dict[str, Any]) -> None:
    load(compile_recipe(check_config(content, {}, folder / "c.yaml")), Watcher())


def test_the_configuration_without_an_escape_is_read(folder: Path) -> None:
    read(folder, BASE)


@pytest.mark.parametrize("place", PLACES)
def test_escapes_are_refused_within_a_second(place: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for escape in ESCAPES.values():
        content = deepcopy(BASE)
        PLACES[place](content, escape)
        start = time.process_time()
        with pytest.raises(PidlabError):
            read(folder, content)
        assert time.process_time() - start < 5  # it must not hang; a busy machine may be slow
    assert {p.name for p in folder.iterdir()} == {"a.root"}


def test_a_tower_of_powers_does_not_hang(folder: Path) -> None:
    content = deepcopy(BASE)
    content["selection"]["loose"] = "9^9^9 > a && (9**9)**9 > a"
    start = time.process_time()
    read(folder, content)
    assert time.process_time() - start < 5  # it must not hang; a busy machine may be slow


@pytest.mark.parametrize("escape", ["!!python/object/apply:os.system ['touch planted']", "&a [*a]", "{? [a] : b}"])
def test_yaml_builds_nothing_but_plain_values(escape: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"data: {escape}\n")
    with pytest.raises(PidlabError):
        load_config(tmp_path / "c.yaml")
    assert {p.name for p in tmp_path.iterdir()} == {"c.yaml"}


@pytest.mark.slow
def test_no_module_calls_what_could_run_text() -> None:
    forbidden = {"eval", "exec", "compile", "__import__"}
    attributes = {"eval", "query", "evaluate_expression", "loads_pickle"}
    package = Path(__file__).parents[1] / "src" / "pidlab"
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in forbidden, f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in attributes, f"{path}:{node.lineno}"
                keywords = {k.arg for k in node.keywords}
                assert node.func.attr not in ("arrays", "iterate") or not keywords & {"cut", "aliases", "expressions"}
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {a.name for a in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "joblib", "numexpr", "dill", "marshal"}, f"{path}:{node.lineno}"
                assert "pandas" not in names or path.name in (
                    "result.py",
                    "given.py",
                    "missing.py",
                )  # tables of numbers
