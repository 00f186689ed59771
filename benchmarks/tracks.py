"""Bands and likelihoods on the `tracks` sample, whose truth is known: time on a million tracks, and how exact they are.

    python benchmarks/tracks.py [--only NAME] [--json FILE]

Times are CPU seconds of the whole process, so threads do not help; compiled code is compiled before. One million tracks
of four species are fitted, and scored again. Exactness is measured on 500,000 others:

- **likelihood**: the AUC of log L(one) - log L(other) against that of the exact likelihood ratio, for all tracks and in
  four bins of momentum, with all detectors and with one left out. The model knows the measurements and p; the exact
  ratio knows eta, the sector and the numbers of samples too, which are worth up to .0003 here.
- **posterior**: the share of a species in twenty slices of its probability against the mean probability, in standard
  errors.
- **band**: mean and width at 20 momenta against those of the core, in the standard errors that the band states and in
  widths, with 0, 10 and 50 others (electrons, kaons, protons as abundant) for every 100 pions in the sample that it is
  told is pions; the widths of the pulls of the
  core, and the share of pions within three widths against that of the exact band.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rows import Part, Row, at_least, at_most, measure, shown
from scipy.special import softmax
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from pidlab.models.band import Band
from pidlab.models.likelihood import Likelihood
from pidlab.simulate import SAMPLES, tracks_core, tracks_log_likelihoods

N_TRACKS, N_TEST = 1_000_000, 500_000
ELECTRON, PION, KAON, PROTON = range(4)
SPECIES = ("electron", "pion", "kaon", "proton")
PAIRS = ((PION, KAON), (KAON, PROTON), (ELECTRON, PION))
MOMENTUM_BINS = (0.2, 0.5, 1.0, 2.0, 5.0)
DETECTORS = {"tpc": "tpc_dedx", "its": "its_dedx", "tof": "tof_beta"}
CLOSE, BAND_SECONDS, LIKELIHOOD_SECONDS, TRACKS_PER_SECOND = 0.002, 2.0, 10.0, 2e6

Branches = dict[str, NDArray[Any]]
Floats = NDArray[np.float32]


def tracks(seed: int, n_tracks: int = N_TRACKS) -> Branches:
    """The branches of a sample; `tof_beta` is NaN for tracks that do not reach the time of flight."""
    blocks = [dict(block.branches) for block in SAMPLES["tracks"].blocks(n_tracks, seed)]
    branches = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    branches["tof_beta"] = np.where(branches["has_tof"], branches["tof_beta"], np.float32(np.nan))
    return branches


def columns(branches: Branches, names: list[str]) -> Floats:
    """X (n, d) of the named branches."""
    return np.stack([branches[name] for name in names], axis=1).astype(np.float32)


class Timed(NamedTuple):
    """A result and the CPU seconds that it took."""

    value: Any
    seconds: float


def timed(work: Callable[[], Any]) -> Timed:
    """Does the work once."""
    start = time.process_time()
    value = work()
    return Timed(value, time.process_time() - start)


# --- time


def likelihood(names: dict[str, str] = DETECTORS, **options: Any) -> Likelihood:
    """A likelihood of these detectors along the momentum, for X of their branches and p."""
    detectors = {detector: [branch] for detector, branch in names.items()}
    return Likelihood(
        detectors=detectors,
        against="p",
        feature_names=[*names.values(), "p"],
        class_names=SPECIES,
        signal=PION,
        **options,
    )


def speed() -> Iterator[Row]:
    """Rows: CPU seconds of the fits, and tracks scored a CPU second."""
    sample, few = tracks(1), tracks(2, 20_000)
    contenders: list[tuple[str, Callable[[], Any], list[str], NDArray[Any], float]] = [
        (
            "band of tpc_dedx against p",
            lambda: Band(variables=["tpc_dedx"], against=["p"], signal=1),
            ["tpc_dedx", "p"],
            (sample["species"] == PION).astype(int),
            BAND_SECONDS,
        ),
        (
            "likelihood of 4 species in 3 detectors",
            likelihood,
            [*DETECTORS.values(), "p"],
            sample["species"],
            LIKELIHOOD_SECONDS,
        ),
    ]
    for name, new, branches, y, seconds in contenders:
        warm = new().fit(columns(few, branches), y[: len(few["p"])])  # compiles, or loads what was compiled
        warm.scores(columns(few, branches)[:100])
        x = columns(sample, branches)
        fit = timed(lambda new=new, x=x, y=y: new().fit(x, y))  # type: ignore[misc]
        yield at_most(f"{name}: fit of a million tracks, CPU s", fit.seconds, seconds)
        scored = timed(lambda fit=fit, x=x: fit.value.scores(x))  # type: ignore[misc]
        yield at_least(f"{name}: tracks scored a CPU second", len(x) / scored.seconds, TRACKS_PER_SECOND)


# --- likelihood


def auc(log_likelihoods: NDArray[np.floating[Any]], species: NDArray[Any], one: int, other: int) -> float:
    """AUC of the ratio of two columns (n, 4) between their species."""
    pair = (species == one) | (species == other)
    return float(roc_auc_score(species[pair] == one, (log_likelihoods[:, one] - log_likelihoods[:, other])[pair]))


def log_probabilities(model: Likelihood, x: Floats) -> NDArray[np.float64]:
    """Logarithms of the class probabilities, up to a constant for each track: of L with equal priors."""
    against_pion = np.asarray(model.outputs(x), np.float64)  # log L_pion - log L_other, of the other three in order
    result = np.zeros((len(x), len(SPECIES)))
    result[:, [ELECTRON, KAON, PROTON]] = -against_pion
    return result


def exactness() -> Iterator[Row]:
    """Rows: the AUC of the likelihood less that of the exact ratio, everywhere, in bins, and without each detector."""
    sample, test = tracks(3), tracks(4, N_TEST)
    exact = tracks_log_likelihoods(test)
    species, p = test["species"], test["p"]
    bins = {f"{low:g}-{high:g} GeV": (p >= low) & (p < high) for low, high in itertools.pairwise(MOMENTUM_BINS)}
    for left_out in (None, *DETECTORS):
        used = {name: branch for name, branch in DETECTORS.items() if name != left_out}
        names = [*used.values(), "p"]
        model = likelihood(used).fit(columns(sample, names), sample["species"])
        found, truth = log_probabilities(model, columns(test, names)), sum(exact[name] for name in used)
        for one, other in PAIRS:
            for label, here in {"all momenta": np.ones(len(p), bool), **(bins if left_out is None else {})}.items():
                best, ours = (auc(values[here], species[here], one, other) for values in (truth, found))
                without = f", without {left_out}" if left_out else ""
                name = f"likelihood {SPECIES[one]}/{SPECIES[other]}{without}, {label}: exact AUC less ours"
                yield at_most(name, best - ours, CLOSE, f"exact {best:.5f}, ours {ours:.5f}")


def calibration() -> Iterator[Row]:
    """Rows: how far shares of species are from their probabilities, in standard errors."""
    sample, test = tracks(3), tracks(5, N_TEST)
    names = [*DETECTORS.values(), "p"]
    model = likelihood(priors="sample").fit(columns(sample, names), sample["species"])
    probability = np.asarray(model.predict_proba(columns(test, names)))
    abundance = np.bincount(sample["species"]) / len(sample["species"])
    exact = softmax(sum(tracks_log_likelihoods(test).values()) + np.log(abundance), axis=1)
    for i, name in enumerate(SPECIES):
        (pulls, shifts), (of_exact, _) = (deviations(p[:, i], test["species"] == i) for p in (probability, exact))
        detail = f"the exact posterior: {np.sqrt(np.mean(of_exact**2)):.2f}; largest shift {np.abs(shifts).max():.5f}"
        yield shown(
            f"posterior of {name}: root mean square deviation, standard errors", np.sqrt(np.mean(pulls**2)), detail
        )


def deviations(
    probability: NDArray[Any], is_species: NDArray[np.bool_], slices: int = 20
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Share less mean probability in slices of the probability that hold some of both, in standard errors and as is."""
    pulls, shifts = [], []
    inside = np.flatnonzero((probability > 0.001) & (probability < 0.999))
    for rows in np.array_split(inside[np.argsort(probability[inside])], slices):
        expected = probability[rows]
        shift = np.mean(is_species[rows]) - np.mean(expected)
        pulls.append(shift / np.sqrt(np.mean(expected * (1 - expected)) / len(rows)))
        shifts.append(shift)
    return np.array(pulls), np.array(shifts)


