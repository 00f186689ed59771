"""A made sample like the electrons and pions of a spectrometer, in which many candidates have no hit in a layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def without_hits(n: int, seed: int = 1, dark: float = 0.05) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Electrons and pions, n of either, by nine features with long tails, 0 in most of them where a layer has no hit.

    45 % of the pions look like electrons in most respects. A share `dark` of the electrons has no photoelectrons, so a
    cut on those drops that share of the signal at once: .05 is as much as lies between two usual working points.
    """
    rng = np.random.default_rng(seed)
    y = np.repeat([1, 0], n)
    electron = y == 1
    like, size = electron | (rng.random(2 * n) < 0.45), 2 * n
    share = rng.normal(0.25 - 0.012 * ~electron, 0.028, size)
    share = np.where(like, share, np.abs(rng.normal(0.09, 0.05, size)))
    first, second = np.where(like, rng.beta(7, 3, size), rng.beta(2, 2.5, size)), rng.beta(4, 2, size)
    layers = [share * first, share * (1 - first) * second, share * (1 - first) * (1 - second)]
    no_hit = [rng.random(size) < np.where(like, *shares) for shares in ((0.01, 0.1), (0.07, 0.3), (0.3, 0.5))]
    widths = [
        np.exp(rng.normal(np.where(like, 0.8, mean), 0.5) + 0.2 * rng.standard_t(3, size)) for mean in (1.1, 1.0, 0.9)
    ]
    photoelectrons = rng.gamma(np.where(electron, 4, 2.8), np.where(like, 4, 2))
    photoelectrons[rng.random(size) < np.where(electron, dark, np.where(like, 0.12, 0.6))] = 0
    time = np.exp(rng.normal(np.where(electron, 1.0, 1.1), 0.35)) * (rng.random(size) > 0.12)
    delay = 0.08 * rng.standard_t(2, size) + 0.05 * ~electron
    columns = [np.where(none, 0, layer) for none, layer in zip(no_hit * 2, layers + widths, strict=True)]
    return np.stack([*columns, photoelectrons, time, delay], axis=1).astype(np.float32), y
