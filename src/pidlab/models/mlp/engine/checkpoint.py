"""The state of a training in a file, from which it continues with the same bits after an interruption."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pidlab.atomic import replacing
from pidlab.errors import ModelError


def content_hash(tensors: Iterable[Tensor]) -> int:
    """Returns a checksum (CRC-32) of the numbers in the tensors."""
    checksum = 0
    for tensor in tensors:
        checksum = zlib.crc32(tensor.cpu().contiguous().numpy().tobytes(), checksum)
    return checksum


def write(path: Path, tensors: Mapping[str, Tensor], fingerprint: str) -> None:
    """Replaces the checkpoint by a new one; if the process is killed meanwhile, the old one stays whole."""
    owned = {name: tensor.cpu().clone() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(owned, temporary, {"training": fingerprint})


def read(path: Path, fingerprint: str) -> dict[str, Tensor]:
    """Returns the tensors that `write` stored.

    Raises:
        ModelError: the file is damaged, or belongs to a training with other data or parameters.
    """
    try:
        with safe_open(path, framework="pt") as file:
            stored = (file.metadata() or {}).get("training")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path}: cannot be read as a checkpoint ({error}); delete it to train from the start"
        ) from error
    if stored != fingerprint:
        raise ModelError(
            f"{path}: is the checkpoint of a training with other data or parameters; delete it, or name another file"
        )
    return tensors
