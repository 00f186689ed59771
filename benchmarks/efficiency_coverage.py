"""Coverage and bias of efficiencies from data and of scale factors: toys of probes above a background.

    python benchmarks/efficiency_coverage.py [--toys 500] [--edge]

Signal and background have different efficiencies. Each line says how often the 68.3 % interval holds the truth, the
mean deviation in units of the error, and the mean error over the spread of the values. A wrong background shape is
fitted in the last lines: there the interval with its systematic must hold the truth.

With --edge: the bias of 2,000 probes up to an efficiency of .995, of the published number and of the unconstrained one,
and the least bias that any number inside the range can have.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import linprog
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "datadriven" / "efficiency"))

from probe_toys import Toy

from pidlab.datadriven.efficiency.estimate import Estimate, Shapes, failed
from pidlab.datadriven.efficiency.intervals import generalised_wilson, ratio
from pidlab.datadriven.efficiency.simultaneous import fit_efficiency
from pidlab.datadriven.efficiency.subtraction import by_sidebands, by_sweights
from pidlab.evaluate.intervals import efficiency
from pidlab.measured import Array, Measured

GAUSS = Shapes("gauss", "exponential")
SHARED = replace(GAUSS, share_background=True)


def line(name: str, truth: float, n: int, measured: Callable[[np.random.Generator], Measured | None]) -> None:
    rng = np.random.default_rng(20261128)
    found = [measured(rng) for _ in range(n)]
    kept = np.array([m[:3] for m in found if m is not None and np.isfinite(m.low)])
    error = (kept[:, 2] - kept[:, 1]) / 2
    covered = np.mean((kept[:, 1] <= truth) & (truth <= kept[:, 2]))
    bias = (kept[:, 0].mean() - truth) / error.mean()
    spread = error.mean() / kept[:, 0].std()
    print(
        f"{name:58s} coverage {covered:.3f} ± {np.sqrt(0.217 / len(kept)):.3f}  bias/error {bias:+.3f} ± "
        f"{1 / np.sqrt(len(kept)):.3f}  error/spread {spread:.2f}  failed {n - len(kept)}",
        flush=True,
    )


def two_intervals(n: int) -> None:
    """The generalised Wilson interval beside the union of Wilson's and Fieller's, of the same sums of sWeights."""
    for eps, background_efficiency, n_probes in itertools.product((0.5, 0.85, 0.97), (0.05, 0.5, 0.95), (300, 2000)):
        toy, rng = (
            Toy(n=n_probes, efficiency=eps, background_efficiency=background_efficiency),
            np.random.default_rng(1),
        )
        signal, background = toy.components()
        weight = sweights(signal, background, toy.n)
        covered, length = np.zeros(2), np.zeros(2)
        for _ in range(n):
            probes = toy.draw(rng)
            p, f, p2, f2 = (
                float(each) for each in (probes.passing @ weight, probes.failing @ weight,
                                         probes.passing @ weight**2, probes.failing @ weight**2)
            )  # fmt: skip
            for i, m in enumerate((generalised_wilson(p, f, p2, f2), efficiency(p, p + f, p2, p2 + f2).measured())):
                covered[i] += m.low <= eps <= m.high
                length[i] += m.high - m.low
        print(
            f"sWeights, {n_probes:5d} probes, efficiency {eps}, background {background_efficiency}: generalised Wilson "
            f"{covered[0] / n:.3f}, union {covered[1] / n:.3f}, length of the union {length[1] / length[0]:.2f} times",
            flush=True,
        )


def sweights(signal: Array, background: Array, n: float) -> Array:
    """sWeights from the true shapes and yields, so that nothing is fitted."""
    total = signal + background
    s, b = signal / signal.sum(), background / background.sum()
    matrix = np.array([[np.sum(x * y / total) for y in (s, b)] for x in (s, b)])
    inverse = np.linalg.inv(matrix)
    return np.asarray((inverse[0, 0] * s + inverse[0, 1] * b) / total)


def value(found: Estimate) -> Measured | None:
    return found.efficiency if found.usable else None


def edge(n: int) -> None:
    """Bias in units of the error, near and at the end of the range."""
    for eps in (0.5, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995):
        rng, toy = np.random.default_rng(20261129), Toy(efficiency=eps)
        found = [each for each in (fit_efficiency(toy.draw(rng), GAUSS) for _ in range(n)) if each.usable]
        rows = np.array([(*each.efficiency[:3], each.unconstrained) for each in found])
        error = float((rows[:, 2] - rows[:, 1]).mean()) / 2
        bias = [f"{(rows[:, i].mean() - eps) / error:+.3f} ± {rows[:, i].std() / error / n**0.5:.3f}" for i in (0, 3)]
        covered = np.mean((rows[:, 1] <= eps) & (eps <= rows[:, 2]))
        print(
            f"fit, 2000 probes, efficiency {eps}: coverage {covered:.3f} ± {np.sqrt(0.217 / n):.3f}, bias / error "
            f"{bias[0]}, unconstrained {bias[1]}, at 1 {np.mean(rows[:, 0] > 1 - 1e-4):.2f}, failed {n - len(found)}",
            flush=True,
        )
    for text, interval in (("any number not below 0", False), ("one inside its interval", True)):
        print(f"largest bias for some expected number of failing signal, in errors: {text} {least_bias(interval):.3f}")


def least_bias(inside_interval: bool) -> float:
    """The smallest possible largest bias of a number >= 0 that is a function of a normal x with mean mu >= 0 and unit
    deviation: x is the number of failing signal probes over its error. A linear programme on a grid of x and mu.

    Beyond 6.5 errors the number is x. Inside the interval it lies where the likelihood of mu >= 0 falls by at most 1/2.
    """
    step = 0.05
    x, mu = np.arange(-6, 10 + step / 2, step), np.arange(0, 5.01, 0.1)
    mean = norm.pdf(x - mu[:, None]) * step
    low, high = np.zeros_like(x), np.full_like(x, 60.0)
    if inside_interval:
        low, high = np.maximum(0, x - 1), np.where(x >= 0, x + 1, x + np.sqrt(x * x + 1))
    low, high = (np.where(x > 6.5, x, each) for each in (low, high))
    limit = np.ones((len(mu), 1))
    found = linprog(
        np.append(np.zeros(len(x)), 1.0),
        A_ub=np.vstack([np.hstack([mean, -limit]), np.hstack([-mean, -limit])]),
        b_ub=np.concatenate([mu, -mu]),
        bounds=[*zip(low, high, strict=True), (0, None)],
    )
    return float(found.fun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toys", type=int, default=500)
    parser.add_argument("--edge", action="store_true", help="the bias near an efficiency of 1")
    arguments = parser.parse_args()
    n = arguments.toys
    if arguments.edge:
        edge(n)
        return
    two_intervals(4 * n)
    for n_probes in (500, 2000, 10_000):
        for eps in (0.5, 0.85, 0.97):
            toy = Toy(n=n_probes, efficiency=eps)
            line(
                f"fit, {n_probes} probes, efficiency {eps}",
                eps,
                n,
                lambda r, t=toy: value(fit_efficiency(t.draw(r), GAUSS)),
            )
    for shapes in (Shapes("gauss", "chebyshev:3"), Shapes("double_gauss", "exponential"), SHARED):
        toy = Toy()
        line(f"fit, 2000 probes, {shapes}", 0.85, n, lambda r, s=shapes: value(fit_efficiency(Toy().draw(r), s)))
    for background_efficiency in (0.05, 0.3, 0.85):
        toy = Toy(background_efficiency=background_efficiency)
        line(
            f"sWeights, 2000 probes, background passes {background_efficiency}", 0.85, n,
            lambda r, t=toy: value(by_sweights(t.draw(r), SHARED)),
        )  # fmt: skip
    flat = Toy(decay=1e6)
    line("sidebands, 2000 probes", 0.85, n, lambda r: value(by_sidebands(flat.draw(r), (80, 102))))
    for n_simulated in (1000, 20_000):

        def factor(rng: np.random.Generator, n_simulated: int = n_simulated) -> Measured | None:
            data = value(fit_efficiency(Toy(efficiency=0.8).draw(rng), GAUSS))
            passed = rng.binomial(n_simulated, 0.9)
            simulated = efficiency(passed, n_simulated, passed, n_simulated).measured()
            return None if data is None else ratio(data, simulated)

        line(f"scale factor, {n_simulated} counted in simulation", 0.8 / 0.9, n, factor)

    def fitted_factor(rng: np.random.Generator) -> Measured | None:
        one = value(fit_efficiency(Toy(efficiency=0.8).draw(rng), GAUSS))
        other = value(fit_efficiency(Toy(efficiency=0.9, background=0.2).draw(rng), GAUSS))
        return None if one is None or other is None else ratio(one, other)

    line("scale factor, both fitted", 0.8 / 0.9, n, fitted_factor)

    def wrong(rng: np.random.Generator, with_systematic: bool) -> Measured | None:
        probes = Toy(n=2000, background=0.6).draw(rng)
        nominal = fit_efficiency(probes, Shapes("gauss", "chebyshev:1"))
        other = fit_efficiency(probes, GAUSS) if with_systematic else failed("", "")
        if not nominal.usable:
            return None
        shift = other.efficiency.value - nominal.efficiency.value if other.usable else 0.0
        m = nominal.efficiency
        return Measured(
            m.value, m.value - np.hypot(m.value - m.low, shift), m.value + np.hypot(m.high - m.value, shift), m.n
        )

    line("a line for an exponential background, statistical", 0.85, n, lambda r: wrong(r, False))
    line("a line for an exponential background, with systematic", 0.85, n, lambda r: wrong(r, True))


if __name__ == "__main__":
    main()
