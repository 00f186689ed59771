"""The search space of a study: the values that each parameter of a model may take, and what a trial takes of them."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pidlab.config.load import LoadedConfig, check_config, yaml_value
from pidlab.errors import ConfigError, UsageError, nearest
from pidlab.models.registry import MODEL_TYPES, Resources, check_models

if TYPE_CHECKING:
    import optuna

_RANGES = ("log", "float", "int", "logint")
_DIGITS = 4  # of a suggested number; more would only be noise, and hard to read in a configuration


@dataclass(frozen=True, slots=True)
class Dimension:
    """The values that one parameter may take.

    Attributes:
        text: the values as the user writes them.
        kind: log, float, int, logint or choice.
        low, high: the ends of a range.
        choices: the values of a choice; a single value is not searched.
    """

    text: str
    kind: str
    low: float = math.nan
    high: float = math.nan
    choices: tuple[Any, ...] = ()

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that stand for all when the space is checked: the ends of a range, or every choice."""
        if self.kind == "choice":
            return self.choices
        return (int(self.low), int(self.high)) if "int" in self.kind else (self.low, self.high)

    def suggest(self, name: str, trial: optuna.Trial) -> Any:
        """Returns the value that a trial takes."""
        if self.kind == "choice":
            if len(self.choices) == 1:
                return self.choices[0]
            return json.loads(trial.suggest_categorical(name, [json.dumps(c) for c in self.choices]))
        is_log = self.kind.startswith("log")
        if "int" in self.kind:
            return trial.suggest_int(name, int(self.low), int(self.high), log=is_log)
        return rounded(trial.suggest_float(name, self.low, self.high, log=is_log))


def rounded(value: float) -> float:
    """Returns `value` rounded to four significant digits."""
    return float(f"{value:.{_DIGITS}g}")


def dimension(text: str) -> Dimension:
    """Parses the text of a range or of choices.

    Raises:
        UsageError: a range has no two rising numbers, or a logarithmic range begins at a number that is not positive.
    """
    kind, *ends = text.split(":")
    if kind not in _RANGES:
        if ends and "|" not in text and kind.isalpha():
            raise UsageError(f"{kind!r} is no range; {nearest(kind, _RANGES)}")
        return Dimension(text, "choice", choices=tuple(yaml_value(part) for part in _split(text)))
    numbers = [yaml_value(end) for end in ends]
    whole = "int" in kind
    types = (int,) if whole else (int, float)
    if len(numbers) != 2 or not all(isinstance(n, types) and not isinstance(n, bool) for n in numbers):
        what = "whole numbers" if whole else "numbers"
        raise UsageError(f"a range is {kind}:LOW:HIGH, with two {what}")
    low, high = numbers
    if not low < high:
        raise UsageError(f"the range from {low} to {high} does not rise")
    if kind.startswith("log") and low <= 0:
        raise UsageError(f"{low} has no logarithm; begin above 0")
    return Dimension(text, kind, low, high)


def _split(text: str) -> list[str]:
    """Returns the parts between those bars that are outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def search_space(
    loaded: LoadedConfig, model: str, asked: Sequence[str], allow_import: Collection[str] = ()
) -> dict[str, Dimension]:
    """Returns the values of each parameter: of the model's type, of the section `tune`, then of `asked` (KEY=SPEC).

    Later ones replace earlier ones. `allow_import` names packages that models of type sklearn may import besides the
    usual ones.

    Raises:
        UsageError: the model has no such parameter, or the parameter does not take such a value.
    """
    kind = loaded.config.models[model].kind
    texts = [(key, text, f"{key}={text}") for key, text in MODEL_TYPES[kind].search.items()]
    for key, values in ((loaded.config.tune or {}).get(model) or {}).items():
        text = "|".join(json.dumps(v) for v in values) if isinstance(values, list) else str(values)
        texts.append((key, text, f"tune.{model}.{key}"))
    for word in asked:
        key, equals, text = word.partition("=")
        if not (key and equals and text):
            raise UsageError(f"--search {word}: say KEY=SPEC, such as learning_rate=log:0.005:0.3")
        texts.append((key, text, f"--search {word}"))
    space: dict[str, Dimension] = {}
    for key, text, place in texts:
        space.pop(key, None)
        if text != "keep":
            space[key] = _checked(loaded, model, (key, text, place), allow_import)
    if not any(len(d.choices) != 1 for d in space.values()):
        raise UsageError(
            f"models.{model}: there is nothing to search in a {kind}; name parameters by --search KEY=SPEC"
        )
    return space


def _checked(loaded: LoadedConfig, model: str, asked: tuple[str, str, str], allow_import: Collection[str]) -> Dimension:
    key, text, place = asked
    try:
        found = dimension(text)
        for value in found.examples:
            check_models(with_parameters(loaded, model, {key: value}), Resources(allow_import=tuple(allow_import)))
    except ConfigError as error:
        raise UsageError(f"{place}: {'; '.join(m.message for m in error.mistakes)}") from error
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error
    return found


def with_parameters(loaded: LoadedConfig, model: str, parameters: Mapping[str, Any]) -> LoadedConfig:
    """Returns the configuration with one model only, and with other parameters of that model.

    The parameter `sides.x` is the key x of the parameter `sides`.

    Raises:
        ConfigError: a parameter is unknown, or does not take the value.
    """
    content = {key: value for key, value in copy.deepcopy(dict(loaded.content)).items() if key != "tune"}
    section = content["models"][model]
    content["models"] = {model: section}
    for key, value in parameters.items():
        if key == "type":
            raise UsageError("the type of a model cannot be searched; tune another model")
        outer, dot, inner = key.partition(".")
        if dot:
            within = section.get(outer) or {}
            if not isinstance(within, dict):
                raise UsageError(f"{outer} holds no keys of its own")
            section[outer] = {**within, inner: value}
        else:
            section[key] = value
    return check_config(content, loaded.places, loaded.folder / f"{loaded.name}.yaml")


def described(space: Mapping[str, Dimension]) -> dict[str, str]:
    """Returns the space as text, by which studies are distinguished."""
    return {key: each.text for key, each in sorted(space.items())}
