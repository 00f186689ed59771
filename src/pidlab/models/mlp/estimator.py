"""MLP: a fully connected network as a scikit-learn classifier; ensembles, folds and variants train in one pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data
from torch import Tensor

from pidlab.errors import ModelError
from pidlab.models.base import Classifier, Progress, TrainingRows, ValidationSet, classes_and_labels
from pidlab.models.matrix import LARGEST_TABLE, LazyMatrix, slices
from pidlab.models.missing import MissingValues, with_names
from pidlab.models.mlp.batches import Member, ValidationTensors
from pidlab.models.mlp.devices import mean_history, member_seed, train_members
from pidlab.models.mlp.engine import Trained, TrainingPlan, diverged, quiet_torch
from pidlab.models.mlp.health import N_EVENTS, Health, health_of
from pidlab.models.mlp.layers import Architecture
from pidlab.models.mlp.losses.classes import probabilities
from pidlab.models.mlp.network import NetworkEstimator, as_layers, filled_inputs, forward
from pidlab.models.mlp.presets import check, device_named, n_outputs, scoring_device, setup_for, swap_noise_for
from pidlab.models.mlp.streamed import StreamedTable
from pidlab.models.mlp.targets import SCORED_ON_GPU
from pidlab.sample import FloatArray, IntArray

Fold = tuple[IntArray, IntArray | None]
Pruner = Callable[[int, int, Mapping[int, float]], Collection[int]]
"""Called after each epoch as `pruner(done, total, {variant: validation AUC})` with the variants that still train;
returns those that are to stop."""


@dataclass(frozen=True, slots=True)
class _Training:
    """The training of one model: its members, and what they must have in common with those of another to train in
    one pass."""

    model: MLP
    members: Sequence[Member]
    architecture: Architecture
    plan: TrainingPlan

    def with_own_rates(self) -> _Training:
        """Returns the training with learning rate and weight decay given to each member instead of the plan.

        Variants that differ in nothing else then share a plan. The weight decay of adamw is decoupled from the
        gradient and stays in the plan.
        """
        plan = self.plan
        members = [replace(m, learning_rate=plan.learning_rate, weight_decay=plan.weight_decay) for m in self.members]
        decay = plan.weight_decay if plan.optimizer == "adamw" else 0.0
        return replace(self, members=members, plan=replace(plan, learning_rate=0.0, weight_decay=decay))


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class MLP(NetworkEstimator, Classifier):
    """A fully connected network with one sigmoid output for two classes, and softmax over k outputs for more.

    Features must be scaled. NaN is a missing value: it is replaced by the feature's median in training, and a column
    that tells what is missing is added. float64 input trains in double precision, all other input in
    single precision. Training uses mini-batches: a weight of two is the same as two copies of an event, and a weight of
    zero the same as no event, only while all events fit into one batch (and in expectation beyond).

    The preset decides every parameter that is None. `workshop`: hidden [20, 20], tanh, batch 128, constant 1e-4, 50
    epochs. `default`: hidden [64, 64], SiLU, one-cycle to 1e-2, batch 512, 10 epochs, and early stopping if there is a
    validation sample. With fewer than 16 thousand events its batches are smaller (down to 64), and with fewer than 205
    thousand it takes 20, 50, 100 or 200 epochs, so that there are at least 4000 steps if 200 epochs give them. Events
    that do not fill the last batch of an epoch are left out, others in each epoch.

    Args:
        preset: "default" or "workshop".
        hidden: widths of the hidden layers; with an empty list the model is a logistic regression.
        activation: sigmoid, tanh, relu, leaky_relu (slope 0.01), elu, maxout (two pieces), silu, gelu.
        loss: cross_entropy, squared, absolute, focal (γ = 2).
        optimizer: sgd, rmsprop, adam, adamw, nadam.
        momentum: the momentum of sgd.
        learning_rate: the largest of the schedule.
        schedule: constant, one_cycle, cosine, exponential, step; over all epochs.
        batch_size: events a step; a smaller sample is one batch.
        epochs: largest number of epochs.
        patience: epochs without a better validation loss before training stops; the best weights are kept.
            None: a third of the epochs in the default preset, no early stopping in `workshop`.
        dropout: share of hidden units that are left out in each step. None: in the default preset 0.2 for samples of
            1000 events to 1500 a feature, which also halves its learning rate; otherwise 0.
        swap_noise: share of the feature values that are replaced by another event's in each step, the corruption of
            VIME (J. Yoon et al., NeurIPS 2020). None: in the default preset, for samples of 1000 events to 700 a
            feature with a validation sample and `epochs` None, 0.15 or 0, whichever gives one network the lower
            validation loss; otherwise 0. Above 0 the default preset has other values for samples of 1000 events to 1500
            a feature: hidden [32, 32], dropout 0.1, 8 members, twice as many epochs.
        batch_norm: normalise before each activation.
        weight_decay: L2 penalty added to the gradient; decoupled in adamw.
        members: networks in the ensemble; probabilities are their mean. None: in the default preset 4 for samples of
            1000 events to 1500 a feature; otherwise 1.
        seed: the seed of all random numbers; not negative.
        device: auto (CUDA if there is a GPU), cpu, cuda. A network that was trained on a GPU is scored on the CPU where
            there is none.

    Attributes:
        classes_: (k,) the classes.
        networks_: one `DenseNetwork` for each member.
        swap_noise_: the swap noise that they were trained with.
        history_: loss and, with validation, validation_loss and validation_auc: one entry an epoch, the mean over the
            members that still train. For more than two classes the AUC is the mean of each class against the rest. Then
            the learning rate of the epoch's last step, and the norms of each layer's weights and of its gradient there:
            weight_norm_1, …, weight_norm_output, gradient_norm_1, ….
        health_: what each member's training says of itself; empty for a model that was loaded, or is one of
            `fit_variants`.
    """

    kind = "mlp"
    file = "mlp.json"
    mark = ("format", "pidlab.mlp.1")
    x_types = (np.float32, np.float64)
    preset: str = "default"
    loss: str = "cross_entropy"
    swap_noise: float | None = None

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: ValidationSet | None = None,
        progress: Progress | None = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Trains on X (n, d), y (n,) and weights (n,).

        Args:
            X: features, scaled; NaN is a missing value.
            y: classes.
            sample_weight: not negative; None for 1.
            validation: evaluated after each epoch, for the history and early stopping.
            progress: called after each epoch.
            checkpoint: a file that is rewritten after each epoch. If it exists, training continues from it, and ends
                with the same bits (on one machine and device) as without the interruption.

        Raises:
            ModelError: a parameter is invalid, training diverges, or the checkpoint is of another training.
            ValueError: scikit-learn refuses X, y or the weights.
        """
        data = self._data(X, y, sample_weight)
        tensors = None if validation is None else self._validation(data, validation)
        self._train([self], data, [(None, tensors)], progress, checkpoint)
        return self

    def fit_folds(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        folds: Sequence[Fold],
        progress: Progress | None = None,
    ) -> list[Self]:
        """Trains one model for each fold together; each is `clone(self).fit(X[train], y[train], weight[train])`.

        Args:
            X: (n, d).
            y: (n,).
            sample_weight: (n,), not negative; None for 1.
            folds: of each fold the rows for training, and those for validation or None.
            progress: called after each epoch of all folds.

        Raises:
            ModelError: a class is missing in a fold, or as in `fit`.
        """
        template: Self = clone(self)
        data = template._data(X, y, sample_weight)
        parts = []
        for number, (rows, held_out) in enumerate(folds):
            if len(np.unique(data.label[rows])) < len(template.classes_):
                raise ModelError(f"fold {number + 1}: a class has no training events; use fewer folds")
            arrays = None if held_out is None else (data.x[held_out], data.label[held_out], data.weight[held_out])
            parts.append((np.asarray(rows), None if arrays is None else template._on_device(*arrays)))
        models = [template._with() for _ in folds]
        template._train(models, data, parts, progress, None)
        return models

    def fit_variants(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        variants: Sequence[Mapping[str, Any]],
        validation: ValidationSet,
        pruner: Pruner | None = None,
    ) -> list[Self | ModelError]:
        """Trains one model for each of `variants`, together if their shapes allow it.

        Each is `clone(self).set_params(**variant).fit(X, y, sample_weight, validation=validation)` but for rounding:
        if learning rates differ, single operations replace the one-kernel Adam. For a variant that diverges the list
        holds the error that `fit` would have raised. X, y, weights and errors are those of `fit`.

        Args:
            X: (n, d).
            y: (n,).
            sample_weight: (n,), not negative; None for 1.
            variants: the parameters in which each model differs from this one.
            validation: evaluated after each epoch for all variants.
            pruner: stops variants early; their models are returned with the weights they have by then.
        """
        template: Self = clone(self)
        data = template._data(X, y, sample_weight)
        table = template._table(data, [None])
        tensors = template._validation(data, validation)
        noises: dict[tuple[Any, ...], float] = {}  # the other parameters do not change it
        trainings = []
        for parameters in variants:
            model = template._with(**parameters)
            check(model.get_params())
            key = (model.preset, int(model.seed), model.swap_noise, model.epochs)
            if key not in noises:
                [noises[key]] = model._swap_noise(table, data, [(None, tensors)])
            trainings.append(model._training(data, None, tensors, noises[key]).with_own_rates())
        found: list[Self | ModelError] = []
        for training, trained in zip(trainings, _trained(table, trainings, pruner=pruner or _prune_none), strict=True):
            lost = next((t for t in trained if t.diverged), None)
            if lost is None:
                found.append(training.model._accept(trained, training.plan.swap_noise))
            else:
                rate = training.members[0].learning_rate
                assert rate is not None  # see `with_own_rates`
                found.append(ModelError(diverged(1 + len(lost.history.get("loss", [])), rate)))
        return found

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) class probabilities of X (n, d), the mean of the members', computed in double precision."""
        return np.asarray(self._reference(self._valid(X)).mean(axis=0))

    def spread(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) standard deviation of the members' probabilities; 0 with one member."""
        return np.asarray(self._reference(self._valid(X)).std(axis=0))

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) float32 probabilities of X (n, d): faster than `predict_proba`, and equal to it within 1e-6.

        Networks with layers up to 256 wide and any activation but gelu are scored by compiled code on the CPU: the
        scores of an event do not depend on the other events, and are the same on every machine. If `device` means a
        GPU, networks with a layer of 128 or more are scored there. If a feature is NaN, the scores are NaN, unless the
        network was trained on missing values, which are then replaced as in training.
        """
        from pidlab.models.mlp.inference import fast_logits, has_fast_path, linked

        networks = self.networks_
        x = np.ascontiguousarray(filled_inputs(np.asarray(X, np.float32), self.missing_, networks[0]))
        widest = max(len(weight) for weight in networks[0].weights)
        on_gpu = widest >= SCORED_ON_GPU and scoring_device(self.device).type == "cuda"
        if on_gpu or not has_fast_path(networks[0]):
            return np.asarray(self._reference(x, torch.float32).mean(axis=0), dtype=np.float32)
        total = linked(fast_logits(networks[0], x))
        for network in networks[1:]:
            total += linked(fast_logits(network, x))
        total /= np.float32(len(networks))
        return total

    def contributions_from(self, X: Any, reference: FloatArray | None = None) -> NDArray[np.float32]:
        """Computes integrated gradients of the log-odds along the lines from a reference to each row of X (n, d).

        The log-odds are those of the mean probability over the members; for more than two classes, those of each class
        against all others. The sum over the last axis is the log-odds within 0.001; see
        `models.mlp.attribution`.

        Args:
            X: features, scaled as in training; NaN is a missing value.
            reference: (d,) features in the same units; None: the median of each feature in training. A missing value
                differs from it by being missing.

        Returns:
            (n, m, d + 1): the contribution of each feature to the log-odds of the second of two classes (m = 1), or to
            those of each of k classes (m = k), and last the log-odds of the reference.
        """
        from pidlab.models.mlp.attribution import feature_contributions, log_odds

        x = self._valid(X).astype(np.float64)
        found = [
            feature_contributions(self.networks_, x, self.missing_, reference, log_odds, column)
            for column in range(n_outputs(len(self.classes_)))
        ]
        return np.stack(found, axis=1).astype(np.float32)

    def _fitted(self) -> dict[str, Any]:
        return {
            "activation": self.networks_[0].activation,
            "classes": self.classes_.tolist(),
            "classes_dtype": self.classes_.dtype.str,
            "features": list(map(str, getattr(self, "feature_names_in_", []))),
            "swap_noise": self.swap_noise_,
            **({} if self.missing_ is None else {"missing": self.missing_.to_json()}),
            "history": self.history_,
        }

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        check(self.get_params())
        self._restore_networks(content, directory)
        n_features = self.networks_[0].n_inputs if self.missing_ is None else len(self.missing_.fill)
        super()._restore({**content, "n_features": n_features}, directory)
        self.classes_ = self.classes_.astype(np.dtype(content["classes_dtype"]))
        self.swap_noise_ = float(content.get("swap_noise", 0.0))
        self.health_: tuple[Health, ...] = ()
        if content["features"]:
            self.feature_names_in_: NDArray[Any] = np.array(content["features"], dtype=object)
        if self.networks_[0].n_outputs != n_outputs(len(self.classes_)):
            raise ValueError("mlp.json and mlp.safetensors are of two models")

    def _data(self, X: Any, y: Any, sample_weight: Any) -> TrainingRows:
        """Returns checked rows, those of weight zero too, and sets the classes and what replaces missing values."""
        check(self.get_params())
        if isinstance(X, LazyMatrix) and not self._missing_in(X):
            x, y, self.n_features_in_ = X, np.asarray(y), X.n_columns
        else:
            table = np.asarray(X) if isinstance(X, LazyMatrix) else with_names(X)
            x, y = validate_data(self, table, y, dtype=self.x_types, order="C", ensure_all_finite="allow-nan")
            check_classification_targets(y)
        classes, label = classes_and_labels(y)
        if len(classes) < 2:
            raise ValueError(
                f"MLP needs samples of at least 2 classes, but the data contain only one class: {classes[0]!r}"
            )
        weight = _check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
        self.missing_ = MissingValues.of(x)
        self.classes_ = classes
        return TrainingRows(x if isinstance(x, LazyMatrix) else self.missing_.filled(x), label.reshape(-1), weight)

    def _missing_in(self, x: LazyMatrix) -> bool:
        """Returns whether a value is missing.

        Raises:
            ValueError: a value is infinite.
        """
        missing = False
        for rows in slices(len(x)):
            block = x[rows]
            missing |= bool(np.isnan(block).any())
            assert_all_finite(block, allow_nan=True, estimator_name="MLP")
        return missing

    def _validation(self, data: TrainingRows, sample: ValidationSet) -> ValidationTensors:
        x = np.array(sample.x, dtype=data.x.dtype, order="C")
        y, weight = np.asarray(sample.y), np.asarray(sample.weight, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.n_features_in_ or not len(x) == len(y) == len(weight):
            raise ModelError(
                f"the validation sample has shapes x {x.shape}, y {y.shape}, weight {weight.shape}; "
                f"expected (n, {self.n_features_in_}), (n,), (n,)"
            )
        x = self._filled(x)
        classes, label = classes_and_labels(y)
        if not np.isin(classes, self.classes_).all():
            raise ModelError("the validation sample has a class that is missing in the training sample")
        label = np.searchsorted(self.classes_, classes)[label]
        return self._on_device(x, label, weight)

    def _on_device(self, x: FloatArray, label: IntArray, weight: FloatArray) -> ValidationTensors:
        if len(x) == 0 or not weight.sum() > 0:
            raise ModelError("the validation sample is empty, or its weights do not sum to more than 0; leave it out")
        device = device_named(self.device)
        arrays = (np.ascontiguousarray(x), np.asarray(label, dtype=np.int64), weight)
        writable = (np.require(array, requirements="W") for array in arrays)  # torch warns of arrays that are not
        return ValidationTensors(*(torch.from_numpy(array).to(device) for array in writable))

    def _table(self, data: TrainingRows, parts: Sequence[IntArray | None]) -> Tensor | StreamedTable:
        """Returns the training data on the device; the weights of each part's rows must sum to more than 0.

        On the CPU, data of more than `LARGEST_TABLE` bytes stay where they are, and are read in shuffled blocks. A GPU
        keeps all.
        """
        if not all((data.weight if rows is None else data.weight[rows]).sum() > 0 for rows in parts):
            raise ModelError("the training weights do not sum to more than 0")
        device, table = device_named(self.device), StreamedTable(data.x, data.label, data.weight)
        streamed = device.type == "cpu" and table.nbytes > LARGEST_TABLE and all(rows is None for rows in parts)
        return table if streamed else table.whole(device)

    def _train(
        self,
        models: Sequence[MLP],
        data: TrainingRows,
        parts: Sequence[_Part],
        progress: Progress | None,
        path: Path | None,
    ) -> None:
        """Trains one model on each part of the data, and makes them fitted; `path` is the checkpoint's."""
        table = self._table(data, [rows for rows, _ in parts])
        noises = self._swap_noise(table, data, parts)
        trainings = [m._training(data, *part, noise) for m, part, noise in zip(models, parts, noises, strict=True)]
        found = _trained(table, trainings, progress, path)
        for training, trained, part in zip(trainings, found, parts, strict=True):
            training.model._accept(trained, training.plan.swap_noise)
            training.model.health_ = _health(trained, _looked_at(data, *part))

    def _swap_noise(self, table: Tensor | StreamedTable, data: TrainingRows, parts: Sequence[_Part]) -> list[float]:
        """Returns the swap noise for each part of the data; networks with the preset's parameters decide it."""
        usual = MLP(preset=self.preset, seed=self.seed).get_params()
        firsts = [self._members(*part, 1)[0] for part in parts]
        return swap_noise_for(self.get_params(), usual, table, firsts, len(self.classes_))

    def _training(
        self, data: TrainingRows, rows: IntArray | None, validation: ValidationTensors | None, swap_noise: float
    ) -> _Training:
        n = len(data.label) if rows is None else len(rows)
        setup = setup_for(self.get_params(), n, data.x.shape[1], len(self.classes_), swap_noise)
        members = self._members(rows, validation, setup.n_members)
        return _Training(self, members, setup.architecture, setup.plan)

    def _members(self, rows: IntArray | None, validation: ValidationTensors | None, n_members: int) -> list[Member]:
        index = None if rows is None else torch.from_numpy(np.array(rows, dtype=np.int64)).to(device_named(self.device))
        return [Member(member_seed(int(self.seed), number), index, validation) for number in range(n_members)]

    def _with(self, **parameters: Any) -> Self:
        """Returns a model with some other parameters that is to be trained on the same data."""
        model: Self = clone(self).set_params(**parameters)
        model.__dict__.update({name: value for name, value in vars(self).items() if name in _OF_DATA})
        return model

    def _accept(self, trained: Sequence[Trained], swap_noise: float) -> Self:
        self.networks_ = tuple(member.network for member in trained)
        self.swap_noise_ = swap_noise
        self.history_ = mean_history([member.history for member in trained])
        self.health_ = ()
        return self

    def _valid(self, X: Any) -> FloatArray:
        x = np.ascontiguousarray(self._checked(X, self.x_types))
        return np.asarray(x if self.missing_ is None else self.missing_.filled(x))

    def _reference(self, x: FloatArray, dtype: torch.dtype = torch.float64) -> NDArray[np.float64]:
        """Returns (members, n, k) probabilities by the reference forward pass."""
        device = scoring_device(self.device)
        widest = max(setup_for(self.get_params(), 1, 1, 2).architecture.hidden, default=0)
        with quiet_torch(widest):
            rows = torch.from_numpy(np.array(x)).to(device, dtype)
            layers = [as_layers(network, device, dtype) for network in self.networks_]
            logits = [forward(own, self.networks_[0].activation, rows) for own in layers]
            return np.stack([_both_classes(probabilities(z.double()).T.cpu().numpy()) for z in logits])


