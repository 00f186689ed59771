"""Particle identification on ROOT files: cuts, BDT and network compared fairly, and carried back into ROOT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pidlab import moved

if TYPE_CHECKING:
    from pidlab.apply.arrays import LoadedRun, load

__version__ = "0.1.0"
__all__ = ["LoadedRun", "__version__", "load"]

moved.install()


def __getattr__(name: str) -> Any:
    """`load` and `LoadedRun`, with the libraries they need, are imported when they are asked for."""
    if name in ("LoadedRun", "load"):
        import pidlab.apply.arrays

        return getattr(pidlab.apply.arrays, name)
    raise AttributeError(f"module 'pidlab' has no attribute {name!r}")
