"""MLP: a fully connected network as a scikit-learn classifier; ensembles, folds and variants train in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from pidlab.errors import ModelError
from pidlab.models.base import Classifier, Progress, ValidationSet, classes_and_labels
from pidlab.models.link import posterior
from pidlab.models.matrix import LazyMatrix, slices
from pidlab.models.missing import MissingValues, with_names
from pidlab.models.mlp.base import NetworkEstimator, filled_inputs, logits_of, on_gpu
from pidlab.models.mlp.health import Health
from pidlab.models.mlp.presets import check, n_outputs
from pidlab.models.mlp.process import trained_networks
from pidlab.models.mlp.tasks import ClassifierTask, LabelledRows, Share, TrainedNetworks
from pidlab.sample import FloatArray, IntArray

if TYPE_CHECKING:  # torch, which is imported where networks train
    from pidlab.models.mlp.engine.training import Pruner

Fold = tuple[IntArray, IntArray | None]


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
        held_out = None if validation is None else self._validation(data, validation)
        [trained] = trained_networks(self._task(data, [Share(None, held_out)]), progress, checkpoint)
        return self._accept(trained)

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
            sample = None
            if held_out is not None:
                sample = _not_empty(LabelledRows(data.x[held_out], data.label[held_out], data.weight[held_out]))
            parts.append(Share(np.asarray(rows), sample))
        return [template._with()._accept(each) for each in trained_networks(template._task(data, parts), progress)]

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
        from pidlab.models.mlp.engine.training import train_variants

        template: Self = clone(self)
        data = template._data(X, y, sample_weight)
        held_out = template._validation(data, validation)
        models = [template._with(**parameters) for parameters in variants]
        for model in models:
            check(model.get_params())
        found = train_variants(
            [model.get_params() for model in models],
            [model._usual() for model in models],
            data,
            held_out,
            len(template.classes_),
            pruner,
        )
        return [
            each if isinstance(each, ModelError) else model._accept(each)
            for model, each in zip(models, found, strict=True)
        ]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) class probabilities of X (n, d), the mean of the members', computed in double precision."""
        return np.asarray(self._reference(self._valid(X).astype(np.float64)).mean(axis=0))

    def spread(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) standard deviation of the members' probabilities; 0 with one member."""
        return np.asarray(self._reference(self._valid(X).astype(np.float64)).std(axis=0))

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
        if on_gpu(networks, self.device) or not has_fast_path(networks[0]):
            return np.asarray(self._reference(x).mean(axis=0), dtype=np.float32)
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

    def _data(self, X: Any, y: Any, sample_weight: Any) -> LabelledRows:
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
        return LabelledRows(x if isinstance(x, LazyMatrix) else self.missing_.filled(x), label.reshape(-1), weight)

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

    def _validation(self, data: LabelledRows, sample: ValidationSet) -> LabelledRows:
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
        return _not_empty(LabelledRows(x, label, weight))

    def _task(self, data: LabelledRows, parts: Sequence[Share]) -> ClassifierTask:
        return ClassifierTask(self.get_params(), self._usual(), data, parts, len(self.classes_))

    def _usual(self) -> dict[str, Any]:
        """Returns the parameters of a model with this preset and seed; its networks decide the swap noise."""
        usual: dict[str, Any] = MLP(preset=self.preset, seed=self.seed).get_params()
        return usual

    def _with(self, **parameters: Any) -> Self:
        """Returns a model with some other parameters that is to be trained on the same data."""
        model: Self = clone(self).set_params(**parameters)
        model.__dict__.update({name: value for name, value in vars(self).items() if name in _OF_DATA})
        return model

    def _accept(self, trained: TrainedNetworks) -> Self:
        self.networks_, self.swap_noise_, self.history_, self.health_ = trained
        return self

    def _valid(self, X: Any) -> FloatArray:
        x = np.ascontiguousarray(self._checked(X, self.x_types))
        return np.asarray(x if self.missing_ is None else self.missing_.filled(x))

    def _reference(self, x: FloatArray) -> FloatArray:
        """Returns (members, n, k) probabilities by the reference forward pass, which has the precision of x."""
        return np.stack([posterior(z.T.astype(np.float64)) for z in logits_of(self.networks_, x, self.device)])


_OF_DATA = ("classes_", "n_features_in_", "feature_names_in_", "missing_")


def _not_empty(sample: LabelledRows) -> LabelledRows:
    """Returns a validation sample.

    Raises:
        ModelError: there is nothing in it to decide by.
    """
    if len(sample.label) == 0 or not sample.weight.sum() > 0:
        raise ModelError("the validation sample is empty, or its weights do not sum to more than 0; leave it out")
    return sample
