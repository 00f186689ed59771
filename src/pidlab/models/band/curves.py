"""Curves of a band: piecewise polynomials in one or two quantities, with the errors of their coefficients.

Splines and formulae have one form, which Python, C++ and ONNX evaluate alike: a grid of cells, and in each cell a
polynomial in the distances from the cell's lower corner. A formula has a single cell, whose corner is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.compiled import compiled

Array = NDArray[np.float64]
SPLINE_DEGREE = 3


class Polynomials(NamedTuple):
    """Piecewise polynomials in u and v, where v is 0 if there is one quantity only.

    Attributes:
        u_edges, v_edges: rising edges of the cells, (m + 1,) and (n + 1,); u and v are moved to within the outer ones.
        u_origins, v_origins: where each cell counts from, (m,) and (n,).
        coefficients: (m, n, q, r), of u to the power 0 … q - 1 and v to the power 0 … r - 1.
    """

    u_edges: Array
    v_edges: Array
    u_origins: Array
    v_origins: Array
    coefficients: Array


@dataclass(frozen=True)
class Basis:
    """The functions of one or two quantities x whose sum, each with a coefficient, is a curve.

    Attributes:
        low, high: the range (d,) of x in training; beyond it the curve is constant.
        knots: the d knot vectors of cubic B-splines, whose products are the functions; empty for powers.
        powers: the exponents (m, d) of functions that are products of powers; empty for splines.
        reciprocal: whether the powers are those of 1/x.
    """

    low: Array
    high: Array
    knots: tuple[Array, ...] = ()
    powers: tuple[tuple[int, ...], ...] = ()
    reciprocal: bool = False

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The number of B-splines in each quantity."""
        return tuple(len(t) - SPLINE_DEGREE - 1 for t in self.knots)

    def __len__(self) -> int:
        return int(np.prod(self.sizes)) if self.knots else len(self.powers)

    def design(self, x: Array) -> Array:
        """Returns the values (n, m) of the functions at x (n, d)."""
        inside = np.clip(x, self.low, self.high)
        if not self.knots:
            u = 1 / inside if self.reciprocal else inside
            columns = [np.prod([u[:, j] ** power for j, power in enumerate(each)], axis=0) for each in self.powers]
            return np.stack(columns, axis=1)
        from scipy.interpolate import BSpline

        parts = [BSpline.design_matrix(inside[:, j], t, SPLINE_DEGREE).toarray() for j, t in enumerate(self.knots)]
        if len(parts) == 1:
            return np.asarray(parts[0])
        return np.asarray((parts[0][:, :, None] * parts[1][:, None, :]).reshape(len(x), -1))

    @cached_property
    def roughness(self) -> Roughness | None:
        """What a rough curve pays for; None for powers."""
        if not self.knots:
            return None
        from scipy.linalg import block_diag

        rows, shares = [], []
        for axis, t in enumerate(self.knots):
            second = _second_derivatives(t)
            place = np.indices((*self.sizes[:axis], len(second), *self.sizes[axis + 1 :]))[axis].ravel()
            parts = [second if i == axis else np.eye(size) for i, size in enumerate(self.sizes)]
            rows.append(parts[0] if len(parts) == 1 else np.kron(*parts))
            shares.append(_hats(len(second), _REGIONS[len(parts) - 1])[:, place])
        links = [np.diff(np.eye(len(each)), axis=0) for each in shares]
        rank = len(self) - 2 ** len(self.knots)
        return Roughness(np.concatenate(rows), block_diag(*shares), block_diag(*links), rank)

    def polynomials(self, coefficients: Array) -> Polynomials:
        """Returns the curve with these coefficients (m,) as piecewise polynomials."""
        none = np.array([0.0, 0.0])
        if not self.knots:
            degree = [max(each[j] for each in self.powers) for j in range(len(self.low))]
            table = np.zeros((1, 1, degree[0] + 1, degree[1] + 1 if len(degree) > 1 else 1))
            for each, value in zip(self.powers, coefficients, strict=True):
                table[(0, 0, *each, *([0] * (2 - len(each))))] = value
            ends = [self._ends(j) for j in range(len(self.low))]
            return Polynomials(ends[0], ends[1] if len(ends) > 1 else none, np.zeros(1), np.zeros(1), table)
        tables = self._local
        if len(tables) == 1:
            table = np.einsum("iqa,a->iq", tables[0], coefficients)[:, None, :, None]
            edges = _cells(self.knots[0])
            return Polynomials(edges, none, edges[:-1], np.zeros(1), table)
        table = np.einsum("iqa,jrb,ab->ijqr", *tables, coefficients.reshape(self.sizes), optimize=True)
        u, v = (_cells(t) for t in self.knots)
        return Polynomials(u, v, u[:-1], v[:-1], table)

    @cached_property
    def _local(self) -> list[Array]:
        """The B-splines of each quantity in each cell, see `_local_polynomials`."""
        return [_local_polynomials(t) for t in self.knots]

    def _ends(self, j: int) -> Array:
        ends = np.array([self.low[j], self.high[j]])
        return np.sort(1 / ends) if self.reciprocal else ends

    def to_json(self) -> dict[str, Any]:
        """Returns the basis in the types of JSON."""
        return {
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "knots": [t.tolist() for t in self.knots],
            "powers": [list(each) for each in self.powers],
            "reciprocal": self.reciprocal,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Basis:
        """Returns what `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: the content is damaged.
        """
        low, high = (np.asarray(content[key], np.float64) for key in ("low", "high"))
        knots = tuple(np.asarray(t, np.float64) for t in content["knots"])
        powers = tuple(tuple(int(p) for p in each) for each in content["powers"])
        if low.shape != high.shape or low.ndim != 1 or not 1 <= len(low) <= 2 or not (low <= high).all():
            raise ValueError("the range of a curve is damaged")
        if bool(knots) == bool(powers) or (knots and len(knots) != len(low)):
            raise ValueError("a curve has either knots or powers")
        if any(len(each) != len(low) or min(each) < 0 for each in powers):
            raise ValueError("the powers of a curve are damaged")
        if any(t.ndim != 1 or len(t) < 2 * SPLINE_DEGREE + 2 or (np.diff(t) < 0).any() for t in knots):
            raise ValueError("the knots of a curve are damaged")
        return cls(low, high, knots, powers, bool(content["reciprocal"]))


@dataclass(frozen=True)
class Roughness:
    """The roughness of a curve: sums of squares of r combinations of its coefficients, whose strength changes with x.

    It is Σ_i λ_i (rows[i] · coefficients)², where log λ_i = Σ_k shares[k, i] log(strengths[k]). A part k is the
    neighbourhood of a place in one quantity, so that a curve may be rough in one place and smooth in another, as an
    energy loss is (S. Wood, JRSS B 73 (2011) 3, adaptive smoothing). Between the places the strength goes as a power,
    because that of an energy loss falls by orders of magnitude.

    Attributes:
        rows: (r, m) second derivatives, as functions of the coordinate of the penalty.
        shares: (parts, r) how near each of them is to each place; they add up to 1.
        links: (l, parts) the differences of neighbouring parts.
        rank: of the whole: m less the number of coefficients of a straight line or plane, which costs nothing.
    """

    rows: Array
    shares: Array
    links: Array
    rank: int

    def weights(self, strengths: Array) -> Array:
        """Returns the strength λ (r,) of each combination."""
        return np.asarray(np.exp(np.log(strengths) @ self.shares))

    def penalty(self, strengths: Array) -> Array:
        """Returns the matrix (m, m) of the quadratic form."""
        return np.asarray((self.rows * self.weights(strengths)[:, None]).T @ self.rows)

    def parts(self, strengths: Array, coefficients: Array) -> Array:
        """Returns what each part (parts,) has of the roughness of a curve."""
        return np.asarray(self.shares @ (self.weights(strengths) * (self.rows @ coefficients) ** 2))

    def traces(self, strengths: Array, covariance: Array) -> Array:
        """Returns what each part (parts,) has of the trace of a covariance (m, m) times the penalty."""
        return np.asarray(self.shares @ (self.weights(strengths) * ((self.rows @ covariance) * self.rows).sum(axis=1)))

    def prior_traces(self, strengths: Array) -> Array:
        """Returns `traces` (parts,) of the covariance of the prior, the pseudo-inverse of `penalty`."""
        singular, right = self._decomposed(strengths)
        diagonal = ((self.rows @ (right / singular[:, None]).T) ** 2).sum(axis=1)
        return np.asarray(self.shares @ (self.weights(strengths) * diagonal))

    def log_determinant(self, strengths: Array) -> float:
        """Returns the logarithm of the product of the eigenvalues of `penalty` that are not 0."""
        return 2 * float(np.log(self._decomposed(strengths)[0]).sum())

    def _decomposed(self, strengths: Array) -> tuple[Array, Array]:
        """Returns the singular values (rank,) and the right vectors (rank, m) of the root of `penalty`."""
        weighted = self.rows * np.sqrt(self.weights(strengths))[:, None]
        _, singular, right = np.linalg.svd(weighted, full_matrices=False)
        return singular[: self.rank], right[: self.rank]


_QUANTILES = 4  # cells between the quantiles that the coordinate of the penalty goes through
_REGIONS = (5, 3)  # most parts of the roughness in a quantity, if it is the only one and of two


def _hats(n: int, most: int) -> Array:
    """Returns triangles (parts, n) along n places, which add up to 1 at each."""
    n_parts = int(np.clip(n // 5, 1, most))
    if n_parts == 1:
        return np.ones((1, n))
    centre = np.linspace(0, n - 1, n_parts)
    return np.asarray(np.maximum(1 - np.abs(np.arange(n) - centre[:, None]) / (centre[1] - centre[0]), 0))


def _second_derivatives(knots: Array) -> Array:
    """Returns (m - 2, m): the coefficients of a spline's second derivative, times the root of their functions' widths.

    The derivative is with respect to `penalty_coordinate`. The sum of the squares is close to the integral of the
    squared derivative, and a straight line has none, up to the very ends (Z. Li, J. Cao, General P-splines,
    arXiv:2201.06808).
    """
    cells = _cells(knots)
    t = penalty_coordinate(cells)
    t = np.concatenate([np.full(SPLINE_DEGREE, t[0]), t, np.full(SPLINE_DEGREE, t[-1])])
    matrix = np.eye(len(knots) - SPLINE_DEGREE - 1)
    for degree in (SPLINE_DEGREE, SPLINE_DEGREE - 1):
        t = t[1:-1]
        spans = t[degree:] - t[:-degree]
        matrix = degree * np.diff(matrix, axis=0) / spans[:, None]
    supports = np.array([t[i + 2] - t[i] for i in range(len(matrix))])  # of the linear functions that are left
    return np.asarray(matrix * np.sqrt(supports / 2)[:, None])


def penalty_coordinate(edges: Array) -> Array:
    """Returns the coordinate (k,) in which straight lines are smooth, at the edges (k,) of a spline's cells.

    Edges are quantiles of x. The rank itself would have a bend where the density of x has a step, as at the end of a
    momentum setting, and a curve that is smooth in x would look rough there. So it is a monotone curve through four
    quantiles: nearly the logarithm if x is log-uniform.
    """
    from scipy.interpolate import PchipInterpolator

    n_cells = len(edges) - 1
    through = np.unique(np.round(np.linspace(0, n_cells, _QUANTILES + 1)).astype(int))
    if len(through) < 3:
        return np.asarray(n_cells * (edges - edges[0]) / (edges[-1] - edges[0]))
    return np.asarray(PchipInterpolator(edges[through], through.astype(np.float64))(edges))


def _cells(knots: Array) -> Array:
    return np.asarray(knots[SPLINE_DEGREE : len(knots) - SPLINE_DEGREE])


def _local_polynomials(knots: Array) -> Array:
    """Returns (cells, 4, m): each B-spline in each cell, in powers of the distance from its lower edge."""
    from scipy.interpolate import BSpline, PPoly

    m = len(knots) - SPLINE_DEGREE - 1
    cells = slice(SPLINE_DEGREE, len(knots) - SPLINE_DEGREE - 1)
    pieces = [PPoly.from_spline(BSpline(knots, unit, SPLINE_DEGREE)).c[::-1, cells].T for unit in np.eye(m)]
    return np.stack(pieces, axis=2)


def spline_basis(x: Array, sizes: Sequence[int]) -> Basis:
    """Returns B-splines of x (n, d) with knots at its quantiles, `sizes` functions or fewer in each quantity.

    The range leaves out one in a thousand values on either side, which may be far away, as wildly measured momenta are.
    """
    low, high = np.quantile(x, [0.001, 0.999], axis=0)
    knots = []
    for j, size in enumerate(sizes):
        inner = np.quantile(x[:, j], np.linspace(0.001, 0.999, max(size - SPLINE_DEGREE, 1) + 1))
        least = 1e-3 * (inner[-1] - inner[0])
        distinct = [inner[0]]
        for knot in inner[1:-1]:
            if knot - distinct[-1] > least and inner[-1] - knot > least:
                distinct.append(knot)
        distinct.append(inner[-1] if inner[-1] > inner[0] else inner[0] + max(1e-6, 1e-6 * abs(inner[0])))
        knots.append(np.concatenate([[distinct[0]] * SPLINE_DEGREE, distinct, [distinct[-1]] * SPLINE_DEGREE]))
    return Basis(low, high, tuple(np.asarray(t, np.float64) for t in knots))


def power_basis(x: Array, shape: str, degree: int) -> Basis:
    """Returns the functions of a formula: 1, 1/x and 1/x² of `clas12`, or all products of powers up to `degree`."""
    low, high = np.quantile(x, [0.001, 0.999], axis=0)
    if shape == "clas12":
        return Basis(low, high, powers=((0,), (1,), (2,)), reciprocal=True)
    if x.shape[1] == 1:
        return Basis(low, high, powers=tuple((i,) for i in range(degree + 1)))
    powers = tuple((i, j) for i in range(degree + 1) for j in range(degree + 1 - i))
    return Basis(low, high, powers=powers)


@dataclass(frozen=True)
class Curves:
    """The mean and the width of one variable in one group: what a shape fits, saves and offers to the others.

    Attributes:
        basis: the functions of which the three curves are sums.
        mean, below, above: coefficients (m,) of the mean, and of the widths below and above it, in the variable's unit.
        covariance: of the coefficients of mean, below and above, (3, m, m).
        least: the least width that is used, which only guards against a curve that falls to zero.
        n: the effective number of signal events that were fitted.
    """

    basis: Basis
    mean: Array
    below: Array
    above: Array
    covariance: Array
    least: float
    n: float

    def value(self, what: str, against: Array) -> Array:
        """Returns `mean`, `below` or `above` (n,) at x (n, d)."""
        polynomials = self.tables[what]
        u, v = self.coordinates(against)
        values = np.empty(len(u))
        evaluate(u, v, tuple(polynomials), values)
        return values if what == "mean" else np.where(values < self.least, self.least, values)

    def distances(self, values: Array, against: Array) -> Array:
        """Returns (value - mean) / width (n,) with the width of the value's side; NaN where anything is NaN."""
        u, v = self.coordinates(against)
        out = np.empty(len(u))
        curves = (tuple(self.tables[name]) for name in ("mean", "below", "above"))
        distances(np.ascontiguousarray(values, np.float64), u, v, *curves, self.least, out)
        return out

    def error(self, what: str, against: Array) -> Array:
        """Returns the standard errors (n,) of `value`."""
        design = self.basis.design(np.asarray(against, np.float64))
        covariance = self.covariance[("mean", "below", "above").index(what)]
        variance = ((design @ covariance) * design).sum(axis=1)
        return np.asarray(np.sqrt(np.maximum(variance, 0)), np.float64)

    def coordinates(self, against: Array) -> tuple[Array, Array]:
        """Returns u and v (n,) of the polynomials at x (n, d); v is 0 for one quantity."""
        x = np.asarray(against, np.float64)
        if self.basis.reciprocal:
            with np.errstate(divide="ignore"):
                x = 1 / np.clip(x, self.basis.low, self.basis.high)
        u = np.ascontiguousarray(x[:, 0])
        return u, np.ascontiguousarray(x[:, 1]) if x.shape[1] > 1 else np.zeros(len(u))

    @cached_property
    def tables(self) -> dict[str, Polynomials]:
        """The three curves as piecewise polynomials."""
        return {name: self.basis.polynomials(getattr(self, name)) for name in ("mean", "below", "above")}

    @property
    def is_symmetric(self) -> bool:
        """Whether the widths below and above the mean are one curve."""
        return bool(np.array_equal(self.below, self.above))

    def to_json(self) -> dict[str, Any]:
        """Returns the curves in the types of JSON."""
        return {
            "basis": self.basis.to_json(),
            **{name: getattr(self, name).tolist() for name in ("mean", "below", "above", "covariance")},
            "least": self.least,
            "n": self.n,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Curves:
        """Returns what `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: the content is damaged.
        """
        basis = Basis.from_json(content["basis"])
        names = ("mean", "below", "above", "covariance")
        mean, below, above, covariance = arrays = [np.asarray(content[name], np.float64) for name in names]
        m = len(basis)
        if [each.shape for each in arrays] != [(m,), (m,), (m,), (3, m, m)]:
            raise ValueError(f"the coefficients of a curve do not go with its {m} functions")
        if not all(np.isfinite(each).all() for each in arrays) or not float(content["least"]) > 0:
            raise ValueError("a coefficient of a curve is not finite, or the least width is not positive")
        return cls(basis, mean, below, above, covariance, float(content["least"]), float(content["n"]))


@compiled(nogil=True)
def cell_of(edges: Array, value: float) -> int:  # pragma: no cover, compiled
    """Returns the last cell whose lower edge is not above `value`, within the outer edges."""
    low, high = 0, len(edges) - 2
    while low < high:
        middle = (low + high + 1) // 2
        if edges[middle] <= value:
            low = middle
        else:
            high = middle - 1
    return low


@compiled(nogil=True)
def polynomial_at(
    u: float, v: float, u_edges: Array, v_edges: Array, u_origins: Array, v_origins: Array, table: Array
) -> float:  # pragma: no cover, compiled
    """Returns a piecewise polynomial at u and v, which are moved to within the outer edges."""
    a = min(max(u, u_edges[0]), u_edges[-1])
    b = min(max(v, v_edges[0]), v_edges[-1])
    k, m = cell_of(u_edges, a), cell_of(v_edges, b)
    return float(polynomial_in(k, m, a - u_origins[k], b - v_origins[m], table))


@compiled(nogil=True)
def polynomial_in(k: int, m: int, a: float, b: float, table: Array) -> float:  # pragma: no cover, compiled
    """Returns the polynomial of the cell (k, m) at distances a and b from the origin of the cell."""
    total = 0.0
    for q in range(table.shape[2] - 1, -1, -1):
        inner = 0.0
        for r in range(table.shape[3] - 1, -1, -1):
            inner = inner * b + table[k, m, q, r]
        total = total * a + inner
    return total


@compiled(nogil=True)
def evaluate(u: Array, v: Array, curve: Any, out: Array) -> None:  # pragma: no cover, compiled
    """Writes a curve (`Polynomials`) at (u, v) (n,) into `out` (n,); NaN where u or v is NaN."""
    u_edges, v_edges, u_origins, v_origins, table = curve
    for i in range(len(u)):
        if np.isnan(u[i]) or np.isnan(v[i]):
            out[i] = np.nan
        else:
            out[i] = polynomial_at(u[i], v[i], u_edges, v_edges, u_origins, v_origins, table)


@compiled(nogil=True)
def distances(
    values: Array, u: Array, v: Array, mean: Any, below: Any, above: Any, least: float, out: Array
) -> None:  # pragma: no cover, compiled
    """Writes the signed distances (n,) of `values` from the mean in units of the width on their side into `out`.

    They are NaN where a value, u or v is NaN. The curves have the same cells, which are looked up once.
    """
    u_edges, v_edges, u_origins, v_origins, table = mean
    for i in range(len(u)):
        if np.isnan(values[i]) or np.isnan(u[i]) or np.isnan(v[i]):
            out[i] = np.nan
            continue
        a = min(max(u[i], u_edges[0]), u_edges[-1])
        b = min(max(v[i], v_edges[0]), v_edges[-1])
        k, m = cell_of(u_edges, a), cell_of(v_edges, b)
        a -= u_origins[k]
        b -= v_origins[m]
        from_mean = values[i] - polynomial_in(k, m, a, b, table)
        side = below if from_mean < 0 else above
        out[i] = from_mean / max(polynomial_in(k, m, a, b, side[4]), least)
