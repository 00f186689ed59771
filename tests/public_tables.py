"""The public tables that tests run on everywhere: MAGIC, fetched from its repository, and TMVA's toy, made by code.

MAGIC: R. Bock, MAGIC Gamma Telescope, UCI Machine Learning Repository (2004), doi:10.24432/C52C8B, licence CC BY 4.0.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import uproot
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

MAGIC_ADDRESS = "https://archive.ics.uci.edu/static/public/159/magic+gamma+telescope.zip"
MAGIC_FILE = "magic04.data"
# of the 19,020 lines joined by "\n", so that an archive packed anew, or line ends of another system, are the same table
MAGIC_SHA256 = "042bcf99730d7e53b60e998fe2f2474b08dcb049672113bf2d79f06d1bfd846c"


def fetch_magic(path: Path, address: str = MAGIC_ADDRESS) -> Path:
    """Writes the table to `path`, unless it is there.

    Raises:
        OSError: the network does not offer the archive.
        ValueError: what came is not the table that the tests' expectations belong to.
    """
    if path.is_file():
        return path
    with urllib.request.urlopen(address, timeout=20) as answer:
        packed = answer.read()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        lines = archive.read(MAGIC_FILE).decode("ascii").split()
    found = digest(lines)
    if found != MAGIC_SHA256:
        raise ValueError(f"{address}: {MAGIC_FILE} has SHA-256 {found}, the table known here has {MAGIC_SHA256}")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two workers may fetch at the same time: each writes a file of its own and renames it when it is whole.
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write("\n".join(lines) + "\n")
    Path(temporary).replace(path)
    return path


def digest(lines: list[str]) -> str:
    """The SHA-256 of a text, whatever ends its lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


# Means, widths and correlations of TMVA's classification example; its background has two lobes, along LOBE.
FEATURES = ["var1", "var2", "var3", "var4"]
SIGNAL_MEAN = np.array([0.18, 0.28, 0.38, 0.77])
SIGNAL_WIDTH = np.array([0.99, 1.00, 0.99, 1.08])
SIGNAL_CORRELATION = np.array(
    [[1, 0.39, 0.59, 0.81], [0.39, 1, 0.69, 0.73], [0.59, 0.69, 1, 0.85], [0.81, 0.73, 0.85, 1]]
)
BACKGROUND_MEAN = np.array([-0.15, -0.26, -0.36, -0.44])
BACKGROUND_WIDTH = np.array([2.13, 1.95, 2.18, 2.73])
BACKGROUND_CORRELATION = np.array(
    [[1, 0.85, 0.91, 0.96], [0.85, 1, 0.92, 0.935], [0.91, 0.92, 1, 0.97], [0.96, 0.935, 0.97, 1]]
)
LOBE = np.array([1.80, 1.60, 1.85, 2.38])


def _covariances() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    signal = SIGNAL_CORRELATION * np.outer(SIGNAL_WIDTH, SIGNAL_WIDTH)
    # each lobe has what the distance of the two leaves of the whole background's covariance
    lobe = BACKGROUND_CORRELATION * np.outer(BACKGROUND_WIDTH, BACKGROUND_WIDTH) - np.outer(LOBE, LOBE)
    return signal, lobe


def log_likelihood_ratio(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exact logarithm of signal's density over background's at each x (n, 4): no classifier does better."""
    signal, lobe = _covariances()
    lobes = [multivariate_normal(BACKGROUND_MEAN + sign * LOBE, lobe).logpdf(x) for sign in (-1, 1)]
    return multivariate_normal(SIGNAL_MEAN, signal).logpdf(x) - np.logaddexp(*lobes) + np.log(2)


def write_tmva_toy(path: Path, n: int = 6000, seed: int = 1) -> Path:
    """A file with the trees and branches of TMVA's classification example, `n` events a class, and `llr`.

    `weight` exists in TreeB only, as it does there: read as one table, its NaN would tell the class.
    """
    rng = np.random.default_rng(seed)
    signal, lobe = _covariances()
    centre = BACKGROUND_MEAN + rng.choice([-1.0, 1.0], (n, 1)) * LOBE
    x = {
        "TreeS": rng.multivariate_normal(SIGNAL_MEAN, signal, n),
        "TreeB": centre + rng.multivariate_normal(np.zeros(4), lobe, n),
    }
    with uproot.recreate(path) as file:
        for tree, values in x.items():
            columns = {name: values[:, i].astype("f4") for i, name in enumerate(FEATURES)}
            columns["llr"] = log_likelihood_ratio(values).astype("f4")
            if tree == "TreeB":
                columns["weight"] = (1.25 * rng.beta(0.6, 1.5, n)).astype("f4")  # from 0 to 1.25, its mean .36
            file.mktree(tree, {name: column.dtype for name, column in columns.items()}).extend(columns)
    return path