# --- band


def contaminated(sample: Branches, share: float) -> NDArray[np.int64]:
    """Labels (n,), 1 for pions and for so many others that there are `share` of them for each pion."""
    label = (sample["species"] == PION).astype(np.int64)
    others = np.flatnonzero(sample["species"] != PION)
    label[np.random.default_rng(1).choice(others, round(share * label.sum()), replace=False)] = 1
    return label


def bands() -> Iterator[Row]:
    """Rows: deviations of mean and width from the truth, and what lies within three widths."""
    sample, test = tracks(6), tracks(7, N_TEST)
    momenta = np.geomspace(0.2, 5, 41)[1::2]  # the centres of 20 bins
    for detector, share in (
        ("tpc", 0.0),
        ("tpc", 0.1),
        ("tpc", 0.5),
        ("its", 0.0),
        ("its", 0.1),
        ("tof", 0.0),
        ("tof", 0.1),
    ):
        branch = DETECTORS[detector]
        label, good = contaminated(sample, share), np.isfinite(sample[branch])
        band = Band(variables=[branch], against=["p"], signal=1).fit(columns(sample, [branch, "p"])[good], label[good])
        where = momenta if detector != "tof" else momenta[momenta > 0.4]
        mean, width = tracks_core(detector, PION, where)
        side = "low" if detector != "tof" else "high"
        for what, found, error, truth in (
            ("mean", band.mean(0, 0, where), band.mean_error(0, 0, where), mean),
            ("width", band.width(0, 0, where, side), band.width_error(0, 0, where, side), width),
        ):
            pull, shift = (found - truth) / error, np.abs(found - truth) / width
            worst = int(np.argmax(np.abs(pull)))
            detail = (
                f"rms {np.sqrt(np.mean(pull**2)):.2f} errors, largest {np.abs(pull[worst]):.1f} or {shift[worst]:.4f}"
            )
            detail += f" widths at {where[worst]:.2f} GeV"
            name = f"band {detector}, {100 * share:.0f} others to 100 pions: {len(where)} {what}s within 2 errors"
            yield at_least(name, float(np.mean(np.abs(pull) < 2)), 0.95, detail)
        yield from _pulls(detector, band, test)


