"""What a reader of the numbers of an imported model must know."""

from __future__ import annotations

import numpy as np

from pidlab.evaluate.ranking import auc
from pidlab.models.base import Classifier
from pidlab.models.external.columns import Columns
from pidlab.models.external.loading import UNKNOWN_TRAINING
from pidlab.sample import Sample

_N_SCORED = 20_000  # training events, for the notes


def notes_of(columns: Columns, model: Classifier, train: Sample) -> tuple[str, ...]:
    """Returns sentences about an imported model for the reader of its numbers; some of `train` is scored for them.

    Raises:
        ModelError: the model cannot score these events.
    """
    rows = np.linspace(0, len(train) - 1, min(len(train), _N_SCORED)).astype(np.int64)
    score = model.scores(train.x[rows][:, list(columns)])[:, train.signal]
    known = ~np.isnan(score)
    notes = [UNKNOWN_TRAINING]
    if known.any() and not known.all() and np.isnan(train.x[rows]).any():
        notes.append(
            f"It has no score for {1 - known.mean():.1%} of the training events; if it was trained with a number for "
            "missing values, say which: missing: VALUE."
        )
    area = auc(score[known], train.is_signal[rows][known], np.ones(known.sum())).value
    if area < 0.5:  # not if it is NaN for want of a class
        notes.append(
            f"It ranks the signal below the rest (AUC {area:.3f} on training events): are its columns, or its signal, "
            "of another class, or its features in another order?"
        )
    return tuple(notes)
