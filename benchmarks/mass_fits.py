"""How often the intervals of fitted yields hold the truth, what the goodness of fit tells, and what a fit costs.

    python benchmarks/mass_fits.py [--toys N] [--markdown FILE]
    python benchmarks/mass_fits.py --pairs [--toys N] [--sizes 200+500 1000+4000] [--of SIGNAL,BACKGROUND ...]

Each toy has a Poisson number of signal candidates, in a peak of a twentieth of the range's width, over an exponential
background, and is fitted by the model that it was drawn from and by wrong backgrounds. Intervals are nominally 68.3 %.
The bias is in units of the error; the last column is the share of the toys in which the fit is said not to describe the
mass (p < 0.01), which should be 0.01 for the right model. sWeights are compared with the truth by the share of signal
below the median of a control variable that is distributed otherwise in the background: its pull is that of a sum of
weights, first with the sum of squared weights as its variance, then with the error of the fitted shapes by replicas.

With --pairs each shape of a signal stands over each shape of a background, and only the yields are looked at.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from pidlab.datadriven.massfit import Component, fit, shape_of
from pidlab.datadriven.sweights.replicas import weight_replicas, weight_sum
from pidlab.datadriven.sweights.weights import sweights

LOW, HIGH = 5.1, 5.5
SLOPE = -3.0
MODELS = {
    "gauss, exponential": ("gauss", [5.28, 0.02], "exponential"),
    "double_gauss, exponential": ("double_gauss", [5.28, 0.015, 2.5, 0.7], "exponential"),
    "student, exponential": ("student", [5.28, 0.02, 4.0], "exponential"),
    "gauss, chebyshev:2 (nearly right)": ("gauss", [5.28, 0.02], "chebyshev:2"),
    "gauss, uniform (wrong)": ("gauss", [5.28, 0.02], "uniform"),
}
SIZES = ((200, 500), (1000, 4000), (5000, 45_000))

SIGNALS = {
    "gauss": [5.28, 0.02],
    "double_gauss": [5.28, 0.015, 2.5, 0.7],
    "bifurcated_gauss": [5.28, 0.02, 0.03],
    "crystal_ball": [5.28, 0.02, 1.5, 3.0],
    "double_crystal_ball": [5.28, 0.02, 1.5, 3.0, 1.8, 4.0],
    "student": [5.28, 0.02, 4.0],
    "voigt": [5.28, 0.015, 0.02],
}
BACKGROUNDS = {
    "exponential": [SLOPE],
    "chebyshev:2": [-0.5, 0.1],
    "argus": [1.0, HIGH],
    "cms_shape": [5.18, 15.0, 5.0],
    "uniform": [],
}


def drawn(name: str, parameters: list[float], n: int, rng: np.random.Generator) -> np.ndarray:
    """Masses (n,) of a shape, by the inverse of its cumulative distribution."""
    x = np.linspace(LOW, HIGH, 20_001)
    return np.interp(rng.random(n), shape_of(name).cdf(x, parameters, LOW, HIGH), x)


def row(title: str, n_signal: int, n_background: int, n_toys: int) -> str:
    """One line of the table."""
    signal, parameters, background = MODELS[title]
    components = {"signal": Component(signal), "background": Component(background)}
    held = np.zeros(2)
    pulls, shares, n_failed, n_poor = [], [], 0, 0
    start = time.process_time()
    for seed in range(n_toys):
        rng = np.random.default_rng(seed)
        n_s, n_b = rng.poisson(n_signal), rng.poisson(n_background)
        mass = np.concatenate([drawn(signal, parameters, n_s, rng), drawn("exponential", [SLOPE], n_b, rng)])
        control = np.concatenate([rng.normal(0, 1, n_s), rng.normal(1, 1, n_b)])
        found = fit(mass, LOW, HIGH, components)
        if not found.valid:
            n_failed += 1
            continue
        n_poor += found.goodness.p < 0.01
        for i, (name, true) in enumerate((("signal", n_signal), ("background", n_background))):
            interval = found.yield_of(name)
            held[i] += interval.low <= true <= interval.high
        pulls.append((found.yield_of("signal").value - n_signal) / found.parameters["signal.yield"].error)
        weight = sweights(found, mass)(mass)["signal"][control < 0]
        replicas = weight_replicas(found, lambda other, mass=mass: sweights(other, mass), 25)
        own = weight_sum(weight, [each(mass)["signal"][control < 0] for each in replicas])
        deviations = np.sqrt((weight**2).sum()), (own.high - own.low) / 2
        shares.append([(own.value - n_signal / 2) / each for each in deviations])
    n = n_toys - n_failed
    seconds = (time.process_time() - start) / n_toys
    return (
        f"| {title} | {n_signal:,} + {n_background:,} | {held[0] / n:.3f} | {held[1] / n:.3f} | "
        f"{np.mean(pulls):+.2f} | "
        f"{' | '.join(f'{np.mean(each):+.2f} ± {np.std(each):.2f}' for each in np.array(shares).T)} | "
        f"{n_failed} | {n_poor / n:.3f} | {seconds:.3f} |"
    )


def pair_row(signal: str, background: str, n_signal: int, n_background: int, n_toys: int) -> str:
    """One line of the table of pairs: how often both yields' intervals held, bias, and what fits had to say."""
    components = {"signal": Component(signal), "background": Component(background)}
    held, pulls, n_failed, n_limit = np.zeros(2), [], 0, 0
    start = time.process_time()
    for seed in range(n_toys):
        rng = np.random.default_rng([seed, n_signal])
        n_s, n_b = rng.poisson(n_signal), rng.poisson(n_background)
        mass = np.concatenate(
            [drawn(signal, SIGNALS[signal], n_s, rng), drawn(background, BACKGROUNDS[background], n_b, rng)]
        )
        found = fit(mass, LOW, HIGH, components)
        if not found.valid:
            n_failed += 1
            continue
        n_limit += any("limit" in problem for problem in found.problems)
        for i, (name, true) in enumerate((("signal", n_signal), ("background", n_background))):
            interval = found.yield_of(name)
            held[i] += interval.low <= true <= interval.high
        pulls.append((found.yield_of("signal").value - n_signal) / found.parameters["signal.yield"].error)
    n = n_toys - n_failed
    return (
        f"| {signal} | {background} | {n_signal:,} + {n_background:,} | {held[0] / n:.3f} | {held[1] / n:.3f} | "
        f"{np.mean(pulls):+.2f} | {np.std(pulls):.2f} | {n_limit / n:.2f} | {n_failed} of {n_toys} | "
        f"{(time.process_time() - start) / n_toys:.3f} |"
    )


def print_pairs(sizes: list[str], pairs: list[str], n_toys: int) -> None:
    """Prints the table of pairs, all of them if none is named."""
    print(
        "| signal | background | candidates | signal held | background held | bias | width | limit | failed | CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for size in sizes:
        for signal, background in (
            pair.split(",") for pair in pairs or [f"{s},{b}" for s in SIGNALS for b in BACKGROUNDS]
        ):
            print(pair_row(signal, background, *map(int, size.split("+")), n_toys), flush=True)


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=500)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--pairs", action="store_true", help="all pairs of shapes, yields only")
    parser.add_argument("--sizes", nargs="+", default=["200+500", "1000+4000"])
    parser.add_argument("--of", nargs="+", default=[], help="pairs SIGNAL,BACKGROUND; left out: all")
    arguments = parser.parse_args()
    if arguments.pairs:
        print_pairs(arguments.sizes, arguments.of, arguments.toys)
        return
    lines = [
        "| model | signal + background | signal held | background held "
        "| bias | pull of sWeights by Σw² | with replicas | failed | p < .01 | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for title in MODELS:
        for n_signal, n_background in SIZES:
            lines.append(row(title, n_signal, n_background, arguments.toys))
            print(lines[-1], flush=True)
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