_OF_DATA = ("classes_", "n_features_in_", "feature_names_in_", "missing_")
_Part = tuple[IntArray | None, ValidationTensors | None]


def _trained(
    table: Tensor | StreamedTable,
    trainings: Sequence[_Training],
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    pruner: Pruner | None = None,
) -> list[list[Trained]]:
    """Returns the members of each model after training; models of one architecture and plan train in one pass."""
    groups: dict[tuple[Architecture, TrainingPlan], list[int]] = {}
    for number, training in enumerate(trainings):
        groups.setdefault((training.architecture, training.plan), []).append(number)
    found: dict[int, list[Trained]] = {}
    for (architecture, plan), numbers in groups.items():
        members = [member for number in numbers for member in trainings[number].members]
        owner = np.repeat(numbers, [len(trainings[number].members) for number in numbers])

        def stopped(done: int, total: int, auc: NDArray[np.float64], owner: IntArray = owner) -> NDArray[np.bool_]:
            assert pruner is not None
            areas = {int(number): auc[owner == number] for number in np.unique(owner[np.isfinite(auc)])}
            named = pruner(done, total, {number: float(np.nanmean(area)) for number, area in areas.items()})
            return np.isin(owner, list(named))

        own_pruner = None if pruner is None else stopped
        trained = train_members(table, members, architecture, plan, progress, checkpoint, own_pruner)
        for number in numbers:
            found[number] = [member for member, of in zip(trained, owner, strict=True) if of == number]
    return [found[number] for number in range(len(trainings))]


def _looked_at(data: TrainingRows, rows: IntArray | None, validation: ValidationTensors | None) -> Tensor:
    """Events (m, d) on which the units of a network are looked at: of validation, or else some of training."""
    if validation is not None:
        return validation.x
    n = len(data.label) if rows is None else len(rows)
    some = np.unique(np.linspace(0, n - 1, min(n, N_EVENTS)).astype(np.int64))
    return torch.from_numpy(np.ascontiguousarray(data.x[some if rows is None else rows[some]]))


def _health(trained: Sequence[Trained], x: Tensor) -> tuple[Health, ...]:
    with quiet_torch(max(map(len, trained[0].network.weights))):
        return tuple(health_of(member.network, member.history, x) for member in trained)


def _prune_none(done: int, total: int, areas: Mapping[int, float]) -> Collection[int]:
    """Lets all variants train to their end; with a pruner, one that diverges does not end the others."""
    return ()


def _both_classes(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns (n, k) probabilities from (n, 1), those of the second class only, or from (n, k)."""
    return np.hstack([1.0 - p, p]) if p.shape[1] == 1 else p
