"""Explaining a model: what each feature is worth to it, by shuffling and by contributions; its trees and its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.explaining.partial_dependence import measure_dependence, most_important
from pidlab.evaluate.histograms import histograms_by_class, robust_edges
from pidlab.evaluate.pairs import rounded
from pidlab.evaluate.results import (
    Explained,
    Histogram,
    Importance,
    PartialDependence,
    RegressionImportance,
    TreeNode,
)
from pidlab.evaluate.robustness import reduced
from pidlab.models.categories import CategoryModel
from pidlab.models.fold import FoldModel, HasReference, Scores
from pidlab.models.model import Model
from pidlab.preprocess.features import expression_values_changed
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample
from pidlab.split import Keys, fold_of

# The contributions of one candidate take as long as hundreds of scores: with 1000 trees of depth 6 this many take 4 s.
N_EXPLAINED = 500
_N_TREES = 3
_DEEPEST = 3  # splits; eight leaves side by side can be read


@runtime_checkable
class _HasContributions(Protocol):
    """An estimator whose margins are sums of contributions: trees, which are imported only when used, or linear."""

    def contributions(self, X: Any) -> NDArray[np.float32]: ...


ImportanceT = TypeVar("ImportanceT", Importance, RegressionImportance)


class Explanation(NamedTuple, Generic[ImportanceT]):
    """The importance of the features of a model, their contributions (None if it has none), and the dependence on
    them."""

    importance: ImportanceT
    contributions: Explained | None
    dependence: tuple[PartialDependence, ...]


def explained(
    model: Model, sample: Sample, measure: Callable[..., ImportanceT], *, seed: int, few: Sample | None = None
) -> Explanation[ImportanceT]:
    """Returns what each feature is worth to a model on the test sample, what it contributes, and how the score, or the
    prediction of a regression, goes with the most important ones.

    Args:
        model: the model.
        sample: the test sample.
        measure: `measure_importance` with the result of the model, or `measure_residual_importance`.
        seed: decides the shuffles, and which candidates are explained and have a curve of their own.
        few: the candidates that are explained, if they are not to be chosen among those of `sample`.
    """
    score, found = scorer(model), contributions(model, reduced(sample, seed, N_EXPLAINED) if few is None else few)
    importance = measure(score, sample, seed=seed, contributions=found)
    dependence = measure_dependence(score, sample, most_important(importance), seed=seed)
    return Explanation(importance, _contribution_table(found), dependence)


def _contribution_table(found: tuple[FloatArray, Sample] | None) -> Explained | None:
    if found is None:
        return None
    parts, some = found
    values = some.x[:, : len(some.features)]  # without the conditions of categories
    return Explained(some.features, some.y.astype(np.int64), rounded(values), rounded(parts))


def scorer(model: Model) -> Callable[[Sample], Scores]:
    """Returns the model as a function of a sample whose features were changed.

    Models that the configuration states as expressions see the change of every feature that is a branch.
    """

    def score(sample: Sample) -> Scores:
        if model.fitted:
            return model.scores(sample)
        return model.scores(replace(sample, columns=expression_values_changed(model.recipe, sample)))

    return score


def first_trees(model: Model) -> tuple[tuple[str, tuple[TreeNode, ...]], ...]:
    """Returns the first three trees of a model, no deeper than three splits; with folds those of the first fold model,
    with categories those of the first category.

    Each comes with the class to whose margin it adds. It is empty for a model that has no trees to look at.
    """
    if not model.fitted:
        return ()
    fitted, classes = model.first, model.recipe.classes
    config = model.recipe.loaded.config
    names = [*(model.recipe.features[column][0].name for column in fitted.columns), *config.band_features]
    found = []
    for margin, nodes in fitted.estimator.first_trees(_N_TREES, _DEEPEST):
        named = [{**node, "feature": "" if node["feature"] < 0 else names[node["feature"]]} for node in nodes]
        found.append((classes[1 if len(classes) == 2 else margin], tuple(TreeNode(**node) for node in named)))
    return tuple(found)


def scaled_inputs(models: Iterable[Model], sample: Sample) -> dict[str, dict[str, Histogram]]:
    """Returns the histogram of each feature by class as the first model with scaled features sees it.

    With folds, a candidate is scaled by the model that never saw it. Empty if no model scales its features.
    """
    model = next((m for m in models if m.fitted and m.first.scaler is not None), None)
    if model is None or model.recipe.loaded.config.scaling == "none":
        return {}
    pieces, found = list(_pieces(model, sample)), {}
    for j, column in enumerate(model.first.columns):  # one at a time, because all of them would be a copy of the sample
        x = np.full(len(sample), np.nan)
        for rows, fitted in pieces:
            if fitted.scaler is not None:
                x[rows] = fitted.scaler.column(j, sample.x[rows, fitted.columns[j]])
        found[sample.features[column]] = histograms_by_class(x, sample, robust_edges(x))
    return found


def _pieces(model: Model, sample: Sample) -> Iterator[tuple[IntArray, FoldModel]]:
    """Yields rows of a sample with the fold model that never saw them, or with that of their category in it."""
    folds = np.zeros(len(sample), np.int8)
    if model.fold_seed is not None:
        folds = fold_of(sample.event, len(model.fitted), model.fold_seed)
    for i, fitted in enumerate(model.fitted):
        rows = np.flatnonzero(folds == i)
        yield from ((rows[some], part) for some, part in _categories(fitted, sample.x[rows]))


def _categories(fitted: FoldModel | CategoryModel, x: FloatArray) -> Iterator[tuple[IntArray, FoldModel]]:
    """Yields rows (n, d + c) of a sample with the model of their category, or all with the model if it has none."""
    if isinstance(fitted, FoldModel):
        yield np.arange(len(x)), fitted
    else:
        yield from ((rows, category.model) for rows, category in fitted.parts(x))


class Contributions(NamedTuple):
    """What d features contribute to the signal's margin of n candidates.

    Attributes:
        parts: (n, d) contributions.
        reference: (n,) the margin from which they count; with the parts it sums to the margin.
    """

    parts: FloatArray
    reference: FloatArray


def contributions(model: Model, sample: Sample) -> tuple[FloatArray, Sample] | None:
    """Returns (n, d) contributions to the signal's margin, before any calibration, and their candidates.

    They are those of `contributions_of`, but those of linear models count from the mean of the candidates. Returns None
    if the model has no contributions or the sample no candidates.
    """
    if not len(sample) or not has_contributions(model):
        return None
    found = _contributions(model, sample.x, sample.event, None, sample.signal, from_mean=True)
    return found.parts[:, : len(sample.features)], sample


def contributions_of(
    model: Model, x: FloatArray, event: Keys | None = None, known: BoolArray | None = None
) -> Contributions | None:
    """Returns what each feature contributes to the signal's margin of rows of any file, before any calibration.

    A margin is the log-odds of the signal: of two classes that before the logistic function; of more classes the
    signal's own margin before the softmax, except for networks, which have the log-odds against all other classes.
    Contributions of trees are exact and count from the mean margin in training. Those of linear models are exact, and
    those of networks are integrated gradients; both count from the middle of the classes' medians of each feature in
    training, with no value missing, or from the median of all events in runs of older versions.

    With folds, a row is explained by the model that never saw its event, or by the mean over all fold models; with
    categories by the model of its category, and it is NaN in none. A feature that the model does not read contributes
    0; what a number of sigmas contributes belongs to the variable of its band, and what the absence of a value
    contributes to its feature. Arguments are as in `Model.scores_of`.

    Returns:
        None if the model has no contributions.
    """
    if not has_contributions(model):
        return None
    return _contributions(model, x, event, known, model.recipe.signal, from_mean=False)


def has_contributions(model: Model) -> bool:
    """Returns whether the margins of a model can be taken apart into contributions of its features."""
    fitted = [part for each in model.fitted for part in each.models]
    return bool(fitted) and all(isinstance(f.estimator, _HasContributions | HasReference) for f in fitted)


def columns_read(model: Model) -> list[int]:
    """Returns the features that a model reads, by their columns in a sample; those of bands are their variables."""
    fitted = [part for each in model.fitted for part in each.models]
    of_bands = [band.columns[output] for f in fitted for band, output in f.band_columns]
    return sorted({*(column for f in fitted for column in f.columns), *of_bands})


def reference_in_words(model: Model) -> str:
    """Returns what has the margin from which `contributions_of` count."""
    first = model.first
    if not isinstance(first.estimator, HasReference):
        return "the mean of training"
    of_medians = first.reference is None or model.recipe.target is not None
    return "the median event of training" if of_medians else "the middle of the classes"


def _contributions(
    model: Model, x: FloatArray, event: Keys | None, known: BoolArray | None, signal: int, *, from_mean: bool
) -> Contributions:
    def numbers(fitted: FoldModel | CategoryModel, rows: FloatArray) -> NDArray[np.float32]:
        result = np.full((len(rows), x.shape[1] + 1), np.nan, np.float32)
        for some, part in _categories(fitted, rows):
            result[some] = _of_fold_model(part, rows[some], signal, from_mean=from_mean)
        return result

    found = model.by_fold(numbers, x, event, known).astype(np.float64)
    return Contributions(found[:, :-1], found[:, -1])


def _reference(fitted: FoldModel) -> FloatArray | None:
    """Returns the (d,) scaled inputs from which contributions count; None if only the estimator knows medians."""
    if fitted.reference is not None:
        return np.array(fitted.reference)
    if fitted.scaler is None:
        return None
    # The scaler of a run of an older version keeps the medians of all classes together.
    return np.asarray(fitted.scaler.transform(fitted.scaler.fill[None])[0])


def _of_fold_model(fitted: FoldModel, x: FloatArray, signal: int, *, from_mean: bool) -> FloatArray:
    """Returns (n, d + c + 1): what each column (n, d + c) of a sample contributes, and the margin of the reference."""
    estimator, scaler, inputs = fitted.estimator, fitted.scaler, fitted.inputs(x)
    columns = [*fitted.columns, *(band.columns[output] for band, output in fitted.band_columns)]
    scaled = inputs if scaler is None else scaler.transform(inputs)
    if isinstance(estimator, HasReference) and not (from_mean and isinstance(estimator, _HasContributions)):
        parts = estimator.contributions_from(scaled, _reference(fitted))
    else:
        assert isinstance(estimator, _HasContributions)
        parts = estimator.contributions(scaled)
    if scaler is not None:  # what the absence of a value contributes belongs to its feature
        for i_column, feature in enumerate(scaler.indicators):
            parts[:, :, feature] += parts[:, :, len(columns) + i_column]
    # The margin of two classes is the log-odds of the second.
    is_second = signal == 1 or len(estimator.classes_) == 1  # a regression has one class, and its prediction for margin
    own = parts[:, signal] if parts.shape[1] > 1 else parts[:, 0] * (1 if is_second else -1)
    result = np.zeros((len(x), x.shape[1] + 1))
    for j, column in enumerate(columns):
        result[:, column] += own[:, j]
    result[:, -1] = own[:, -1]
    return result
