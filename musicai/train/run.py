"""A run of `fit`: where it is, what it has seen, and how it is saved and resumed."""

import dataclasses
import json
import math
from array import array
from collections.abc import Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from musicai.train import distributed
from musicai.train.average import Averages
from musicai.train.checkpoint import CheckpointError, put_state, read_checkpoint, save_checkpoint
from musicai.train.gradients import Gradients, precision_named

Losses = Mapping[str, Tensor | float]


class DivergedError(ArithmeticError):
    """A loss, a gradient norm or a weight is no longer finite; the message names it and the step."""


class History(dict[str, array]):
    """Name -> one number for each step: `history["loss"][n - 1]` is the loss of step n, NaN where there was none."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name in {**self, **values}:  # every column, so that all stay equally long
            column = self.setdefault(name, array("d"))
            column.extend(repeat(math.nan, step - len(column)))
            if name in values:
                column[step - 1] = values[name]

    def state_dict(self) -> dict[str, np.ndarray]:
        return {name: np.array(column) for name, column in self.items()}

    def load_state_dict(self, columns: Mapping[str, np.ndarray]) -> None:
        self.update({name: array("d", column.tolist()) for name, column in columns.items()})


class Run:
    """What `fit` returns, and what its callbacks are given.

    Attributes:
        step: steps done so far.
        steps: where it ends.
        state: the models and optimizers, as given to `fit`.
        history: name -> number of each step (see `History`): the losses, "grad/<optimizer>" (the norm of its
            gradients, before clipping, after averaging over processes), and what callbacks returned.
    """

    def __init__(
        self,
        steps: int,
        state: Mapping[str, Any],
        *,
        checkpoint: str | Path | None = None,
        precision: str | None = None,
        ema: float | Mapping[str, float] | None = None,
        config: Any = None,
        seed: int = 0,
        data: Any = None,
    ):
        self.step, self.steps, self.state = 0, steps, _checked_state(state)
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.rank, world = distributed.rank_and_world()
        self.config = _jsonable(config)
        order = data.describe() if hasattr(data, "describe") else None
        self.settings = {"config": self.config, "seed": seed, "batches": order}
        self.device = next((p.device for model in self._models() for p in model.parameters()), torch.device("cpu"))
        self.dtype = precision_named(precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type) if self.dtype == torch.float16 else None
        optimizers = {name: part for name, part in self.state.items() if isinstance(part, Optimizer)}
        self.gradients = Gradients(optimizers, self.scaler)
        self.averages = Averages(self.state, ema)
        self.history = History()
        # To read a loss is to wait for the GPU, or for the other processes: there, only now and then.
        self.read_every = 1 if self.device.type == "cpu" and world == 1 else 10
        self._unread: list[Losses] = []

    @property
    def ema(self) -> dict[str, nn.Module]:
        """Name -> model with averaged weights, in eval mode; empty without `ema=`."""
        return self.averages.models

    @property
    def finished(self) -> bool:
        """Whether the last step is done."""
        return self.step >= self.steps

    def is_due(self, every: int) -> bool:
        """True after every so many steps, and after the last."""
        return self.step % every == 0 or self.finished

    def took(self, losses: Losses) -> None:
        """Note that one more step was taken, with these losses."""
        self.step += 1
        norms = {f"grad/{name}": norm for name, norm in self.gradients.finish().items()}
        self._unread.append(_checked_losses(losses) | norms)
        self.averages.follow(self.step)

    def read(self) -> dict[str, float]:
        """Move the losses since the last reading into the history; those of this step are returned.

        Raises DivergedError for the first that is not finite.
        """
        rows, self._unread = self._unread, []
        values = iter(_numbers([value for row in rows for value in row.values()], self.device))
        for step, row in enumerate(rows, start=self.step - len(rows) + 1):
            numbers = {name: next(values) for name in row}
            for name, number in numbers.items():
                if not math.isfinite(number) and not (self.scaler and name.startswith("grad/")):  # fp16 skips those
                    raise self._diverged(f"{name} is {number} at step {step}")
            self.history.add(step, numbers)
        if self.scaler and self.scaler.get_scale() < 1e-3:
            raise self._diverged(f"gradients have overflowed in fp16 for the last steps up to step {self.step}")
        return numbers

    def save(self, path: str | Path | None = None) -> None:
        """Save to `path`, else to `checkpoint` (if there is one). Raises DivergedError for weights that are not finite.

        In a callback, `run.save(f"runs/notes-{run.step}.safetensors")` keeps a checkpoint for good.
        """
        path = path or self.checkpoint
        if path is None or self.rank != 0:
            return
        for name, model in self._named_models().items():
            for key, weights in model.named_parameters():
                if not torch.isfinite(weights).all():
                    raise self._diverged(f"weights {name}.{key} are not finite after step {self.step}")
        save_checkpoint(path, self._parts(), {"step": self.step, "settings": self.settings})

    def resume(self) -> bool:
        """Take up the run where `checkpoint` left it; False when there is no such file yet.

        Raises CheckpointError, listing every setting, name and shape that differs.
        """
        found = self.checkpoint is not None and self.checkpoint.exists()
        if found:
            self._load(*read_checkpoint(self.checkpoint))
        if distributed.anybody(distributed.average(torch.tensor(float(self.step))).item() != self.step):
            raise CheckpointError(f"the processes do not see the same {self.checkpoint}: put it on a shared disk")
        distributed.same_everywhere(t for m in self._named_models().values() for t in m.state_dict().values())
        return found

    def _load(self, saved: dict[str, Any], info: Any) -> None:
        try:
            step, settings = int(info["step"]), dict(info["settings"])
        except (TypeError, KeyError, ValueError) as error:
            raise CheckpointError(f"{self.checkpoint} was not written by fit: use load_checkpoint") from error
        parts, optional = self._parts(), {"fit.scaler"}  # there with fp16 only; a run may move to another GPU
        ours, theirs = _flat(self.settings), _flat(settings)
        also = [
            f"{name}: {theirs.get(name, 'missing')!r} in the checkpoint, {ours.get(name, 'missing')!r} here"
            for name in {**ours, **theirs}
            if ours.get(name, "missing") != theirs.get(name, "missing")
        ]
        also += [f"{name}: in the checkpoint, not here" for name in saved if name not in parts.keys() | optional]
        wanted = {name: part for name, part in parts.items() if name in saved or name not in optional}
        put_state(self.checkpoint, saved, wanted, also)
        self.step = step

    def _parts(self) -> dict[str, Any]:
        scaler = {"fit.scaler": self.scaler} if self.scaler else {}
        averages = {f"ema.{name}": model for name, model in self.ema.items()}
        return self.state | averages | scaler | {"fit.history": self.history}

    def _models(self) -> list[nn.Module]:
        return [part for part in self.state.values() if isinstance(part, nn.Module)]

    def _named_models(self) -> dict[str, nn.Module]:
        return {name: part for name, part in self._parts().items() if isinstance(part, nn.Module)}

    def _diverged(self, what: str) -> DivergedError:
        kept = f"{self.checkpoint} still holds finite weights" if self.checkpoint else "nothing was saved"
        return DivergedError(f"{what}; {kept}. A lower learning rate, or update(..., max_norm=1), may help")


def _checked_state(state: Mapping[str, Any]) -> dict[str, Any]:
    for name, part in state.items():
        if "." in name or not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
            raise TypeError(
                f"state[{name!r}] is a {type(part).__name__}: each needs state_dict() and load_state_dict(), and a "
                "name without a dot"
            )
    return dict(state)


def _checked_losses(losses: Losses) -> dict[str, Tensor | float]:
    if not isinstance(losses, Mapping):
        raise TypeError(f'step must return its losses by name, as in {{"loss": loss}}, not {type(losses).__name__}')
    for name, value in losses.items():
        if isinstance(value, Tensor) and value.numel() != 1:
            raise ValueError(f"loss {name!r} has shape {tuple(value.shape)}: return one number, such as its mean")
    return {name: v.detach().clone() if isinstance(v, Tensor) else v for name, v in losses.items()}


def _numbers(values: list[Tensor | float], device: torch.device) -> list[float]:
    """The values as numbers, averaged over the processes, in one reading from the device."""
    if not values:
        return []
    if device.type == "cpu":
        numbers = [float(value) for value in values]
        if distributed.rank_and_world()[1] == 1:
            return numbers
        together = torch.tensor(numbers, dtype=torch.float64)
    else:
        together = torch.stack([torch.as_tensor(v, dtype=torch.float32, device=device).reshape(()) for v in values])
    return distributed.average(together).tolist()


def _jsonable(config: Any) -> Any:
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    try:
        return json.loads(json.dumps(config))
    except TypeError as error:
        raise TypeError(
            f"config must be numbers, text, lists and dicts, to be kept in a checkpoint: {error}"
        ) from error


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    return {k: v for key, item in value.items() for k, v in _flat(item, f"{name}.{key}".lstrip(".")).items()}
