"""The runs of EM that a fit makes, of which the best is kept; their checkpoint; and files of mixtures."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from musicai.gmm._scale.rows import Data, as_tensor
from musicai.gmm._scale.start import random_numbers, start
from musicai.gmm.em import NAMES, Parameters
from musicai.storage import atomic_write

if TYPE_CHECKING:
    from musicai.gmm.mixture import GaussianMixture

HEADER = "musicai.gmm"
SAVE_SECONDS = 5


@dataclass
class EMRun:
    """EM from one start: where it is, and the mean log-likelihood at the last step and at each."""

    parameters: Parameters
    lower_bound: float = -math.inf
    lower_bounds: list[float] = field(default_factory=list)
    converged: bool = False


class Restarts:
    """Iterates over the runs of a fit. Inside a `with`, they are saved to `path` and resumed from there.

    Raises ValueError for the checkpoint of another fit.
    """

    def __init__(self, mixture: "GaussianMixture", data: Data, path: str | Path | None):
        self.mixture, self.data, self.path = mixture, data, path
        self.random_state = random_numbers(data, mixture.random_state)
        self.warm = mixture.warm_start and hasattr(mixture, "converged_")
        self.runs: dict[str, EMRun] = {}  # "now" and "best"
        self.done, self.saved_at = 0, time.monotonic()

    def __enter__(self) -> "Restarts":
        if self.path is not None and Path(self.path).exists():
            self._resume(read_state(self.path))
        return self

    def __exit__(self, *_) -> None:
        self.save()

    def __iter__(self) -> Iterator[EMRun]:
        while self.done < (1 if self.warm else self.mixture.n_init):
            yield self.runs.setdefault("now", self.runs.get("now") or self._new())
            now, self.done = self.runs.pop("now"), self.done + 1
            if "best" not in self.runs or now.lower_bound > self.runs["best"].lower_bound:
                self.runs["best"] = now

    def save(self, every: float = 0) -> None:
        """Write the checkpoint, if the last is at least `every` seconds old."""
        if self.path is None or self.data.rank > 0 or time.monotonic() - self.saved_at < every:
            return
        self.saved_at = time.monotonic()
        _, keys, *position = self.random_state.get_state()
        state = {"settings": self._settings(), "done": self.done, "random": keys, "position": position, "runs": {}}
        for name, run in self.runs.items():
            state["runs"][name] = [run.lower_bound, run.lower_bounds, run.converged]
            state |= {f"{name}.{part}": getattr(run.parameters, part) for part in NAMES}
        write_state(self.path, state)

    def _resume(self, state: dict[str, Any]) -> None:
        ours, theirs = json.loads(json.dumps(self._settings(), default=_plain)), state.get("settings", {})
        different = [f"{n}: {theirs.get(n)} there, {own} here" for n, own in ours.items() if own != theirs.get(n)]
        if different:
            raise ValueError(f"{self.path} belongs to another fit; use another file. {'; '.join(different)}")
        for name, facts in state["runs"].items():
            parts = (as_tensor(state[f"{name}.{part}"]).to(self.data.device) for part in NAMES)
            self.runs[name] = EMRun(Parameters(*parts, self.mixture.covariance_type), *facts)
        self.done = state["done"]
        self.random_state.set_state(("MT19937", state["random"], *state["position"]))

    def _new(self) -> EMRun:
        if self.warm:
            return EMRun(self.mixture._parameters(self.data.device), self.mixture.lower_bound_)
        return EMRun(start(self.data, self.mixture.get_params(), self.random_state))

    def _settings(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be resumed: the settings, and the data's number and place."""
        settings, frame = self.mixture.get_params(), self.data.frame
        for name in ("random_state", "verbose", "verbose_interval"):
            del settings[name]
        return settings | {"rows": self.data.rows, "shift": frame.shift, "scale": frame.scale}


def _plain(value: Any) -> Any:
    return value.tolist()  # what JSON does not know is an array, a tensor, or one of NumPy's numbers


def write_state(path: str | Path, state: dict[str, Any]) -> None:
    """Write arrays, tensors, and values that JSON knows to one file (safetensors, JSON in its header), atomically."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray | Tensor)}
    facts = {name: value for name, value in state.items() if name not in arrays}
    facts["numpy"] = [name for name, value in arrays.items() if isinstance(value, np.ndarray)]
    arrays = {n: np.ascontiguousarray(a.detach().cpu() if isinstance(a, Tensor) else a) for n, a in arrays.items()}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(save(arrays, {HEADER: json.dumps(facts, default=_plain)}))


def read_state(path: str | Path) -> dict[str, Any]:
    """What `write_state` wrote. Raises ValueError for any other file, FileNotFoundError if there is none."""
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[HEADER])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        numpy = facts.pop("numpy")
        return facts | {name: value if name in numpy else as_tensor(value) for name, value in arrays.items()}
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not a file of a Gaussian mixture, or is incomplete ({reason})") from error
