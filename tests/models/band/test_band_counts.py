"""The density of another class about a band is that of many more of its events."""

from __future__ import annotations

import numpy as np

from pidlab.models.band.counts import binned, placed
from pidlab.models.band.curves import Array, spline_basis
from pidlab.models.band.shapes import BandSample
from pidlab.models.band.start import first_band, inner_edges, rough_band
from pidlab.simulate import SAMPLES
from pidlab.simulate.tracks import SPECIES


def chamber(n: int, seed: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Momenta (n, 1) and energy losses (n,) of pions, and of electrons, kaons and protons together."""
    blocks = [block.branches for block in SAMPLES["tracks"].blocks(n, seed)]
    p, loss, species = (
        np.concatenate([block[name] for block in blocks]).astype(np.float64) for name in ("p", "tpc_dedx", "species")
    )
    pion = species == SPECIES.index("pion")
    return (p[pion, None], loss[pion]), (p[~pion, None], loss[~pion])


def test_the_density_of_three_species_keeps_its_shape_about_a_band_narrower_than_their_own() -> None:
    """Their own band is seven times wider than that of pions at .2 GeV; densities were blurred by a part of it."""
    (x, y), (other_x, other_y) = chamber(60_000, 20003)
    sample = BandSample(x, y, np.ones(len(y)), ((other_x, other_y, np.ones(len(other_y))),))
    band = first_band(sample, spline_basis(x, [28]))
    found = binned(placed(sample, [rough_band(sample.others[0])]), band)
    (other,) = found.others
    n_bins = len(found.x)
    _, (many_x, many_y) = chamber(600_000, 1)
    slot = np.searchsorted(inner_edges(x[:, 0], n_bins), many_x[:, 0], side="right")
    distance = band.curves(1.0).distances(many_y, many_x)
    counts = np.histogram2d(slot, distance, bins=(np.arange(n_bins + 1) - 0.5, found.edges))[0]
    n = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    expected = counts / n
    pulls = (other.density - expected) / np.sqrt(other.variance + expected / n)
    lower = slice(0, n_bins // 2)  # below 1 GeV, where the species are far apart
    seen = counts[lower] > 20
    # neighbouring cells are correlated, so that 319 of them have a root mean square of 1 with an error of about .05
    assert seen.sum() > 300
    assert np.sqrt(np.mean(pulls[lower][seen] ** 2)) < 1.1
