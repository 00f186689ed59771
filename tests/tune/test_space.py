"""The grammar of what may be tried, and the configuration that is written: nothing else of it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tune_orders import CONTENT

from pidlab.config.edit import edited, flow
from pidlab.config.load import check_config, yaml_value
from pidlab.errors import UsageError
from pidlab.models.registry import MODEL_TYPES
from pidlab.tune.objectives import Objective
from pidlab.tune.space import Dimension, described, dimension, rounded, search_space, with_parameters
from pidlab.tune.trials import rung

LOADED = check_config(CONTENT, {}, Path("analysis.yaml"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("log:0.005:0.3", ("log", 0.005, 0.3)),
        ("float:0:1", ("float", 0, 1)),
        ("int:3:8", ("int", 3, 8)),
        ("logint:16:512", ("logint", 16, 512)),
        ("log:1e-7:1e-2", ("log", 1e-7, 1e-2)),
        ("tanh|relu", ("tanh", "relu")),
        ("[20,20] | [64, 64]", ([20, 20], [64, 64])),
        ("{a: x|y}|{a: 2}", ({"a": "x|y"}, {"a": 2})),
        ("0.1", (0.1,)),
        ("true|null", (True, None)),
    ],
)
def test_a_spec_is_a_range_or_a_choice(text: str, found: tuple[Any, ...]) -> None:
    d = dimension(text)
    assert (d.choices if d.kind == "choice" else (d.kind, d.low, d.high)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lgo:1:2", "did you mean 'log'"),
        ("log:0:1", "0 has no logarithm"),
        ("int:1:2.5", "int:LOW:HIGH, with two whole numbers"),
        ("float:2", "float:LOW:HIGH, with two numbers"),
        ("float:3:3", "from 3 to 3 does not rise"),
        ("float:a:b", "with two numbers"),
    ],
)
def test_what_is_no_spec_is_explained(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        dimension(text)


class Middle:
    """A trial that takes the middle of every range and the last of every choice."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return (low * high) ** 0.5 if log else (low + high) / 2

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return (low + high) // 2

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[-1]


def test_suggestions_are_plain_values_of_the_configuration() -> None:
    taken = {text: dimension(text).suggest("x", Middle()) for text in ("log:0.01:0.3", "int:3:8", "[8]|[8,9]", "7")}
    assert taken == {"log:0.01:0.3": 0.05477, "int:3:8": 5, "[8]|[8,9]": [8, 9], "7": 7}


@pytest.mark.parametrize("model", ["bdt", "mlp", "line"])
def test_default_searches_are_allowed_by_the_schema(model: str) -> None:
    space = search_space(LOADED, model, ())
    assert described(space) == MODEL_TYPES[LOADED.config.models[model].type].search
    found = with_parameters(LOADED, model, {k: d.suggest(k, Middle()) for k, d in space.items()})
    assert list(found.config.models) == [model]


def test_words_replace_defaults_add_to_them_and_take_them_away() -> None:
    space = search_space(LOADED, "bdt", ("max_depth=keep", "lambda=1.0|2.0", "gamma=float:0:1"))
    assert "max_depth" not in space
    assert space["lambda"].choices == (1.0, 2.0)
    assert space["gamma"] == Dimension("float:0:1", "float", 0, 1)


def test_a_key_inside_a_parameter_is_reached_by_a_dot() -> None:
    content = CONTENT | {"models": {"cuts": {"type": "cuts", "search": "archive", "sides": {"b": "min"}}}}
    loaded = check_config(content, {}, Path("analysis.yaml"))
    space = search_space(loaded, "cuts", ("search=keep", "sides.a=auto|max"))
    spec = with_parameters(loaded, "cuts", {"sides.a": space["sides.a"].choices[1]}).config.models["cuts"]
    assert spec.sides == {"a": "max", "b": "min"}  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=r"sides.z=min\|max: is none of the features"):
        search_space(loaded, "cuts", ("sides.z=min|max",))
    with pytest.raises(UsageError, match="search holds no keys of its own"):
        search_space(loaded, "cuts", ("search.z=min|max",))
    assert content["models"]["cuts"]["sides"] == {"b": "min"}


@given(st.floats(1e-300, 1e300))
def test_numbers_have_four_digits(value: float) -> None:
    assert rounded(value) == pytest.approx(value, rel=6e-4)
    assert rounded(rounded(value)) == rounded(value)
    assert yaml_value(flow(rounded(value))) == rounded(value)


@given(st.integers(1, 2000))
def test_every_training_is_looked_at_at_the_same_shares_of_its_length(total: int) -> None:
    rungs = [rung(done, total) for done in range(1, total + 1)]
    seen = [r for r in rungs if r is not None]
    assert seen == sorted(set(seen))
    assert all(0 < r < 20 for r in seen)
    assert rungs[-1] is None
    if total >= 20:
        assert seen == list(range(1, 20))


@pytest.mark.parametrize(("text", "target"), [("auc", None), ("misid:eff90", 0.9), ("misid:eff99_5", 0.995)])
def test_objectives_read_as_they_are_written(text: str, target: float | None) -> None:
    assert Objective.of(text) == Objective(target)
    assert str(Objective.of(text)) == text


@pytest.mark.parametrize("text", ["AUC", "misid", "misid:eff0", "misid:eff100", "misid:90"])
def test_other_objectives_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is none of auc, or misid:eff90"):
        Objective.of(text)


WRITTEN = """\
# head
data:
  files: a.root   # where
  friends:
    - b.root
    - c.root
models:
  bdt: {type: bdt, max_depth: 3}  # trees
  mlp:
    type: mlp   # net
    hidden:
      - 20
      - 20   # second
    # after
    dropout:
  fisher: {type: fisher}
"""


def test_values_are_replaced_and_all_else_stays() -> None:
    text = edited(WRITTEN, {("models", "bdt", "max_depth"): 7, ("models", "bdt", "lambda"): 1e-7})
    assert text == WRITTEN.replace("max_depth: 3}", "max_depth: 7, lambda: 1e-07}")
    text = edited(WRITTEN, {("models", "mlp", "hidden"): [3, 4], ("models", "mlp", "activation"): "tanh"})
    assert yaml_value(text)["models"]["mlp"] == {
        "type": "mlp", "hidden": [3, 4], "dropout": None, "activation": "tanh",
    }  # fmt: skip
    assert {"# head", "  files: a.root   # where", "    type: mlp   # net", "    # after"} <= set(text.splitlines())
    text = edited(WRITTEN, {("models", "mlp", "dropout"): 0.1, ("data", "friends", 1): "/x y"})
    assert text == WRITTEN.replace("dropout:", "dropout: 0.1").replace("- c.root", '- "/x y"')


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
                    lambda inner: st.lists(inner, max_size=3), max_leaves=5))  # fmt: skip
def test_any_plain_value_comes_back_as_it_was_put_in(value: Any) -> None:
    for path in (("models", "bdt", "x"), ("models", "mlp", "type"), ("models", "mlp", "new"), ("data", "files")):
        content = yaml_value(edited(WRITTEN, {path: value}))
        expected = yaml_value(WRITTEN)
        section = expected
        for part in path[:-1]:
            section = section[part]
        section[path[-1]] = value
        assert content == expected


def test_a_place_that_takes_no_key_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data.files.x cannot be put into the configuration"):
        edited(WRITTEN, {("data", "files", "x"): 1})
