"""A band that is right, on a known sample: what figures, files and numbers of bands are tested on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pidlab.evaluate.bands import BandValues
from pidlab.evaluate.results import BandCurve
from pidlab.sample import Sample


def band_values(n: int = 20_000, groups: Sequence[int] = (1, 2), side: str = "both") -> tuple[BandValues, Sample]:
    """A band of mean 2 p and width .5 in group 1, and mean 3 p and width 1 in group 2; pions lie five units lower."""
    rng = np.random.default_rng(5)
    p, group, pion = rng.uniform(1, 4, n), rng.choice(groups, n), rng.random(n) < 0.3
    mean, width = (1 + group) * p, 0.5 * group
    value = mean + width * rng.standard_normal(n) - 5 * pion
    pulls = (value - mean) / width
    value[::50], pulls[::50] = np.nan, np.nan

    def curve(number: int, x: np.ndarray) -> BandCurve:
        m, w = (1 + number) * x[:, 0], np.full(len(x), 0.5 * number)
        return BandCurve(x[:, 0], m, 0.01 * m, w, w, 0.01 * w, 0.01 * w)

    names = {g: f"sector = {g}" for g in groups}
    values = BandValues("dedx", ("p",), side, value, p[:, None], pulls, group, names, curve)
    sample = Sample(
        x=np.zeros((n, 0), np.float32), y=pion.astype(np.int64), weight=np.full(n, 0.5),
        event=np.arange(n, dtype=np.uint64), features=(), classes=("electron", "pion"), signal=0, spectators={},
        columns={}, file=np.zeros(n, np.int32), row=np.arange(n),
    )  # fmt: skip
    return values, sample
