"""The penalised likelihood of binned counts about a band, its derivatives, and a step of Newton's method.

The density of another class is known from the events that keep its label. Its noise makes the mislabelled part look
smaller, for which the likelihood is corrected, and adds to the errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from pidlab.models.band.counts import WINDOW, Binned
from pidlab.models.band.curves import Array, Roughness
from pidlab.models.band.density import N_BACKGROUNDS, background_cells, core_cells, tail_cells
from pidlab.models.band.shapes import ShapeOptions
from pidlab.models.band.start import WorkingBand

_MOST_NOISE = 0.3  # the largest squared relative error of a density that is corrected for
_BOUND = 8.0  # up to .8 the bound of the shares of the other classes changes them by less than 2 %
_COMMON = "mislabelled"


@dataclass(slots=True)
class Parameter:
    """One quantity of the density, such as the shift of the mean, in J bins: design · coefficients + offset.

    Attributes:
        design: (J, q).
        offset: (J,).
        coefficients: (q,).
        center: (q,) where the prior has its maximum.
        precision: (q, q) of the prior.
        roughness: what a rough curve pays for, with the `strengths` of its parts; None for none.
    """

    design: Array
    offset: Array
    coefficients: Array
    center: Array
    precision: Array
    roughness: Roughness | None = None
    strengths: Array = field(default_factory=lambda: np.empty(0))

    def values(self, coefficients: Array) -> Array:
        """Returns the quantity (J,) in each bin."""
        return np.asarray(self.design @ coefficients + self.offset)

    def prior_precision(self) -> Array:
        """Returns the precision (q, q) with the roughness."""
        if self.roughness is None:
            return self.precision
        return np.asarray(self.precision + self.roughness.penalty(self.strengths))


@dataclass(slots=True)
class _Density:
    """The density in the cells, and what it consists of.

    A class of which r events are there for each event that is called signal, and of which a part c is mislabelled, has
    the share c r. The sum s of these shares is bounded: all are divided by (1 + s^8)^(1/8).

    Attributes:
        p: (J, m) the density.
        signal: (J, m) that of core, tails and backgrounds.
        own: (J, C) the shares of core, tails and backgrounds in `signal`; the core is the first.
        left: (J,) the share of `signal`.
        others: (J, K) the shares of the other classes.
        crowded: (J, K) how the bound moves with the logarithm of the expected share of each class.
    """

    p: Array
    signal: Array
    own: Array
    left: Array
    others: Array
    crowded: Array


class Likelihood:
    """The penalised likelihood of binned counts, as a function of all coefficients together."""

    def __init__(self, data: Binned, band: WorkingBand, options: ShapeOptions) -> None:
        self.data = data
        self._basis = band.basis
        self._known: dict[bytes, float] = {}  # of coefficients, which a search asks for twice
        design = band.basis.design(data.x)
        mean = design @ band.mean
        self.first = np.maximum(0.5 * (design @ band.below + design @ band.above), band.curves(1.0).least)
        relative = design / self.first[:, None]
        m = design.shape[1]
        tiny = np.diag((relative**2).mean(axis=0).clip(1e-300)) * 1e-7
        self.parameters: dict[str, Parameter] = {}
        self.symmetric = options.core == "symmetric"
        start_strength = 10 * data.counts.sum(axis=1).mean() * (relative**2).mean()
        zero = np.zeros(len(mean))
        for name in ("mean", "below") if self.symmetric else ("mean", "below", "above"):
            coefficients = getattr(band, name).copy()
            roughness = band.basis.roughness
            n_parts = 0 if roughness is None else len(roughness.shares)
            self.parameters[name] = Parameter(
                design=relative,
                offset=-mean / self.first if name == "mean" else zero,
                coefficients=coefficients,
                center=coefficients.copy() if roughness is None else np.zeros(m),
                precision=tiny if roughness is None else 1e-3 * tiny,
                roughness=roughness,
                strengths=band.strengths.get(name, np.full(n_parts, start_strength)),
            )
        straight, wavy = _legendre(data.rank, 1), _legendre(data.rank, 4)
        one = np.ones((len(mean), 1))
        for side in ("below", "above"):
            # 2.5 is nearly a Gaussian; a search from there would miss an early tail, so that it begins nearer
            self.parameters[f"k_{side}"] = _weak(straight, np.log(2.5), 0.7, 0.3)
            self.parameters[f"k_{side}"].coefficients[0] = np.log(2.0)
            self.parameters[f"tau_{side}"] = _weak(straight, np.log(3.0), 0.3, 0.3)
        for side in ("below", "above"):
            self.parameters[f"tail_{side}"] = _weak(wavy, np.log(0.005), 2.5, 0.7)
        for i in range(N_BACKGROUNDS):
            self.parameters[f"background_{i}"] = _weak(wavy, np.log(0.0003), 2.5, 1.0)
        self.mixed = [name for name in self.parameters if name.startswith(("tail", "background"))]
        self.mislabelled = [f"other_{i}" for i in range(len(data.others))]
        if data.others:
            # of each class a part is mislabelled that is constant or changes slowly, and not too unlike that of others
            most = float(np.log(max(1.0, *(other.ratio.max() for other in data.others))))  # nor all of the sample
            self.parameters[_COMMON] = _weak(one, np.log(0.01) - most, 2.5, 1.0)
        for name, other in zip(self.mislabelled, data.others, strict=True):
            self.parameters[name] = _weak(_legendre(data.rank, 2), 0.0, 0.3, 0.2)
            self.parameters[name].offset = np.log(np.maximum(other.ratio, 1e-6))
        for name, coefficients in band.others.items():
            self.parameters[name].coefficients = coefficients
        self.names = list(self.parameters)
        ends = np.cumsum([len(p.coefficients) for p in self.parameters.values()])
        self.slices = {
            name: slice(int(end) - len(self.parameters[name].coefficients), int(end))
            for name, end in zip(self.names, ends, strict=True)
        }
        self.background = background_cells(data.edges)

    def start(self, begins: float | None = None, tail: float | None = None) -> Array:
        """Returns the coefficients from which the search begins.

        Args:
            begins: how many widths from the mean the exponential sides of the core begin; tails, backgrounds and
                mislabelled parts are then at the maxima of their priors. None: all as the band has it.
            tail: the part of the wide tail on either side, for each event of the core; None: that of the prior.
        """
        found = {name: parameter.coefficients.copy() for name, parameter in self.parameters.items()}
        if begins is not None:
            for name in found.keys() - {"mean", "below", "above"}:
                found[name] = self.parameters[name].center.copy()
            for side in ("below", "above"):
                found[f"k_{side}"][0] = np.log(begins)
                if tail is not None:
                    found[f"tail_{side}"][0] = np.log(tail)
        return np.concatenate(list(found.values()))

    @property
    def strengths(self) -> dict[str, Array]:
        """The strengths of the roughness of each parameter."""
        return {name: parameter.strengths for name, parameter in self.parameters.items()}

    @strengths.setter
    def strengths(self, strengths: dict[str, Array]) -> None:
        for name, parameter in self.parameters.items():
            parameter.strengths = strengths[name]

    def band(self, theta: Array, covariance: Array | None = None) -> WorkingBand:
        """Returns the band of coefficients (q,) with this covariance (q, q), 0 if it is not known yet."""
        found = {name: theta[rows] for name, rows in self.slices.items()}
        names = ("mean", "below", "below" if self.symmetric else "above")
        errors = np.zeros((3, *2 * found["mean"].shape))
        if covariance is not None:
            errors = np.stack([covariance[self.slices[name], self.slices[name]] for name in names])
        strengths = {name: self.parameters[name].strengths for name in names}
        nuisances = {name: found[name] for name in found if name not in names}
        mean, below, above = (found[name] for name in names)
        return WorkingBand(self._basis, mean, below, above, errors, strengths, nuisances)

    def separation(self, theta: Array, other: Array) -> float:
        """Returns the largest distance between two curves of mean or width, in standard errors about `theta`."""
        covariance = self.step(theta, *self.derivatives(theta))[1]
        found = [0.0]
        for name in ("mean", "below") if self.symmetric else ("mean", "below", "above"):
            rows, design = self.slices[name], self.parameters[name].design
            variance = np.einsum("ji,ik,jk->j", design, covariance[rows, rows], design)
            found.append(float(np.max(np.abs(design @ (theta - other)[rows]) / np.sqrt(variance))))
        return max(found)

    def values(self, theta: Array) -> dict[str, Array]:
        """Returns each quantity (J,) of the density by its name."""
        found = {name: self.parameters[name].values(theta[self.slices[name]]) for name in self.names}
        if self.symmetric:
            found["above"] = found["below"]
        for name in self.mislabelled:
            found[name] = found[name] + found[_COMMON]
        return found

    def _shapes(self, v: dict[str, Array]) -> dict[str, Array]:
        return {"core": self._core(v), "tail_below": self._tail(v, "below"), "tail_above": self._tail(v, "above")}

    def _core(self, v: dict[str, Array]) -> Array:
        begins = np.exp(v["k_below"]), np.exp(v["k_above"])
        return core_cells(self.data.edges, v["mean"], v["below"], v["above"], *begins)

    def _tail(self, v: dict[str, Array], side: str) -> Array:
        width, tau = 0.5 * (v["below"] + v["above"]), np.exp(v[f"tau_{side}"])
        return tail_cells(self.data.edges, v["mean"], width, tau, 1 if side == "above" else -1)

    def _density(self, v: dict[str, Array], shapes: dict[str, Array]) -> _Density:
        logits = [np.zeros(len(self.data.x)), *(v[name] for name in self.mixed)]
        powers = np.exp(np.clip(np.stack(logits, axis=1), -40, 40))
        own = powers / powers.sum(axis=1, keepdims=True)
        signal = np.asarray(sum(f[:, None] * c for f, c in zip(own.T, self._components(shapes), strict=True)))
        expected = np.zeros((len(signal), len(self.mislabelled)))
        for k, name in enumerate(self.mislabelled):
            expected[:, k] = np.exp(np.clip(v[name], -40, 10))
        total = expected.sum(axis=1)
        bound = 1 + total**_BOUND
        others = expected * (bound ** (-1 / _BOUND))[:, None]
        left = 1 - others.sum(axis=1)
        p = left[:, None] * signal
        for share, other in zip(others.T, self.data.others, strict=True):
            p = p + share[:, None] * other.density
        return _Density(p, signal, own, left, others, expected * (total ** (_BOUND - 1) / bound)[:, None])

    def _components(self, shapes: dict[str, Array]) -> list[Array]:
        size = (len(self.data.x), len(self.data.edges) - 1)
        flat = [np.broadcast_to(each, size) for each in self.background]
        return [shapes["core"], shapes["tail_below"], shapes["tail_above"], *flat]

    def possible(self, v: dict[str, Array]) -> bool:
        """Whether widths and tails are within what the window can show."""
        widths = np.concatenate([v["below"], v["above"]])
        return bool((widths > 0.1).all() and (widths < 4).all() and (np.abs(v["mean"]) < WINDOW).all())

    def penalised(self, theta: Array) -> float:
        """Returns the logarithm of the likelihood times the priors; -inf where a width is impossible."""
        total = self._logarithm(theta)
        for name, parameter in self.parameters.items():
            from_center = theta[self.slices[name]] - parameter.center
            total -= 0.5 * float(from_center @ parameter.prior_precision() @ from_center)
        return total

    def _logarithm(self, theta: Array) -> float:
        """Returns the logarithm of the likelihood; -inf where a width is impossible. It keeps the last two."""
        key = theta.tobytes()
        if key not in self._known:
            v = self.values(theta)
            known = -np.inf
            if self.possible(v):
                density = self._density(v, self._shapes(v))
                known = float((self.data.counts * (np.log(density.p) + 0.5 * self._noise(density))).sum())
            self._known = dict([*self._known.items()][-1:]) | {key: known}
        return self._known[key]

    def marginal(self, theta: Array) -> float:
        """Returns the logarithm of the marginal likelihood of the maximum near `theta`, up to a constant.

        It is Laplace's approximation, with the strengths of the roughness as they are.
        """
        priors = 0.0
        for name, parameter in self.parameters.items():
            from_center = theta[self.slices[name]] - parameter.center
            priors += 0.5 * float(from_center @ parameter.prior_precision() @ from_center)
            if parameter.roughness is not None:
                priors += 0.5 * parameter.roughness.log_determinant(parameter.strengths)
        return self.penalised(theta) + priors + self.step(theta, *self.derivatives(theta))[2]

    def derivatives(self, theta: Array) -> tuple[Array, Array]:
        """Returns the gradient of the likelihood without the priors, and the expected information."""
        density, slopes = self._slopes(theta)
        noise = self._noise(density)
        noise[noise >= _MOST_NOISE] = 0  # where it is bounded it is a constant
        ratio = self.data.counts / density.p * (1 - noise)
        gradient = np.zeros(len(theta))
        direct = {name: np.zeros(len(self.data.x)) for name in (*self.mislabelled, _COMMON)}
        for k, (name, other) in enumerate(zip(self.mislabelled, self.data.others, strict=True)):
            of_class = np.where(noise > 0, self.data.counts * other.variance / density.p**2, 0).sum(axis=1)
            of_class *= density.others[:, k]
            direct[name] += of_class * density.others[:, k]
            for crowd, each in zip(density.crowded.T, self.mislabelled, strict=True):
                direct[each] -= of_class * density.others[:, k] * crowd
        direct[_COMMON] = np.asarray(sum((direct[name] for name in self.mislabelled), direct[_COMMON]))
        for name, rows in self.slices.items():
            local = (ratio * slopes[name]).sum(axis=1) + direct.get(name, 0.0)
            gradient[rows] = self.parameters[name].design.T @ local
        root = np.sqrt(density.p)
        return gradient, self._information({name: slope / root for name, slope in slopes.items()})

    def _information(self, scaled: dict[str, Array]) -> Array:
        """Returns the information (q, q) of slopes (J, m) that are divided by the roots of the densities."""
        n = self.data.counts.sum(axis=1)
        size = sum(len(parameter.coefficients) for parameter in self.parameters.values())
        information = np.zeros((size, size))
        stacked = np.stack([np.broadcast_to(scaled[name], self.data.counts.shape) for name in self.names], axis=1)
        products = n[:, None, None] * (stacked @ stacked.transpose(0, 2, 1))
        for a, name in enumerate(self.names):
            for b, other in enumerate(self.names[: a + 1]):
                local = products[:, a, b, None]
                block = (self.parameters[name].design * local).T @ self.parameters[other].design
                information[self.slices[name], self.slices[other]] = block
                information[self.slices[other], self.slices[name]] = block.T
        return information

    def _slopes(self, theta: Array) -> tuple[_Density, dict[str, Array]]:
        """Returns the density, and its slopes (J, m) with the values of each parameter."""
        v = self.values(theta)
        shapes = self._shapes(v)
        density = self._density(v, shapes)
        slopes: dict[str, Array] = {}
        left = density.left[:, None]
        for name, share, component in zip(self.mixed, density.own.T[1:], self._components(shapes)[1:], strict=True):
            slopes[name] = left * share[:, None] * (component - density.signal)
        for k, (name, other) in enumerate(zip(self.mislabelled, self.data.others, strict=True)):
            slopes[name] = density.others[:, k, None] * (other.density - density.signal)
            slopes[name] -= density.crowded[:, k, None] * (density.p - density.signal)
        if self.mislabelled:
            slopes[_COMMON] = np.asarray(sum(slopes[name] for name in self.mislabelled))
        h = 1e-6  # the shapes are exact to 1e-13, so that both the rounding and the curvature are small
        for name in self.names:
            if name in slopes:
                continue
            at = v | {name: v[name] + h}
            if name == "below" and self.symmetric:
                at["above"] = at[name]
            moved = self._some_shapes(at, name, shapes)
            slopes[name] = left * sum(
                f[:, None] * ((b - a) / h) for f, a, b in zip(density.own.T[:3], shapes.values(), moved, strict=True)
            )
        return density, slopes

    def step(self, theta: Array, slope: Array, information: Array, damping: float = 0.0) -> tuple[Array, Array, float]:
        """Returns the step of Newton's method with the priors, the covariance, and the evidence.

        With a `damping` all curvatures are larger by this part, which makes the step shorter; the covariance is then
        too small by it, and the evidence is not meant.
        The covariance is the inverse of the information. The evidence is the logarithm of the marginal likelihood of
        the strengths in this approximation, up to a constant and the roots of the determinants of the priors.
        """
        total, gradient = information.copy(), slope.copy()
        evidence = 0.0
        for name, parameter in self.parameters.items():
            rows, precision = self.slices[name], parameter.prior_precision()
            away = theta[rows] - parameter.center
            pull = precision @ away
            gradient[rows] -= pull
            total[rows, rows] += precision
            evidence -= 0.5 * float(away @ pull)
        total[np.diag_indices(len(total))] *= 1 + damping
        unit = np.sqrt(np.diag(total))
        factor = cho_factor(total / np.outer(unit, unit) + 1e-10 * np.eye(len(unit)))
        covariance = cho_solve(factor, np.eye(len(unit))) / np.outer(unit, unit)
        step = covariance @ gradient
        evidence += 0.5 * float(gradient @ step) - float(np.log(np.diag(factor[0]) * unit).sum())
        return step, covariance, evidence

    def pull(self, theta: Array) -> Array:
        """Returns the gradient of the likelihood (q,) at a maximum: the priors' with the other sign."""
        return np.concatenate(
            [p.prior_precision() @ (theta[self.slices[n]] - p.center) for n, p in self.parameters.items()]
        )

    def without_noise(self, theta: Array, information: Array) -> Array:
        """Returns the information (q, q) less what the noise in the densities of the other classes seems to tell.

        A noisy density differs more from that of the signal than the true one does. So its share seems to be known
        better than it is, the more so the more alike the two are. The curvature of the likelihood that is corrected
        for the noise (`_noise`) has on average the information of the true densities (T. Nakamura, Biometrika 77
        (1990) 127). In one sample it may be negative for some combination of coefficients, which then has none.
        """
        if not self.data.others:
            return information
        density, slopes = self._slopes(theta)
        noise = self._noise(density)
        corrected = noise < _MOST_NOISE
        apparent = np.zeros_like(information)
        for k, other in enumerate(self.data.others):
            # half of n s² v / p² with the share s, the variance v and the density p has these second derivatives
            root = np.where(corrected, np.sqrt(other.variance / density.p), 0.0)
            relative = density.others[:, k, None] / density.p
            shares = self._share_slopes(density, k)
            zero = np.zeros((len(root), 1))
            apparent += self._information(
                {name: root * (shares.get(name, zero) - 2 * relative * slope) for name, slope in slopes.items()}
            )
            apparent -= self._information({name: root * relative * slope for name, slope in slopes.items()})
        total = information.copy()
        for name, parameter in self.parameters.items():
            total[self.slices[name], self.slices[name]] += parameter.prior_precision()
        unit = np.sqrt(np.diag(total))
        root = np.linalg.cholesky(total / np.outer(unit, unit) + 1e-10 * np.eye(len(unit))) * unit[:, None]
        half = solve_triangular(root, information - apparent, lower=True)
        left, directions = np.linalg.eigh(solve_triangular(root, half.T, lower=True))
        kept = root @ directions * np.sqrt(np.maximum(left, 0))
        return np.asarray(kept @ kept.T)

    def _share_slopes(self, density: _Density, k: int) -> dict[str, Array]:
        """Returns the slopes (J, 1) of the share of one class with the values of the parameters that it depends on."""
        share = density.others[:, k]
        found = {
            name: share * ((name == self.mislabelled[k]) - crowd)
            for name, crowd in zip(self.mislabelled, density.crowded.T, strict=True)
        }
        found[_COMMON] = np.asarray(sum(found.values()))
        return {name: slope[:, None] for name, slope in found.items()}

    def template_noise(self, theta: Array) -> Array:
        """Returns the covariance of the gradient that comes from the finite number of events of the other classes.

        Where a share φ of the density in a cell is from another class, of which r times as many events are mislabelled
        as are left to describe it, the cell's share of the information is known r φ less well.
        """
        density, slopes = self._slopes(theta)
        n = self.data.counts.sum(axis=1)
        weight = np.zeros_like(density.p)
        for share, other in zip(density.others.T, self.data.others, strict=True):
            weight += share[:, None] * other.density / density.p * (share * n / np.maximum(other.n, 1.0))[:, None]
        root = np.sqrt(weight / density.p)
        return self._information({name: slope * root for name, slope in slopes.items()})

    def _noise(self, density: _Density) -> Array:
        """Returns the squared relative error (J, m) of the density that comes from the other classes' finite numbers.

        The logarithm of a density with such an error is too small by half of it on average, the more so the larger the
        share of the other class is, which would be found too small. With half of it added to the logarithm the expected
        likelihood is that of the true density (T. Nakamura, Biometrika 77 (1990) 127, corrected scores).
        """
        noise = np.zeros_like(density.p)
        for share, other in zip(density.others.T, self.data.others, strict=True):
            noise += share[:, None] ** 2 * other.variance
        return np.minimum(noise / density.p**2, _MOST_NOISE)

    def _some_shapes(self, v: dict[str, Array], changed: str, known: dict[str, Array]) -> list[Array]:
        """Returns the core and the tails, of which those that `changed` has no part in are taken from `known`."""
        if changed in ("mean", "below", "above"):
            return list(self._shapes(v).values())
        found = dict(known)
        if changed.startswith("k_"):
            found["core"] = self._core(v)
        else:
            side = changed.removeprefix("tau_")
            found[f"tail_{side}"] = self._tail(v, side)
        return list(found.values())


def _legendre(rank: Array, degree: int) -> Array:
    """Returns polynomials (J, q) of the rank of each bin, -1 to 1."""
    from numpy.polynomial.legendre import legvander

    parts = [legvander(rank[:, j], degree) for j in range(rank.shape[1])]
    return np.asarray(parts[0] if len(parts) == 1 else np.hstack([parts[0], parts[1][:, 1:]]))


def _weak(design: Array, center: float, spread: float, slope: float) -> Parameter:
    """Returns a parameter with a normal prior: `spread` of its constant part, `slope` of each other one."""
    q = design.shape[1]
    start = np.zeros(q)
    start[0] = center
    precision = np.diag([spread**-2.0] + [slope**-2.0] * (q - 1))
    return Parameter(design, np.zeros(len(design)), start.copy(), start, precision)
