"""A file that grows by each block of samples, so that a run that is killed can go on."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class Record:
    """Samples in a file: a line of JSON that says whose they are, then the samples of each time in turn, 4 bytes each.

    Args:
        path: of the file, which is made if it is not there. identity: what a call must have in common with the one
            that began the file. like: an empty tensor (streams, 0) of the samples' type. finished: how many of t
            samples are those of whole blocks.

    `samples` (streams, t) are those that the file holds; a block that was written in part is dropped.

    Raises ValueError if the file is of another call, and says in what it differs, or if it is no record.
    """

    def __init__(self, path: str | Path, identity: dict, like: Tensor, finished: Callable[[int], int]):
        self.path, self.like = Path(path), like
        self.kind = np.dtype("<f4" if like.is_floating_point() else "<i4")
        head = json.dumps({"musicai.sampling": 1, **identity}).encode() + b"\n"
        if self.path.exists() and self.path.stat().st_size:
            self._check(head)
        else:
            self.path.write_bytes(head)
        self.samples = self._read(len(head), finished)

    def append(self, block: Tensor) -> None:
        """Add samples (streams, T)."""
        with self.path.open("ab") as file:
            file.write(block.T.numpy().astype(self.kind).tobytes())

    def _check(self, head: bytes) -> None:
        with self.path.open("rb") as file:
            found = file.readline(len(head) + 10_000)
        try:
            theirs, ours = json.loads(found), json.loads(head)
            known = theirs.get("musicai.sampling") == ours["musicai.sampling"]
        except (ValueError, AttributeError):
            known = False
        if not known:
            raise ValueError(f"{self.path} is no record of samples; name another file")
        other = [name for name in ours if theirs.get(name) != ours[name]]
        if other:
            raise ValueError(
                f"{self.path} was begun by a call with another {', '.join(other)}; delete it, or name another file"
            )

    def _read(self, start: int, finished: Callable[[int], int]) -> Tensor:
        streams = len(self.like)
        width = streams * self.kind.itemsize
        whole = finished((self.path.stat().st_size - start) // width)
        with self.path.open("r+b") as file:
            file.truncate(start + whole * width)
            file.seek(start)
            numbers = np.frombuffer(file.read(), self.kind).reshape(whole, streams)
        return torch.from_numpy(numbers.T.copy()).to(self.like.dtype)
