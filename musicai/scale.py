"""One notebook, three sizes: the full run on a GPU, a smaller one on a CPU, seconds in a test.

>>> import os
>>> os.environ["MUSICAI_SCALE"] = "cpu"
>>> scaled(20_000, cpu=400, smoke=3)
400

The environment variable MUSICAI_SCALE ("smoke", "cpu" or "full") decides; without it a CUDA GPU means "full" and
anything else "cpu". Preface.
"""

import os
from typing import Literal, TypeVar

import torch

SCALES = ("smoke", "cpu", "full")
T = TypeVar("T")


def scale() -> Literal["smoke", "cpu", "full"]:
    """The size of this run: MUSICAI_SCALE where it is set, else "full" with a CUDA GPU and "cpu" without.

    Raises ValueError when MUSICAI_SCALE is set to anything else.
    """
    chosen = os.environ.get("MUSICAI_SCALE", "").strip().lower()
    if not chosen:
        return "full" if torch.cuda.is_available() else "cpu"
    if chosen not in SCALES:
        raise ValueError(f"MUSICAI_SCALE is {chosen!r}; set it to one of {', '.join(SCALES)}, or unset it")
    return chosen


def scaled(full: T, *, cpu: T | None = None, smoke: T | None = None) -> T:
    """The value for this scale: `scaled(20_000, cpu=400, smoke=3)`.

    A scale that is not given takes the value of the next larger one: without `smoke`, smoke is as cpu; without `cpu`
    too, both are as full.
    """
    values = {"full": full, "cpu": full if cpu is None else cpu}
    values["smoke"] = values["cpu"] if smoke is None else smoke
    return values[scale()]


def device() -> torch.device:
    """The best device here: CUDA, then Apple's MPS, then the CPU; under `torchrun`, each process gets its own GPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
