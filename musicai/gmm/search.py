"""The search for the best mixture: some starts, from each a climb; shown, called back, saved."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from musicai.gmm.attributes import NAMES, Kind
from musicai.gmm.data import Data
from musicai.gmm.em import expectation_maximisation
from musicai.gmm.saving import read, write
from musicai.gmm.start import random_numbers, start
from musicai.gmm.steps import Parameters

SAVE_SECONDS = 5


@dataclass
class Climb:
    """EM from one start: where it is, and the mean log-likelihood at each step so far."""

    parameters: Parameters
    lower_bounds: list[float] = field(default_factory=list)
    converged: bool = False

    @property
    def lower_bound(self) -> float:
        return self.lower_bounds[-1] if self.lower_bounds else -math.inf


class Search:
    """`n_init` climbs of the given mixture's settings over the data; `best()` runs them."""

    def __init__(self, mixture: Any, data: Data, kind: Kind, callback: Callable | None, checkpoint: str | Path | None):
        self.mixture, self.data, self.kind, self.callback = mixture, data, kind, callback
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.random_state = random_numbers(data, mixture.random_state)
        self.warm = mixture.warm_start and hasattr(mixture, "converged_")
        self.starts = 1 if self.warm else mixture.n_init
        self.number = 0  # of the climb
        self.climbs: dict[str, Climb] = {}  # "now" and "best"
        self.saved_at = time.monotonic()

    def best(self) -> Climb:
        """The climb that ended highest."""
        self._resume()
        with self._saved_if_interrupted():
            while self.number < self.starts:
                if "now" not in self.climbs:
                    self.climbs["now"] = self._start()
                self._climb(self.climbs["now"])
                now = self.climbs.pop("now")
                if "best" not in self.climbs or now.lower_bound > self.climbs["best"].lower_bound:
                    self.climbs["best"] = now
                self.number += 1
            self._save()
        return self.climbs["best"]

    def _start(self) -> Climb:
        if not self.warm:
            return Climb(start(self.data, self.mixture.get_params(), self.random_state))
        return Climb(self.mixture._parameters(self.data.device))

    def _climb(self, climb: Climb) -> None:
        """Step after step, until the likelihood changes by less than `tol`."""
        tol, done, most = self.mixture.tol, len(climb.lower_bounds), self.mixture.max_iter
        before = climb.lower_bound if done or not self.warm else self.mixture.lower_bound_
        steps = expectation_maximisation(self.data, climb.parameters, self.mixture.reg_covar)
        with self._bar(done) as bar:
            while len(climb.lower_bounds) < most and not climb.converged:
                climb.parameters, bound = next(steps)
                climb.lower_bounds.append(bound)
                climb.converged = abs(bound - before) < tol
                bar.set_postfix_str(f"log-likelihood {bound:.6g}, change {bound - before:.2g}", refresh=False)
                bar.update()
                before = bound
                self._after_step(climb)

    def _after_step(self, climb: Climb) -> None:
        if self.checkpoint and time.monotonic() - self.saved_at > SAVE_SECONDS:
            self._save()
        if self.callback is not None:
            self.mixture._keep(climb, self.kind)
            self.callback(self.mixture)

    def _bar(self, done: int) -> tqdm:
        mixture, of = self.mixture, f" {self.number + 1}/{self.starts}" if self.starts > 1 else ""
        off = not mixture.verbose or self.data.rank > 0
        every = mixture.verbose_interval
        return tqdm(total=mixture.max_iter, initial=done, desc=f"EM{of}", unit="step", disable=off, miniters=every)

    @contextmanager
    def _saved_if_interrupted(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._save()
            raise

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.checkpoint is None or self.data.rank > 0:
            return
        tensors, facts = {}, {"settings": self._settings(), "number": self.number, "climbs": {}}
        for name, climb in self.climbs.items():
            tensors |= {f"{name}.{part}": getattr(climb.parameters, part) for part in NAMES}
            facts["climbs"][name] = [climb.lower_bounds, climb.converged]
        kind, keys, *rest = self.random_state.get_state()
        tensors["random_state"] = torch.from_numpy(keys.astype(np.int64))
        write(self.checkpoint, tensors, facts | {"random_state": [kind, *rest]})

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        tensors, facts = read(self.checkpoint)
        ours, theirs = self._settings(), facts.get("settings", {})
        different = [
            f"{name}: {theirs.get(name)} there, {ours[name]} here" for name in ours if ours[name] != theirs.get(name)
        ]
        if different:
            raise ValueError(f"{self.checkpoint} belongs to another fit; use another file. {'; '.join(different)}")
        for name, (bounds, converged) in facts["climbs"].items():
            parts = {part: tensors[f"{name}.{part}"].to(self.data.device) for part in NAMES}
            parameters = Parameters(**parts, covariance_type=self.mixture.covariance_type)
            self.climbs[name] = Climb(parameters, bounds, converged)
        self.number = facts["number"]
        kind, *rest = facts["random_state"]
        self.random_state.set_state((kind, tensors["random_state"].numpy().astype(np.uint32), *rest))

    def _settings(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be gone on from: the settings, and the data's number and place."""
        settings = self.mixture.get_params()
        for name in ("random_state", "verbose", "verbose_interval"):
            del settings[name]
        arrays = [n for n, value in settings.items() if isinstance(value, Tensor | np.ndarray | list | tuple)]
        settings |= {name: torch.as_tensor(settings[name]).tolist() for name in arrays}
        frame = self.data.frame
        return settings | {"rows": self.data.rows, "shift": frame.shift.tolist(), "scale": frame.scale.tolist()}
