"""Networks that differ in their parameters, trained together where their shapes allow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone

from pidlab.errors import ModelError
from pidlab.models.base import ValidationSet
from pidlab.models.mlp.batches import Member, ValidationTensors, as_table
from pidlab.models.mlp.engine import Trained, Trainer, TrainingPlan, diverged, quiet_torch
from pidlab.models.mlp.estimator import MLP
from pidlab.models.mlp.layers import Architecture
from pidlab.models.mlp.presets import architecture_for, check, members_for, plan_for

Judge = Callable[[int, int, Mapping[int, float]], Collection[int]]
"""Called after each epoch as `judge(done, total, {variant: validation AUC})` for those that still train; says which
variants are to stop."""


@dataclass(frozen=True, slots=True)
class _Variant:
    """One network to train: its number, the untrained model, its members, and how they are trained."""

    number: int
    model: MLP
    members: tuple[Member, ...]
    architecture: Architecture
    plan: TrainingPlan

    @property
    def shape(self) -> tuple[Architecture, TrainingPlan]:
        """What networks must have in common to train as members of one pass.

        Learning rates are a member's own, and so are weight decays, but not adamw's, which is decoupled.
        """
        decay = self.plan.weight_decay if self.plan.optimizer == "adamw" else 0.0
        return self.architecture, replace(self.plan, learning_rate=0.0, weight_decay=decay)


def fit_variants(
    template: MLP,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    variants: Sequence[Mapping[str, Any]],
    validation: ValidationSet,
    judge: Judge | None = None,
) -> list[MLP | ModelError]:
    """One model a variant (parameters that replace the template's), as its own `fit` gives it but for rounding.

    Where the learning rates differ, the one-kernel Adam gives way to single operations, which round otherwise. A
    variant that diverges comes as the error that `fit` would have raised; the others go on.

    Args:
        template: the parameters of all.
        X: (n, d) features, scaled and without missing values.
        y: (n,) classes.
        sample_weight: (n,), not negative; None for 1.
        variants: what each has of its own.
        validation: evaluated after each epoch, for all.
        judge: stops variants early; they come as they are then.

    Raises:
        ModelError: a parameter makes no sense, or the data do not.
        ValueError: scikit-learn's, for X, y or weights that are not what they should be.
    """
    data = template._checked(X, y, sample_weight)
    if not data.weight.sum() > 0:
        raise ModelError("the training weights do not sum to more than 0")
    validation = template._validation(data, validation)
    device = validation.x.device
    table = as_table(*(torch.from_numpy(np.array(a)).to(device) for a in (data.x, data.label, data.weight)))
    groups: dict[tuple[Architecture, TrainingPlan], list[_Variant]] = {}
    noises: dict[tuple[Any, ...], float] = {}  # what else differs does not change them
    for number, own in enumerate(variants):
        model: MLP = clone(template).set_params(**own)
        check(model.get_params())
        key = (model.preset, int(model.seed), model.swap_noise, model.epochs)
        if key not in noises:
            [noises[key]] = model._swap_noise(table, model._members(data, None, validation, 1), data)
        variant = _variant(number, model, data, validation, noises[key])
        groups.setdefault(variant.shape, []).append(variant)
    found: dict[int, MLP | ModelError] = {}
    for group in groups.values():
        for variant, trained in zip(group, _train(table, group, judge), strict=True):
            lost = next((t for t in trained if t.diverged), None)
            if lost is None:
                variant.model._accept(template, data.classes, trained, variant.plan.swap_noise)
                found[variant.number] = variant.model
            else:
                epoch = 1 + len(lost.history.get("loss", []))
                found[variant.number] = ModelError(diverged(epoch, variant.plan.learning_rate))
    return [found[number] for number in range(len(variants))]


def _variant(number: int, model: MLP, data: Any, validation: ValidationTensors, noise: float) -> _Variant:
    parameters, (n, d) = model.get_params(), data.x.shape
    plan = plan_for(parameters, n, d, noise)
    members = model._members(data, None, validation, members_for(parameters, n, d, noise))
    own = tuple(replace(m, learning_rate=plan.learning_rate, weight_decay=plan.weight_decay) for m in members)
    return _Variant(number, model, own, architecture_for(parameters, n, d, len(data.classes), noise), plan)


def _train(table: torch.Tensor, group: Sequence[_Variant], judge: Judge | None) -> list[list[Trained]]:
    """The members of each variant of one shape after training."""
    owner = np.repeat(np.arange(len(group)), [len(v.members) for v in group])

    def stops(done: int, total: int, auc: NDArray[np.float64]) -> NDArray[np.bool_]:
        if judge is None:
            return np.zeros(len(owner), bool)
        training = {i: auc[owner == i] for i in range(len(group)) if np.isfinite(auc[owner == i]).any()}
        told = {group[i].number: float(np.nanmean(values)) for i, values in training.items()}
        stopped = judge(done, total, told)
        return np.isin(owner, [i for i, v in enumerate(group) if v.number in stopped])

    members = [m for v in group for m in v.members]
    with quiet_torch(max(group[0].architecture.hidden, default=0)):
        trained = Trainer(table, members, group[0].architecture, group[0].plan).run(judge=stops)
    return [[t for t, i in zip(trained, owner, strict=True) if i == number] for number in range(len(group))]
