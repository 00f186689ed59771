"""The local search that moves the faces of a box until no exchange of two faces improves it."""

from __future__ import annotations

import numpy as np

from pidlab.models.cuts.grid import Array, Counter, Faces, Levels

_REACH = 48  # levels by which a face moves at most in one exchange
_TRIED = 48  # most promising exchanges, which are counted exactly
_MOST_EXCHANGES = 200
_LEAST_GAIN = 1e-7  # background that an exchange must remove


def polish(counter: Counter, low: Levels, high: Levels, target: float) -> Faces:
    """Returns the box (d,) to which exchanges of two faces lead, of at least the target's signal efficiency.

    In an exchange one face gives up signal, and another one takes it back where it costs less background. The effect of
    one face alone is known exactly from one pass; the effect of two is the sum except for candidates that both move
    over, so the most promising pairs are counted.

    Args:
        counter: the sample.
        low, high: (d,) levels of a box that reaches the target.
        target: signal efficiency.
    """
    best = counter.rates(low[None], high[None])[1][0]
    for _ in range(_MOST_EXCHANGES):
        lows, highs = _exchanges(counter, low, high, target)
        efficiency, background = counter.rates(lows, highs)
        background = np.where(efficiency >= target, background, np.inf)
        i = int(np.argmin(background))
        if not background[i] < best - _LEAST_GAIN:
            break
        best, low, high = background[i], lows[i], highs[i]
    return low, high


def _exchanges(counter: Counter, low: Levels, high: Levels, target: float) -> Faces:
    """Returns boxes (K, d) after the moves of one face, and the pairs of moves, that should remove most background."""
    face, level, signal, background = _single_moves(counter, low, high)
    spare = target - counter.rates(low[None], high[None])[0][0]
    partner, together = _partners(face, signal, background, spare)
    first = np.argsort(together)[:_TRIED]
    lows, highs = np.repeat(low[None], len(first), 0), np.repeat(high[None], len(first), 0)
    for moved in (first, partner[first]):
        rows, feature = np.arange(len(first)), face[moved] // 2
        side = face[moved] % 2 == 0
        lows[rows[side], feature[side]] = level[moved[side]]
        highs[rows[~side], feature[~side]] = level[moved[~side]]
    return counter.grid.repaired(lows, highs)


def _single_moves(counter: Counter, low: Levels, high: Levels) -> tuple[Levels, Levels, Array, Array]:
    """Returns all moves of one face (2j low, 2j + 1 high): face, new level, and the changes of both rates.

    The first of them leaves face 0 at its level.
    """
    grid = counter.grid
    tables = counter.level_shares(low, high)
    faces, levels, gains = [np.zeros(1, np.int64)], [low[:1]], [np.zeros((2, 1))]
    for j, n in enumerate(grid.n_levels):
        running = np.stack([np.concatenate([[0.0], np.cumsum(t[j, :n])]) for t in tables])
        missing = np.array([t[j, n] for t in tables])
        now = running[:, high[j] + 1] - running[:, low[j]] + missing * (low[j] == 0 and high[j] == n - 1)
        for side, at, first, last in (
            (0, low[j], grid.first_low[j], min(grid.last_low[j], high[j])),
            (1, high[j], max(grid.first_high[j], low[j]), grid.last_high[j]),
        ):
            new = np.arange(max(first, at - _REACH), min(last, at + _REACH) + 1)
            lows, highs = (new, np.full_like(new, high[j])) if side == 0 else (np.full_like(new, low[j]), new)
            inside = running[:, highs + 1] - running[:, lows] + missing[:, None] * ((lows == 0) & (highs == n - 1))
            faces.append(np.full(len(new), 2 * j + side))
            levels.append(new)
            gains.append(inside - now[:, None])
    signal, background = np.concatenate(gains, axis=1)
    return np.concatenate(faces), np.concatenate(levels), signal, background


def _partners(face: Levels, signal: Array, background: Array, spare: float) -> tuple[Levels, Array]:
    """Finds, for each move, the move of another face that adds least background and gives at least `spare` signal.

    Returns:
        Its index, and the background that both moves add, infinite if there is no such move.
    """
    together, partner = np.full(len(face), np.inf), np.zeros(len(face), np.int64)
    for other in range(int(face.max()) + 1):
        own = np.flatnonzero(face == other)
        own = np.append(own, 0)
        order = own[np.argsort(signal[own])]
        least = np.minimum.accumulate(background[order][::-1])[::-1]
        at = np.searchsorted(signal[order], spare - signal, side="left")
        reach = at < len(order)
        total = np.where(reach, background + least[np.minimum(at, len(order) - 1)], np.inf)
        better = (total < together) & (face != other)
        holder = _first_of_least(background[order], least)
        together[better], partner[better] = total[better], order[holder[at[better]]]
    return partner, together


def _first_of_least(values: Array, least: Array) -> Levels:
    """Returns, for each index, the first one at or after it that holds `least`, the minimum from the index on."""
    reached = np.where(values == least, np.arange(len(values)), len(values))
    return np.minimum.accumulate(reached[::-1])[::-1]
