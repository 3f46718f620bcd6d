"""One notebook, three scales: the full run on a GPU, a smaller one on a CPU, and a test that takes seconds.

>>> import os
>>> os.environ["MUSICAI_SCALE"] = "cpu"
>>> scaled(20_000, cpu=400, smoke=3)
400

The environment variable MUSICAI_SCALE ("smoke", "cpu" or "full") sets the scale; if it is unset, a CUDA GPU means
"full" and anything else "cpu". MUSICAI_DEVICE ("cpu", "cuda:1", ...) chooses the device. Preface.
"""

import os
from typing import Literal, TypeVar

import torch

__all__ = ["SCALES", "current_scale", "device", "scaled"]

SCALES = ("smoke", "cpu", "full")
T = TypeVar("T")


def current_scale() -> Literal["smoke", "cpu", "full"]:
    """Find the scale of this run.

    >>> current_scale() in SCALES
    True

    Returns: the value of MUSICAI_SCALE; if it is unset, "full" with a CUDA GPU and "cpu" otherwise.

    Raises:
        ValueError: if MUSICAI_SCALE is set to anything else.

    Preface.
    """
    chosen = os.environ.get("MUSICAI_SCALE", "").strip().lower()
    if not chosen:
        return "full" if torch.cuda.is_available() else "cpu"
    if chosen not in SCALES:
        raise ValueError(f"MUSICAI_SCALE is {chosen!r}; set it to one of {', '.join(SCALES)}, or unset it")
    return chosen


def scaled(full: T, *, cpu: T | None = None, smoke: T | None = None) -> T:
    """Choose the value for the current scale.

    >>> steps = scaled(20_000, cpu=400, smoke=3)

    Args:
        full: the value for the full run.
        cpu: the value on a CPU; None means the same as in the full run.
        smoke: the value in a test; None means the same as on a CPU.

    Returns: one of the three.

    Raises:
        ValueError: if MUSICAI_SCALE is not one of the three scales.

    Preface.
    """
    values = {"full": full, "cpu": full if cpu is None else cpu}
    values["smoke"] = values["cpu"] if smoke is None else smoke
    return values[current_scale()]


def device() -> torch.device:
    """Choose the best device on this machine; under `torchrun`, each process gets a GPU of its own.

    >>> model = torch.nn.Linear(2, 2).to(device())

    Returns: the value of MUSICAI_DEVICE; if it is unset, CUDA if available, else Apple's MPS, else the CPU.

    Raises:
        ValueError: if MUSICAI_DEVICE names a device that cannot be used here.

    Preface.
    """
    chosen = os.environ.get("MUSICAI_DEVICE", "").strip().lower()
    if chosen:
        try:
            return torch.empty(0, device=chosen).device
        except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's message has many lines
            reason = str(error).splitlines()[0]
            raise ValueError(f"the device {chosen!r} cannot be used here ({reason}); try cpu") from error
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
