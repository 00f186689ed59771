"""Names that follow from a configuration: those of working points and of the branches of friend trees."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pidlab.config.schema import (
    Config,
    CutsModel,
    ExpressionModel,
    Flat,
    Map,
    ModelSection,
    OnnxModel,
    ScoreModel,
    TmvaModel,
)
from pidlab.expressions.literals import numbered

KeyPath = tuple[str | int, ...]

HAND = "hand"
"""The name of the working point of a cut that is given as an expression."""

BEST = "best"
"""The name of the working point of cuts where their figure of merit is largest."""

SWEET_SPOT, YOUDEN = "sweet_spot", "youden"
"""The names of the points of a ROC curve that are nearest to (0, 1), and farthest above the diagonal."""


def dotted(path: KeyPath) -> str:
    """Returns `models.mlp.hidden[0]` for ("models", "mlp", "hidden", 0)."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def point_name(target: float) -> str:
    """Returns the name of a signal efficiency: eff90 for 0.9, eff99_5 for 0.995."""
    return "eff" + f"{100 * target:.10g}".replace(".", "_")


def suffixes(asked: Sequence[Flat]) -> list[str]:
    """Returns what each entry adds to the names of its working points.

    A single entry adds "flat". Several add "flat_p", "flat_p_th" and so on, from the last dotted part of each
    spectator with other characters replaced by underscores; equal suffixes are numbered.
    """
    if len(asked) == 1:
        return ["flat"]
    found: list[str] = []
    for each in asked:
        words = [re.sub(r"[^A-Za-z0-9]+", "_", name.rpartition(".")[2]).strip("_") for name in axes_of(each)]
        found.append(numbered("_".join(["flat", *filter(None, words)]), found))
    return found


def axes_of(asked: Map) -> tuple[str, ...]:
    """Returns the one or two spectators of a map or of a flat working point."""
    return (asked.x,) if asked.y is None else (asked.x, asked.y)


@dataclass(frozen=True, slots=True)
class FriendBranch:
    """A branch that friend trees will have.

    Attributes:
        key: the part of the configuration that asks for it.
        meaning: what it holds, as the subject of a sentence.
    """

    name: str
    key: KeyPath
    meaning: str


def friend_branches_of(config: Config) -> Iterator[FriendBranch]:
    """Yields the branches of the friend trees of a configuration.

    If only the file of a model tells whether it has a score for each class, the branches of both cases are included.
    """
    yield FriendBranch("pid_selected", (), "what every friend tree says of the selection")
    yield FriendBranch("pid_split", (), "what every friend tree of a run says of the split")
    for name, model in config.models.items():
        yield from _score_branches(config, name, model)
        for point in _points_of(config, model):
            meaning = f"the decision of the model {name!r} at the working point {point!r}"
            yield FriendBranch(f"pid_{name}_{point}", ("models", name), meaning)
        for output in model.output_names([c for c in config.classes if c != config.signal_class]):
            yield FriendBranch(f"pid_{name}_{output}", ("models", name), f"{output!r} of the model {name!r}")
    if config.reweight is not None:
        asked = config.reweight
        chosen = [name for name in asked.classes or config.classes if name != asked.to]
        for name in [f"pid_weight_{each}" for each in chosen] if isinstance(asked.to, str) else ["pid_weight"]:
            yield FriendBranch(name, ("reweight",), f"{name!r}, the weight of reweight")
    for i, branch in enumerate(dict.fromkeys(config.data.event_id)):
        yield FriendBranch(branch, ("data", "event_id", i), f"the branch {branch!r} of data.event_id")
    if config.data.per is not None:
        from pidlab.read.candidates import counter_name

        counter = counter_name(config.data.per if isinstance(config.data.per, str) else "pid")
        yield FriendBranch(counter, ("data", "per"), f"the number of candidates, {counter!r}")


def _score_branches(config: Config, name: str, model: ModelSection) -> Iterator[FriendBranch]:
    if isinstance(model, CutsModel) and not model.nested:
        return
    one_sided = model.one_sided or isinstance(model, ExpressionModel | ScoreModel | TmvaModel)
    for_signal = len(config.classes) <= 2 or one_sided or isinstance(model, OnnxModel)
    for_each = len(config.classes) > 2 and not one_sided
    if for_signal:
        yield FriendBranch(f"pid_{name}", ("models", name), f"the score of the model {name!r}")
    if for_each:
        for particle in config.classes:
            meaning = f"the score of the model {name!r} for the class {particle!r}"
            yield FriendBranch(f"pid_{name}_{particle}", ("classes", particle), meaning)


def _points_of(config: Config, model: ModelSection) -> list[str]:
    """Returns the names of the working points of a model, each once."""
    if isinstance(model, ExpressionModel):
        return [HAND]
    targets = [point_name(target) for target in config.evaluate.working_points]
    if isinstance(model, CutsModel) and not model.nested:
        return list(dict.fromkeys(targets))
    flat = [f"{name}_{suffix}" for suffix in suffixes(config.evaluate.flat) for name in targets]
    best = [BEST] if isinstance(model, CutsModel) and model.figure_of_merit is not None else []
    return list(dict.fromkeys([*targets, *best, *config.evaluate.optimal_points, *model.point_names(), *flat]))


def collisions(config: Config) -> Iterator[tuple[FriendBranch, FriendBranch]]:
    """Yields pairs of branches of friend trees that would have the same name."""
    first: dict[str, FriendBranch] = {}
    for branch in friend_branches_of(config):
        if branch.name in first:
            yield first[branch.name], branch
        else:
            first[branch.name] = branch
