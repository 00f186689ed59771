"""The link: from the margins of a model to class probabilities."""

from __future__ import annotations

import numpy as np

from pidlab.sample import FloatArray


def posterior(margins: FloatArray) -> FloatArray:
    """Returns (n, k) class probabilities of margins, in the type of the margins.

    (n, 1) margins are the log-odds of the second of two classes. Each class takes the logistic function of its own
    log-odds, so that small probabilities of both keep their precision. (n, k) margins go through a softmax.
    """
    if margins.shape[1] == 1:
        small = np.exp(-np.abs(margins))
        total = 1 + small
        return np.asarray(np.where((margins < 0) == [[True, False]], 1 / total, small / total))
    powers = np.exp(margins - margins.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
