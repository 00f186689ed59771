"""Boosted decision trees by xgboost, which only this room and the export of its models import."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from pidlab.errors import ModelError
from pidlab.evaluate.results import json_value
from pidlab.models.base import (
    Classifier,
    Estimator,
    Progress,
    TrainingDataError,
    TrainingRows,
    ValidationSet,
    classes_and_labels,
)
from pidlab.models.bdt.forest import Forest, check_trees, read_forest, shallow_nodes
from pidlab.models.bdt.objective import BoosterObjective, OwnObjective, of_classes
from pidlab.models.bdt.settings import (
    check_parameters,
    feature_index,
    monotone_signs,
    reason_of,
    scoring_device,
    training_device,
)
from pidlab.models.link import posterior
from pidlab.models.matrix import LazyMatrix, needs_blocks, slices
from pidlab.models.missing import with_names
from pidlab.models.threads import allowed_threads, usable_cores, worthwhile_threads
from pidlab.process import interrupt_later
from pidlab.sample import FloatArray

if TYPE_CHECKING:
    import xgboost

    from pidlab.models.bdt.leaf_tables import LeafTables

_TREES = "model.ubj"
_LOSS_BLOCK = 1 << 16  # events whose margins and losses stay in the cache
_CHUNK = 50_000  # rows that inplace_predict scores fastest
_CHUNK_ON_GPU = 1_000_000  # rows: enough to fill a GPU, and few enough to lie there beside anything else
_LARGEST = np.finfo(np.float32).max
_SECONDS_BETWEEN_REPORTS = 0.05
_ONE_AT_A_TIME = threading.Lock()  # it is not safe to set a booster's parameters while another thread predicts with it


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class BoostedTrees(Estimator):
    """What a classifier and a regressor of boosted trees have in common: training by xgboost, and margins.

    The parameters are those of `BDT`.

    Attributes:
        booster_: the xgboost booster, its last round the best one.
        best_iteration_: the best round, counted from 0.
    """

    x_types = np.float32
    x_finite = False  # infinities count as the largest numbers
    n_estimators: int = 1000
    max_depth: int = 5
    learning_rate: float = 0.05
    early_stopping_rounds: int | None = 50
    subsample: float = 0.7
    colsample_bynode: float = 0.8
    parameters: Mapping[str, Any] | None = None
    feature_names: Sequence[str] | None = None
    seed: int = 0
    n_jobs: int | None = None
    device: str = "auto"

    @property
    def objective(self) -> BoosterObjective:
        """What the trees are grown for."""
        raise NotImplementedError

    def _own_objective(self, events: Sequence[tuple[xgboost.DMatrix, TrainingRows]]) -> OwnObjective | None:
        """Returns an objective that xgboost does not have; None if it has it.

        Args:
            events: the training events and, if there are some, those of the validation sample.
        """
        return None

    def _validation_rows(self, validation: ValidationSet) -> TrainingRows:
        """Returns the validation sample with labels as in training."""
        raise NotImplementedError

    def train(
        self,
        rows: TrainingRows,
        validation: ValidationSet | None,
        progress: Progress | None = None,
        *,
        alone: bool = True,
    ) -> None:
        """Trains on rows that were checked, by a model whose `classes_` and `n_features_in_` are set.

        Args:
            rows: the events.
            validation: decides when to stop.
            progress: is told of each round.
            alone: whether this process has all of the events; otherwise the loss is that of all processes together.

        Raises:
            TrainingDataError: other classes, or negative weights, in `validation`.
            ModelError: xgboost refuses a value, or a CUDA device is requested and there is none.
        """
        import xgboost

        settings = self._settings(len(rows))
        try:
            train = self._matrix(rows, settings, None)
            own_loss = alone and _keeps_loss(settings) and needs_blocks(len(rows))
            samples, events = [] if own_loss else [(train, "")], [(train, rows)]
            if validation is not None:
                checked = self._validation_rows(validation)
                events.append((self._matrix(checked, settings, train), checked))
                samples.append((events[-1][0], "validation_"))
            callbacks: list[Any] = [_training_loss(train, rows)] if own_loss else []
            stops = validation is not None and self.early_stopping_rounds is not None
            if stops:
                callbacks.append(xgboost.callback.EarlyStopping(rounds=self.early_stopping_rounds))
            if progress is not None:
                callbacks.append(_reporter(progress, self.n_estimators))
            derivatives, own_value = self._own_objective(events) or (None, None)
            history: dict[str, dict[str, list[float]]] = {}
            booster = xgboost.train(
                settings,
                train,
                self.n_estimators,
                evals=samples,
                obj=derivatives,
                custom_metric=own_value,
                evals_result=history,
                verbose_eval=False,
                callbacks=callbacks,
            )
        except (xgboost.core.XGBoostError, TypeError) as error:
            raise ModelError(f"xgboost refuses to train: {reason_of(error)}") from error
        self.history_ = {
            part + ("loss" if metric == self.objective.metric else metric): list(map(float, values))
            for part, metrics in history.items()
            for metric, values in metrics.items()
        }
        self.best_iteration_ = booster.best_iteration if stops else int(self.n_estimators) - 1
        self._keep(booster[: self.best_iteration_ + 1])

    def _check_options(self) -> None:
        check_parameters(self.parameters or {})
        super()._check_options()

    def _settings(self, n: int) -> dict[str, Any]:
        """Returns xgboost's parameters for training on n events."""
        objective = self.objective
        further = dict(self.parameters or {})
        asked = further.pop("eval_metric", [])
        names = list(getattr(self, "feature_names_in_", self.feature_names or range(self.n_features_in_)))
        if (monotone := further.pop("monotone_constraints", None)) is not None:
            further["monotone_constraints"] = monotone_signs(monotone, names)
        if (groups := further.pop("interaction_constraints", None)) is not None:
            further["interaction_constraints"] = json.dumps(
                [[feature_index(name, names) for name in g] for g in groups]
            )
        return {
            "eval_metric": [
                *([] if objective.is_own else [objective.metric]),
                *([asked] if isinstance(asked, str) else asked),
            ],
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "subsample": self.subsample,
            "colsample_bynode": self.colsample_bynode,
            "seed": self.seed,
            "nthread": self.n_jobs or worthwhile_threads(n * self.n_features_in_),
            "device": training_device(self.device),
            "verbosity": 0,
            **objective.settings(),
            **further,
        }

    def _n_threads(self) -> int:
        """Returns the threads for each call of xgboost, whose default is what torch set for the whole process."""
        return self.n_jobs or usable_cores()

    @interrupt_later()  # xgboost reads the data in a callback, and an exception there corrupts its memory
    def _matrix(
        self, rows: TrainingRows, settings: Mapping[str, Any], reference: xgboost.DMatrix | None
    ) -> xgboost.DMatrix:
        """Returns the events as xgboost needs them; a validation sample has the bins of `reference`.

        xgboost reads blocks of rows and keeps one or four bytes of each value. Its quantiles take value after value,
        so that the size of the blocks does not change the trees.
        """
        import xgboost

        if settings.get("tree_method") in ("exact", "approx"):
            weight = rows.weight / rows.mean_weight
            return xgboost.DMatrix(_bounded(np.asarray(rows.x)), rows.label, weight=weight, nthread=settings["nthread"])
        options = {"nthread": settings["nthread"], "max_bin": settings.get("max_bin", 256), "ref": reference}
        return xgboost.QuantileDMatrix(_batches(rows), **options)

    def _keep(self, booster: xgboost.Booster) -> None:
        booster.set_param({"device": "cpu"})
        self.booster_ = booster
        self._scorer = BoosterScorer(booster)

    def _checked(self, X: Any, dtype: type[np.floating[Any]] = np.float32) -> NDArray[Any]:
        check_is_fitted(self)
        with np.errstate(over="ignore"):
            return np.asarray(validate_data(self, with_names(X), dtype=dtype, ensure_all_finite=False, reset=False))

    def _margins(self, x: FloatArray) -> NDArray[np.float32]:
        """Returns the margins (n, m) of float32 features (n, d).

        Raises:
            ModelError: x has another number of features than the training sample.
        """
        if x.shape[1] != self.n_features_in_:
            raise ModelError(f"the BDT was trained on {self.n_features_in_} features; {x.shape[1]} were given to score")
        threads = min(self._n_threads(), allowed_threads())
        if (device := scoring_device(self.device)) != "cpu":
            return self._scorer.margins_on(device, _bounded(x), threads)
        return self._scorer.margins(_bounded(x), threads)

    def contributions(self, X: Any) -> NDArray[np.float32]:
        """Computes exact Shapley values of the margins (S. Lundberg et al., Nature Machine Intelligence 2 (2020) 56).

        Returns:
            (n, m, d + 1): the contribution of each feature to each margin, and last the mean margin; the sum over the
            last axis is the margin. m is 1 for two classes (the log-odds of the second), otherwise k.
        """
        import xgboost

        matrix = xgboost.DMatrix(_bounded(self._checked(X)), nthread=self._n_threads())
        self.booster_.set_param({"nthread": self._n_threads()})
        return np.asarray(self.booster_.predict(matrix, pred_contribs=True, strict_shape=True), np.float32)

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Returns each feature's share, (d,), of the loss reduction of all splits; zeros if there is no split."""
        check_is_fitted(self)
        gain = np.zeros(self.n_features_in_)
        for name, value in self.booster_.get_score(importance_type="total_gain").items():
            gain[int(name[1:])] = value
        return gain / (gain.sum() or 1)

    def first_trees(self, n: int, depth: int) -> list[tuple[int, list[dict[str, Any]]]]:
        """Returns the first n trees down to `depth` splits, to be looked at; none if the trees are weighted."""
        check_is_fitted(self)
        n_rounds = -(-n // self.objective.n_margins)
        model = json.loads(bytes(self.booster_[: min(n_rounds, self.booster_.num_boosted_rounds())].save_raw("json")))
        forest = read_forest(model)
        if forest is None:
            return []
        gains = [tree["loss_changes"] for tree in model["learner"]["gradient_booster"]["model"]["trees"]]
        return [
            (tree.margin, shallow_nodes(tree, gain, depth))
            for tree, gain in list(zip(forest.trees, gains, strict=True))[:n]
        ]

    def forest(self) -> Forest:
        """Returns the trees as arrays, from which exports are written.

        Raises:
            ModelError: the trees are weighted (booster: dart).
        """
        check_is_fitted(self)
        if (forest := self._scorer.forest) is None:
            raise ModelError("only plain trees (booster: gbtree) can be written out")
        return forest

    def save(self, directory: Path) -> None:
        """Writes the trees in xgboost's UBJ format and the rest as JSON."""
        super().save(directory)
        self.booster_.save_model(directory / _TREES)

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        self.best_iteration_ = int(content["best_iteration"])
        if self.n_jobs is not None and (not isinstance(self.n_jobs, int) or self.n_jobs < 1):
            raise ValueError(f"n_jobs is {self.n_jobs!r}")
        self._keep(read_booster(directory / _TREES, self.n_features_in_, self.objective))


@dataclass(eq=False, repr=False)
class BDT(BoostedTrees, Classifier):
    """Gradient-boosted decision trees (T. Chen, C. Guestrin, KDD 2016), by xgboost.

    Missing values are NaN, and each node learns to which side they go; infinities count as the largest numbers. Only
    the ratios of weights matter: they are scaled to a mean of one, since xgboost compares their sums with
    `min_child_weight` and `lambda`. (So an integer weight equals repeated rows only up to this regularisation.) With a
    validation sample, training stops when its loss has not fallen for `early_stopping_rounds`, and the trees after the
    best round are dropped. Scores do not depend on `n_jobs` or on the number of rows that are scored at once.

    The defaults are for 1,000 to 1,000,000 events with a validation sample, without tuning. Against a learning rate of
    0.1 and depth 4 without sampling they gained .002 to .003 in AUC on public tables, .03 where a class had 65 rows.

    Args:
        n_estimators: largest number of rounds; each has one tree, or one tree for each class if k > 2.
        max_depth: the largest depth of a tree.
        learning_rate: the factor by which each tree's output is multiplied.
        early_stopping_rounds: None trains all rounds.
        subsample, colsample_bynode: the share of the rows drawn for each tree and of the features for each node.
        parameters: any further parameters of xgboost's trees by name, such as `min_child_weight`.
            `monotone_constraints` may be {feature name or index: -1, 0 or 1} or one number for each feature.
        feature_names: d names for `monotone_constraints` and `interaction_constraints`.
        seed: the seed of row and column sampling.
        n_jobs: number of threads; None: all cores of this process, in training those that no other process keeps busy
            when it begins, and at most one for each 2,000,000 values.
        device: auto, cpu, cuda or cuda:N. With auto the GPU trains if there is one, and the CPU scores; with cuda the
            GPU does both, where there is one.

    Attributes:
        booster_: the xgboost booster, its last round the best one.
        best_iteration_: the best round, counted from 0.
        history_: the log loss of each round, loss and (with validation) validation_loss, and any further `eval_metric`.
    """

    kind = "bdt"

    @property
    def objective(self) -> BoosterObjective:
        """The likelihood of the classes."""
        return of_classes(len(self.classes_))

    def _validation_rows(self, validation: ValidationSet) -> TrainingRows:
        x = validation.x if isinstance(validation.x, LazyMatrix) else np.asarray(validation.x, np.float32)
        classes, label = classes_and_labels(np.asarray(validation.y))
        if (unknown := ~np.isin(classes, self.classes_)).any():
            raise TrainingDataError(
                f"the validation sample has the class {classes[unknown][0]!r}, the training sample has not"
            )
        if len(classes) < len(self.classes_):
            label = np.searchsorted(self.classes_, classes)[label]
        weight = np.asarray(validation.weight, np.float64)
        if len(weight) and weight.min() < 0:
            raise TrainingDataError("the validation sample has negative weights, which xgboost refuses")
        return TrainingRows(x, label, weight)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Returns the margins: (n,) log-odds for two classes, (n, k) for more."""
        margins = self._margins(self._checked(X)).astype(np.float64)
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns class probabilities (n, k); rows sum to 1."""
        return np.asarray(posterior(self._margins(self._checked(X)).astype(np.float64)), np.float64)

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns float32 class probabilities (n, k) of features (n, d), NaN if missing.

        Raises:
            ModelError: X has another number of features than the training sample.
        """
        return np.asarray(posterior(self._margins(np.asarray(X, np.float32)).astype(np.float64)), np.float32)

    def _fitted(self) -> dict[str, Any]:
        fitted = {"best_iteration": self.best_iteration_, "history": json_value(self.history_)}
        return super()._fitted() | fitted


class BoosterScorer:
    """Scores events by leaf tables or by xgboost, whichever is faster for the trees of this booster."""

    def __init__(self, booster: xgboost.Booster) -> None:
        self._booster = booster
        self._on: dict[str, xgboost.Booster] = {}  # device to a copy of the trees there

    @cached_property
    def forest(self) -> Forest | None:
        """The trees as arrays; None if `read_forest` does not support them."""
        return read_forest(json.loads(bytes(self._booster.save_raw("json"))))

    @cached_property
    def tables(self) -> LeafTables | None:
        """The leaf tables; None if xgboost scores the trees."""
        from pidlab.models.bdt.leaf_tables import build_tables

        return build_tables(self.forest) if self.forest is not None and self.forest.has_tables else None

    def margins(self, x: FloatArray, n_threads: int) -> NDArray[np.float32]:
        """Returns the margins (n, m) of float32 features (n, d)."""
        if len(x) == 0:
            return np.empty((0, 1 if self.forest is None else len(self.forest.base)), np.float32)
        if self.tables is not None:
            return self.tables.margins(x, n_threads)
        predict = partial(self._booster.inplace_predict, predict_type="margin", strict_shape=True)
        with _ONE_AT_A_TIME:
            self._booster.set_param({"nthread": n_threads})
            return np.concatenate([predict(x[start : start + _CHUNK]) for start in range(0, len(x), _CHUNK)])

    def margins_on(self, device: str, x: FloatArray, n_threads: int) -> NDArray[np.float32]:
        """Returns the margins (n, m) as `margins` does, computed on a GPU: the same but for rounding."""
        import xgboost

        if len(x) == 0:
            return self.margins(x, n_threads)
        with _ONE_AT_A_TIME:
            if device not in self._on:
                self._on[device] = self._booster.copy()
                self._on[device].set_param({"device": device})
            pieces = (x[start : start + _CHUNK_ON_GPU] for start in range(0, len(x), _CHUNK_ON_GPU))
            matrices = (xgboost.DMatrix(piece, nthread=n_threads) for piece in pieces)
            parts = [self._on[device].predict(each, output_margin=True, strict_shape=True) for each in matrices]
        return np.concatenate(parts)


def _batches(rows: TrainingRows) -> Any:
    """Returns the events as an iterator of xgboost, which reads each block several times."""
    import xgboost

    class Batches(xgboost.DataIter):
        def __init__(self) -> None:
            self.blocks = rows.blocks()
            super().__init__()

        def next(self, input_data: Any) -> bool:
            block = next(self.blocks, None)
            if block is None:
                return False
            x, label, weight = block
            input_data(data=_bounded(x), label=label, weight=weight)
            return True

        def reset(self) -> None:
            self.blocks = rows.blocks()

    return Batches()


def _keeps_loss(settings: Mapping[str, Any]) -> bool:
    """Returns whether the margins of the training sample are at hand after each round, and their log loss is asked."""
    plain = settings["device"] == "cpu" and settings.get("booster", "gbtree") == "gbtree"
    return plain and settings["eval_metric"] == ["logloss"] and settings.get("tree_method", "hist") in ("hist", "auto")


def _training_loss(train: xgboost.DMatrix, rows: TrainingRows) -> Any:
    """Returns a callback that adds the log loss of two classes in training to the history of xgboost.

    xgboost takes 20 nanoseconds an event for it, a quarter of the training with trees of depth 4; here it takes 5, and
    differs by single precision.
    """
    import xgboost

    class Loss(xgboost.callback.TrainingCallback):
        def before_iteration(self, _model: Any, epoch: int, evals_log: Any) -> bool:
            if epoch == 0:  # before the validation sample, since the last one decides when training stops
                evals_log[""] = {"logloss": []}
            return False

        def after_iteration(self, model: Any, _epoch: int, evals_log: Any) -> bool:
            margins, total = model.predict(train, output_margin=True), 0.0
            for part in slices(len(rows), _LOSS_BLOCK):
                wrong = np.where(rows.label[part] == 1, -margins[part], margins[part])
                loss = np.log1p(np.exp(-np.abs(wrong))) + np.maximum(wrong, 0)
                # not as a product of vectors: the threads of BLAS would wait for more on the cores of xgboost's
                total += float((loss * rows.weight[part]).sum())
            evals_log[""]["logloss"].append(total / (rows.mean_weight * len(rows)))
            return False

    return Loss()


def _reporter(progress: Progress, total: int) -> Any:
    """Returns a callback of xgboost that reports at most twenty rounds a second, and each twentieth of all rounds."""
    import xgboost

    class Reporter(xgboost.callback.TrainingCallback):
        reported = 0.0

        def after_iteration(self, _model: Any, epoch: int, evals_log: Any) -> bool:
            is_due = (epoch + 1) * 20 // total > epoch * 20 // total
            if is_due or time.monotonic() - self.reported > _SECONDS_BETWEEN_REPORTS:
                self.reported = time.monotonic()
                losses = {f"{part}loss": float(next(iter(metrics.values()))[-1]) for part, metrics in evals_log.items()}
                progress(epoch + 1, total, losses)
            return False

    return Reporter()


def _bounded(x: FloatArray) -> FloatArray:
    """Returns `x` with infinities replaced by the largest float32, since xgboost refuses them."""
    return np.clip(x, -_LARGEST, _LARGEST) if np.isinf(x).any() else x


def read_booster(path: Path, n_features: int, objective: BoosterObjective) -> xgboost.Booster:
    """Returns the booster in a file, which is checked before xgboost reads it.

    Raises:
        ModelError: the file is missing or damaged.
    """
    import xgboost

    try:
        content = path.read_bytes()
        check_trees(content, n_features, objective)
    except FileNotFoundError:
        raise ModelError(f"{path}: is missing; make the run again") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: holds no whole trees ({error}); make the run again") from error
    booster = xgboost.Booster({"verbosity": 0})
    try:
        booster.load_model(bytearray(content))
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise ModelError(f"{path}: is not a whole xgboost model ({reason_of(error)}); make the run again") from error
    if booster.num_features() != n_features:
        raise ModelError(f"{path}: has {booster.num_features()} features, not {n_features}; make the run again")
    return booster