def _pulls(detector: str, band: Band, test: Branches) -> Iterator[Row]:
    branch = DETECTORS[detector]
    pion = (test["species"] == PION) & np.isfinite(test[branch]) & (test["p"] > (0.4 if detector == "tof" else 0.2))
    x, p = test[branch][pion].astype(float), test["p"][pion].astype(float)
    counts = {"tpc": test["tpc_n"], "its": test["its_n"], "tof": None}[detector]
    mean, width = tracks_core(
        detector,
        PION,
        p,
        eta=test["eta"][pion],
        n=None if counts is None else counts[pion],
        sector=test["sector"][pion],
    )
    pull = np.asarray(band.outputs(columns(test, [branch, "p"])[pion]), float)[:, 0]
    core = np.abs(pull) < 1
    expected = np.sqrt(1 - 2 * norm.pdf(1) / (norm.cdf(1) - norm.cdf(-1)))
    within, exact = float(np.mean(np.abs(pull) < 3)), float(np.mean(np.abs((x - mean) / width) < 3))
    yield at_most(
        f"band {branch}: pulls' width less 1", abs(float(np.std(pull[core])) / expected - 1), 0.02, "of those within 1"
    )
    yield at_most(
        f"band {branch}: share within 3 widths less the exact band's",
        abs(within - exact),
        0.002,
        f"{within:.4f}, {exact:.4f}",
    )


PARTS: dict[str, Part] = {"speed": speed, "likelihood": exactness, "posterior": calibration, "band": bands}


if __name__ == "__main__":
    measure(__doc__, PARTS)
