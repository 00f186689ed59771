"""Networks on shuffled blocks against networks on a full shuffle: the validation loss after each epoch.

    python benchmarks/block_shuffle.py [--events N] [--seeds N]

The events are sorted by class, the worst order that a file can have, and the blocks and buffers are as many as those of
a sample of some twenty million events (buffers of a sixteenth of the sample, 1024 blocks in each). Both kinds of
training see the same validation sample. Printed are the mean loss and AUC over the seeds and their standard error.
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

import numpy as np
from rows import Row, at_most, shown

from pidlab.models.base import ValidationSet
from pidlab.models.mlp import MLP
from pidlab.models.mlp.engine import streamed

D = 12


def events(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns features (n, 12), classes (n,) in order, and weights: two shells and a correlation tell the classes."""
    rng = np.random.default_rng(seed)
    y = np.sort((rng.random(n) < 0.3).astype(np.int8))
    x = rng.standard_normal((n, D)).astype(np.float32)
    x[:, 0] += 0.7 * y
    x[:, 1] *= 1 + 0.3 * y
    x[:, 2] += 0.5 * y * x[:, 3]
    x[:, 4] += 0.4 * y * np.sign(x[:, 5])
    return x, y, rng.random(n) + 0.5


def histories(n: int, seeds: int, blocks: bool) -> np.ndarray:
    """Returns (seeds, epochs, 2) the validation loss and AUC after each epoch."""
    x, y, weight = events(n, 1)
    validation = ValidationSet(*events(n // 4, 2))
    found = []
    for seed in range(seeds):
        model = MLP(hidden=[32, 32], batch_size=256, epochs=8, learning_rate=5e-3, members=1, patience=100, seed=seed)
        few = patch.multiple(streamed, _BUFFER=n // 16, _BLOCK=max(1, n // 16 // 1024))
        with few, patch("pidlab.models.mlp.engine.training.LARGEST_TABLE", 0 if blocks else 1 << 60):
            model.fit(x, y, weight, validation=validation)
        found.append([model.history_["validation_loss"], model.history_["validation_auc"]])
    return np.array(found).transpose(0, 2, 1)


def rows(n: int, seeds: int) -> list[Row]:
    """Returns the difference of both kinds of training after each epoch, and whether it is within three errors."""
    blocks, full = (histories(n, seeds, kind) for kind in (True, False))
    result = []
    for epoch in range(blocks.shape[1]):
        for j, name in enumerate(("loss", "AUC")):
            a, b = blocks[:, epoch, j], full[:, epoch, j]
            error = float(np.hypot(a.std(ddof=1), b.std(ddof=1)) / np.sqrt(seeds))
            detail = f"blocks {a.mean():.5f}, full shuffle {b.mean():.5f}, error of the difference {error:.5f}"
            result.append(shown(f"validation {name}, epoch {epoch + 1}, blocks - full", a.mean() - b.mean(), detail))
            if epoch == blocks.shape[1] - 1:
                result.append(at_most(f"the same in errors ({name}, last epoch)", abs(a.mean() - b.mean()) / error, 3))
    return result


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=6)
    options = parser.parse_args()
    for row in rows(options.events, options.seeds):
        print(row)


if __name__ == "__main__":
    main()
