"""MLP: a fully connected network as a scikit-learn classifier; ensembles and folds train in one batched pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from pidlab.errors import ModelError
from pidlab.models.base import Classifier, Progress, ValidationSet, read_json, write_json
from pidlab.models.mlp.batches import Member, ValidationTensors, as_table
from pidlab.models.mlp.engine import Trained, Trainer, TrainingPlan, quiet_torch
from pidlab.models.mlp.layers import Architecture
from pidlab.models.mlp.losses import probabilities
from pidlab.models.mlp.network import as_layers, forward, read_networks, write_networks
from pidlab.models.mlp.noise import swap_noise_for
from pidlab.models.mlp.presets import architecture_for, check, members_for, plan_for
from pidlab.sample import FloatArray, IntArray

Fold = tuple[IntArray, IntArray | None]
_FORMAT = "pidlab.mlp.1"
_SCORED_ON_GPU = 128  # narrower networks score millions of events a second on one thread, with the same bits anywhere


@dataclass(frozen=True, slots=True)
class _Data:
    """Checked training data: x (n, d), label (n,) index into `classes`, weight (n,)."""

    x: FloatArray
    label: NDArray[np.int64]
    weight: NDArray[np.float64]
    classes: NDArray[Any]


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class MLP(Classifier):
    """A fully connected network: one sigmoid output for two classes, softmax over k for more.

    X must be scaled and whole: missing values are imputed before. float64 input trains in double precision, everything
    else in single. Training is mini-batch, so a weight of two is the same as two copies of an event, and a weight of
    zero the same as none, only while all events fit into one batch (and in expectation beyond).

    Every parameter left None comes from the preset. `workshop`: hidden [20, 20], tanh, batch 128, constant 1e-4, 50
    epochs. `default`: hidden [64, 64], SiLU, one-cycle to 1e-2, batch 512, 10 epochs, and early stopping where there is
    a validation sample; fewer than 16 thousand events come in smaller batches (down to 64), and fewer than 205 thousand
    pass more often (20, 50, 100 or 200 times), so that there are at least 4000 steps where 200 epochs give them. Events
    that don't fill the last batch of an epoch sit out, others in each epoch.

    Args:
        preset: "default" or "workshop".
        hidden: widths of the hidden layers; an empty list makes it a logistic regression.
        activation: sigmoid, tanh, relu, leaky_relu (slope 0.01), elu, maxout (two pieces), silu, gelu.
        loss: cross_entropy, squared, absolute, focal (γ = 2).
        optimizer: sgd, rmsprop, adam, adamw, nadam.
        momentum: of sgd.
        learning_rate: the schedule's largest.
        schedule: constant, one_cycle, cosine, exponential, step; over all epochs.
        batch_size: events a step; a smaller sample is one batch.
        epochs: at most this many.
        patience: epochs without a better validation loss before training stops; the best weights are kept.
            None: a third of the epochs in the default preset, no early stopping in `workshop`.
        dropout: share of hidden units that are left out in each step. None: in the default preset 0.2 for samples of
            1000 events to 1500 a feature, which also halves its learning rate; otherwise 0.
        swap_noise: share of the feature values that are another event's in each step, as VIME corrupts them (J. Yoon
            et al., NeurIPS 2020). None: in the default preset, for samples of 1000 events to 700 a feature with a
            validation sample and `epochs` None, 0.15 or 0, as the validation losses of two networks say, one trained
            with it and one without; otherwise 0. Above 0 the default preset is another one for samples of 1000 events
            to 1500 a feature: hidden [32, 32], dropout 0.1, 8 members, twice as many epochs.
        batch_norm: normalise before each activation.
        weight_decay: L2 penalty added to the gradient; decoupled in adamw.
        members: networks in the ensemble; probabilities are their mean. None: in the default preset 4 for samples of
            1000 events to 1500 a feature; otherwise 1.
        seed: decides everything random; not negative.
        device: auto (CUDA where there is a GPU), cpu, cuda.

    Attributes:
        classes_: (k,) the classes.
        networks_: one `DenseNetwork` a member.
        swap_noise_: what they were trained with.
        history_: loss and, with validation, validation_loss and validation_auc; one entry an epoch, the mean over the
            members that still train. With more than two classes the AUC is the mean of each class against the rest.
    """

    preset: str = "default"
    hidden: Sequence[int] | None = None
    activation: str | None = None
    loss: str = "cross_entropy"
    optimizer: str = "adam"
    momentum: float = 0.9
    learning_rate: float | None = None
    schedule: str | None = None
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    dropout: float | None = None
    swap_noise: float | None = None
    batch_norm: bool = False
    weight_decay: float = 0.0
    members: int | None = None
    seed: int = 0
    device: str = "auto"

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
        """Train on X (n, d), y (n,) and weights (n,).

        Args:
            X: features, scaled and without missing values.
            y: classes.
            sample_weight: not negative; None for 1.
            validation: evaluated after each epoch, for the history and early stopping.
            progress: called after each epoch.
            checkpoint: a file that is rewritten after each epoch; where it exists, training goes on from it, and ends
                with the same bits (on one machine and device) as without the interruption.

        Raises:
            ModelError: a parameter makes no sense, training diverges, or the checkpoint is of another training.
            ValueError: scikit-learn's, for X, y or weights that are not what they should be.
        """
        data = self._checked(X, y, sample_weight)
        with quiet_torch(self._widest()):
            validation = None if validation is None else self._validation(data, validation)
            self._train([self], data, [(None, validation)], progress, checkpoint)
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
        """One model a fold, as `clone(self).fit(X[train], y[train], weight[train])` gives it, all trained together.

        Args:
            X: (n, d).
            y: (n,).
            sample_weight: (n,), not negative; None for 1.
            folds: rows to train on, and rows to watch or None, of each fold.
            progress: called after each epoch of all folds.

        Raises:
            ModelError: a fold lacks a class, or as in `fit`.
        """
        data = self._checked(X, y, sample_weight)
        models = [clone(self) for _ in folds]
        with quiet_torch(self._widest()):
            jobs = [(np.asarray(rows), self._fold_validation(data, validation)) for rows, validation in folds]
            for number, (rows, _) in enumerate(jobs):
                if len(np.unique(data.label[rows])) < len(data.classes):
                    raise ModelError(f"fold {number + 1}: a class has no training events; use fewer folds")
            self._train(models, data, jobs, progress, None)
        return models

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, k) class probabilities of X (n, d), in double precision: the mean of the members'."""
        return np.asarray(self._reference(self._valid(X)).mean(axis=0))

    def spread(self, X: Any) -> NDArray[np.float64]:
        """(n, k) standard deviation of the members' probabilities; 0 with one member."""
        return np.asarray(self._reference(self._valid(X)).std(axis=0))

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """(n, k) float32 probabilities of X (n, d), fast: equal to `predict_proba` within 1e-6.

        Networks of layers up to 256 wide, with any activation but gelu, are scored by compiled code on the CPU: an
        event's scores don't depend on the events beside it, and are the same on every machine. Where `device` means a
        GPU, networks with a layer of 128 or more are scored there. A feature that is NaN makes the scores NaN.
        """
        from pidlab.models.mlp.inference import fast_logits, has_fast_path, linked

        networks, x = self.networks_, np.ascontiguousarray(X, dtype=np.float32)
        if x.shape[1] != networks[0].n_inputs:
            raise ModelError(f"the network was trained on {networks[0].n_inputs} features; {x.shape[1]} were given")
        on_gpu = _device(self.device).type == "cuda" and max(len(w) for w in networks[0].weights) >= _SCORED_ON_GPU
        if on_gpu or not has_fast_path(networks[0]):
            return np.asarray(self._reference(x, torch.float32).mean(axis=0), dtype=np.float32)
        total = linked(fast_logits(networks[0], x))
        for network in networks[1:]:
            total += linked(fast_logits(network, x))
        total /= np.float32(len(networks))
        return total

    def save(self, directory: Path) -> None:
        """Write `mlp.json` and `mlp.safetensors` into an existing directory."""
        check_is_fitted(self)
        write_networks(directory / "mlp.safetensors", self.networks_)
        parameters = {name: v.item() if isinstance(v, np.generic) else v for name, v in self.get_params().items()}
        if self.hidden is not None:
            parameters["hidden"] = [int(width) for width in self.hidden]
        content = {
            "format": _FORMAT,
            "parameters": parameters,
            "activation": self.networks_[0].activation,
            "classes": self.classes_.tolist(),
            "classes_dtype": self.classes_.dtype.str,
            "features": list(map(str, getattr(self, "feature_names_in_", []))),
            "swap_noise": self.swap_noise_,
            "history": self.history_,
        }
        write_json(directory / "mlp.json", content)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The model that `save` wrote.

        Raises:
            ModelError: a file is missing, damaged, or of another model.
        """
        path = directory / "mlp.json"
        content = read_json(path)
        if content.get("format") != _FORMAT:
            raise ModelError(f"{path}: format {content.get('format')!r} is not {_FORMAT!r}; make the run again")
        try:
            model = cls(**content["parameters"])
            check(model.get_params())
            model.networks_ = read_networks(directory / "mlp.safetensors", content["activation"])
            if model.activation not in (None, content["activation"]):
                raise ValueError(f"the activation is {model.activation} and {content['activation']}")
            dtype = np.dtype(content["classes_dtype"])
            model.classes_ = np.array(content["classes"], dtype=dtype)
            model.swap_noise_ = float(content.get("swap_noise", 0.0))
            model.history_ = {name: list(map(float, values)) for name, values in content["history"].items()}
            features = content["features"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"{path}: is damaged ({error!r}); make the run again") from error
        model.n_features_in_ = model.networks_[0].n_inputs
        if features:
            model.feature_names_in_ = np.array(features, dtype=object)
        if model.networks_[0].n_outputs != _n_outputs(len(model.classes_)):
            raise ModelError(f"{directory}: mlp.json and mlp.safetensors are of two models; make the run again")
        return model

    def _widest(self) -> int:
        return max(architecture_for(self.get_params(), 1, 1, 2).hidden, default=0)

    def _checked(self, X: Any, y: Any, sample_weight: Any) -> _Data:
        check(self.get_params())
        x, y = validate_data(self, X, y, dtype=[np.float32, np.float64], order="C")
        check_classification_targets(y)
        classes, label = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"MLP needs samples of at least 2 classes, but the data contain only one class: {classes[0]!r}"
            )
        weight = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        return _Data(x, label.reshape(-1), weight, classes)

    def _validation(self, data: _Data, sample: ValidationSet) -> ValidationTensors:
        x = np.asarray(sample.x, dtype=data.x.dtype)
        y, weight = np.asarray(sample.y), np.asarray(sample.weight, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != data.x.shape[1] or not len(x) == len(y) == len(weight):
            raise ModelError(
                f"the validation sample has shapes x {x.shape}, y {y.shape}, weight {weight.shape}; "
                f"expected (n, {data.x.shape[1]}), (n,), (n,)"
            )
        if not np.isfinite(x).all():
            raise ModelError("the validation sample has missing or infinite values; impute them as in training")
        label = np.searchsorted(data.classes, y).clip(max=len(data.classes) - 1)
        if not (data.classes[label] == y).all():
            raise ModelError("the validation sample has a class that the training sample has not")
        return self._on_device(x, label, weight)

    def _on_device(self, x: FloatArray, label: IntArray, weight: FloatArray) -> ValidationTensors:
        if len(x) == 0 or not weight.sum() > 0:
            raise ModelError("the validation sample is empty, or its weights do not sum to more than 0; leave it out")
        device = _device(self.device)
        arrays = (np.array(x, order="C"), np.array(label, dtype=np.int64), np.array(weight))
        return ValidationTensors(*(torch.from_numpy(array).to(device) for array in arrays))

    def _fold_validation(self, data: _Data, rows: IntArray | None) -> ValidationTensors | None:
        if rows is None:
            return None
        return self._on_device(data.x[rows], data.label[rows], data.weight[rows])

    def _train(
        self,
        models: Sequence[MLP],
        data: _Data,
        jobs: Sequence[tuple[IntArray | None, ValidationTensors | None]],
        progress: Progress | None,
        checkpoint: Path | None,
    ) -> None:
        """Train one model a job, those with equal plans in one pass, and make them fitted."""
        device, parameters = _device(self.device), self.get_params()
        table = as_table(*(torch.from_numpy(np.array(a)).to(device) for a in (data.x, data.label, data.weight)))
        for rows, _ in jobs:
            if not (data.weight if rows is None else data.weight[rows]).sum() > 0:
                raise ModelError("the training weights do not sum to more than 0")
        firsts = [self._members(data, *job, 1)[0] for job in jobs]
        members: list[list[Member]] = []
        groups: dict[tuple[Architecture, TrainingPlan], list[int]] = {}
        for number, noise in enumerate(self._swap_noise(table, firsts, data)):
            n, d, k = firsts[number].count(table), data.x.shape[1], len(data.classes)
            members.append(self._members(data, *jobs[number], members_for(parameters, n, d, noise)))
            both = architecture_for(parameters, n, d, k, noise), plan_for(parameters, n, d, noise)
            groups.setdefault(both, []).append(number)
        for (architecture, plan), numbers in groups.items():
            together = list(chain(*(members[number] for number in numbers)))
            trained = iter(Trainer(table, together, architecture, plan).run(progress, checkpoint))
            for number in numbers:
                networks = list(islice(trained, len(members[number])))
                models[number]._accept(self, data.classes, networks, plan.swap_noise)

    def _swap_noise(self, table: torch.Tensor, members: Sequence[Member], data: _Data) -> list[float]:
        usual = MLP(preset=self.preset, seed=self.seed).get_params()
        return swap_noise_for(self.get_params(), usual, table, members, data.x.shape[1], len(data.classes))

    def _members(self, data: _Data, rows: IntArray | None, validation: ValidationTensors | None, count: int) -> list[Member]:
        index = None if rows is None else torch.from_numpy(np.array(rows, dtype=np.int64)).to(_device(self.device))
        return [Member(_seed_of(int(self.seed), number), index, validation) for number in range(count)]

    def _accept(self, template: MLP, classes: NDArray[Any], trained: Sequence[Trained], swap_noise: float) -> None:
        self.classes_ = classes
        self.n_features_in_ = template.n_features_in_
        if hasattr(template, "feature_names_in_"):
            self.feature_names_in_: NDArray[Any] = template.feature_names_in_
        self.networks_ = tuple(member.network for member in trained)
        self.swap_noise_ = swap_noise
        self.history_ = _mean_history([member.history for member in trained])

    def _valid(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=[np.float32, np.float64], order="C", reset=False))

    def _reference(self, x: FloatArray, dtype: torch.dtype = torch.float64) -> NDArray[np.float64]:
        """(members, n, k) probabilities by the reference pass."""
        device = _device(self.device)
        with quiet_torch(self._widest()):
            rows = torch.from_numpy(np.array(x)).to(device, dtype)
            layers = [as_layers(network, device, dtype) for network in self.networks_]
            logits = [forward(own, self.networks_[0].activation, rows) for own in layers]
            return np.stack([_both_classes(probabilities(z.double()).T.cpu().numpy()) for z in logits])


def _both_classes(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, k) from (n, 1), the second class's probability, or (n, k)."""
    return np.hstack([1.0 - p, p]) if p.shape[1] == 1 else p


def _n_outputs(n_classes: int) -> int:
    return 1 if n_classes == 2 else n_classes


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("device: cuda was asked for, but torch finds no GPU; use auto or cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def _seed_of(seed: int, member: int) -> int:
    """63 bits for one member's generators."""
    return int(np.random.SeedSequence([seed, member]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _mean_history(histories: Sequence[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Mean over the members that reached an epoch, for each epoch."""
    longest = max(histories, key=lambda history: len(history["loss"]))
    return {
        name: [float(np.mean([h[name][i] for h in histories if i < len(h[name])])) for i in range(len(values))]
        for name, values in longest.items()
    }
