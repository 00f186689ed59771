"""Missing values of estimators that need finite features, and tables with names as their input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.models.matrix import LazyMatrix, Matrix, slices
from pidlab.sample import FloatArray

_MOST_ROWS = 100_000  # from which medians are taken if no value is missing, where nothing depends on them


@dataclass(frozen=True, slots=True)
class MissingValues:
    """What takes the place of missing values, as in a run: medians, and columns that tell what was missing.

    Attributes:
        fill: (d,) the median of each feature in training, which replaces NaN.
        indicators: the features that had missing values in training; each adds a column after the d features, which is
            1 where the value is missing.
    """

    fill: NDArray[np.float64]
    indicators: tuple[int, ...]

    @classmethod
    def of(cls, x: Matrix) -> MissingValues:
        """Returns the medians of training features (n, d); if no value is missing, of up to 100,000 rows.

        No value of a `LazyMatrix` may be missing.
        """
        missing = np.zeros(x.shape[1], np.bool_)
        if not isinstance(x, LazyMatrix):
            for block in slices(len(x)):
                missing |= np.isnan(x[block]).any(axis=0)
        indicators = tuple(int(j) for j in np.flatnonzero(missing))
        rows = np.asarray(x) if indicators else x[np.arange(0, len(x), -(-len(x) // _MOST_ROWS) or 1)]
        known = [column[~np.isnan(column)] for column in rows.T]
        return cls(np.array([float(np.median(column)) if len(column) else 0.0 for column in known]), indicators)

    def filled(self, x: FloatArray) -> FloatArray:
        """Returns (n, d + m) features without NaN for (n, d); m is the number of indicators."""
        missing = np.isnan(x)
        if not self.indicators and not missing.any():
            return x
        whole = np.where(missing, self.fill.astype(x.dtype), x)
        return np.concatenate([whole, missing[:, list(self.indicators)].astype(x.dtype)], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Returns the medians and the indicators in the types of JSON."""
        return {"fill": self.fill.tolist(), "indicators": list(self.indicators)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None, n_inputs: int) -> MissingValues | None:
        """Returns what `to_json` described; None for a model of an older version.

        Args:
            content: what was saved.
            n_inputs: d + m, the number of columns that the model takes.

        Raises:
            KeyError, TypeError, ValueError: the content is damaged.
        """
        if content is None:
            return None
        fill, indicators = np.asarray(content["fill"], np.float64), tuple(content["indicators"])
        if fill.ndim != 1 or not np.isfinite(fill).all() or len(fill) + len(indicators) != n_inputs:
            raise ValueError("what fills missing values does not go with the model")
        if not all(type(j) is int and 0 <= j < len(fill) for j in indicators):
            raise ValueError("the columns that tell what is missing are damaged")
        return cls(fill, indicators)


def with_names(X: Any) -> Any:
    """Returns a table with names (awkward or numpy records, a dict of arrays) as a data frame; other X unchanged."""
    is_records = hasattr(X, "fields") or isinstance(X, Mapping) or getattr(getattr(X, "dtype", None), "names", None)
    if not is_records or hasattr(X, "tocsr"):  # a sparse matrix may be a dict, which scikit-learn refuses
        return X
    import pandas as pd

    from pidlab.read.memory import column_of, names_of

    return pd.DataFrame({name: column_of(X, name) for name in names_of(X)})
