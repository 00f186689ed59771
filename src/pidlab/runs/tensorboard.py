"""Event files of TensorBoard: the histories of trained models, to be looked at beside those of other programs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from pidlab.errors import UsageError
from pidlab.models.categories import CategoryModel
from pidlab.models.fold import FoldModel
from pidlab.models.model import Model

FOLDER = "tensorboard"


def check_installed() -> None:
    """Checks that event files can be written.

    Raises:
        UsageError: the package tensorboard is not installed.
    """
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
        from tensorboard.compat.proto import event_pb2  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"--tensorboard needs the package tensorboard ({error}): pip install 'pidlab[tensorboard]'"
        ) from error


def write_histories(folder: Path, models: Mapping[str, Model]) -> None:
    """Writes the history of every training into `tensorboard/MODEL[/foldN][/CATEGORY]` of the folder of a run.

    A scalar is called as TensorBoard groups them: `loss/train`, `loss/validation`, `auc/validation`, `learning_rate`,
    and for each layer of a network `weight_norm/layer1`, `gradient_norm/output` and so on. Its steps are epochs or
    rounds, counted from 1, and its time is that of writing.
    """
    for name, model in models.items():
        for number, fitted in enumerate(model.fitted):
            place = folder / FOLDER / name / (f"fold{number}" if len(model.fitted) > 1 else "")
            for below, one in _each(fitted):
                scalars = dict(_scalars(one))
                if scalars:
                    _write(place / below, scalars)


def _each(fitted: FoldModel | CategoryModel) -> Iterator[tuple[str, FoldModel]]:
    """Yields the models of the categories by name, or the one model without a name."""
    if isinstance(fitted, CategoryModel):
        yield from ((category.name, category.model) for category in fitted.categories)
    else:
        yield "", fitted


def _scalars(fitted: FoldModel) -> Iterator[tuple[str, list[float]]]:
    """Yields the tag and the values of each quantity of the history."""
    history = {name: values for name, values in fitted.estimator.history_.items() if values}
    for name, values in history.items():
        yield tag_of(name), values
    rate = getattr(fitted.estimator, "learning_rate", None)
    if history and "learning_rate" not in history and isinstance(rate, int | float):
        yield "learning_rate", [float(rate)] * max(map(len, history.values()))  # of boosting: the same in every round


def tag_of(name: str) -> str:
    """Returns the tag of a quantity of the history: `loss/validation` for "validation_loss"."""
    for what in ("weight_norm", "gradient_norm"):
        if name.startswith(f"{what}_"):
            layer = name.removeprefix(f"{what}_")
            return f"{what}/{f'layer{layer}' if layer.isdecimal() else layer}"
    if name == "learning_rate":
        return name
    for sample in ("train", "validation"):
        if name.startswith(f"{sample}_"):
            return f"{name.removeprefix(f'{sample}_')}/{sample}"
    return f"{name}/train"


def _write(folder: Path, scalars: Mapping[str, list[float]]) -> None:
    """Writes one event file with a record for each step of each scalar."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True)
    now = time.time()
    # TensorBoard reads every file whose name has "tfevents" in it, in the order of the names.
    path = folder / f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}"
    with closing(RecordWriter(path.open("xb"))) as writer:
        writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        for step in range(1, 1 + max(map(len, scalars.values()))):
            values = [
                Summary.Value(tag=tag, simple_value=numbers[step - 1])
                for tag, numbers in scalars.items()
                if step <= len(numbers)
            ]
            writer.write(Event(wall_time=now, step=step, summary=Summary(value=values)).SerializeToString())
