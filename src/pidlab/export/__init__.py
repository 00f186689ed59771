"""Export: models in other languages and formats, each checked against pidlab on events before it is kept."""

from pidlab.export.parity import Exported, ParityEvents, largest_difference, parity_events
from pidlab.export.run import FORMATS, export

__all__ = ["FORMATS", "Exported", "ParityEvents", "export", "largest_difference", "parity_events"]
