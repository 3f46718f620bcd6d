"""A run of `fit`: its step, its gradients, its averaged weights, its history, and how it is saved and resumed.

Between `backward()` and `optimizer.step()`, gradients are averaged over processes, unscaled, measured and clipped.
`fit` hooks into the optimizers of its `state=`, so a step written in plain PyTorch gets the averaging and the norms
without any change. `update` condenses the usual four lines into one and adds what fp16 needs.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from copy import deepcopy
from numbers import Real
from os.path import expanduser
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from musicai.train import distributed
from musicai.train.checkpoint import CheckpointError, read_checkpoint, restore, save_checkpoint

Losses = Mapping[str, Tensor | float]
PRECISIONS = {None: None, "auto": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class DivergedError(ArithmeticError):
    """A loss, a gradient norm or a weight is no longer finite; the message names it and the step.

    >>> raise DivergedError("loss is nan at step 7")
    Traceback (most recent call last):
    musicai.train.run.DivergedError: loss is nan at step 7

    Chapters 3 to 5 and 7.
    """


class TrainingRun:
    """What `fit` returns and passes to its callbacks.

    >>> run = fit(step, batches, steps=1000, state={"model": model}, ema=0.99)  # doctest: +SKIP
    >>> run.step, run.history["loss"][-1], run.ema["model"](x)  # doctest: +SKIP

    Args:
        steps: the step at which the run ends.
        state: name -> model, optimizer, ...; as for `fit`.
        checkpoint: the file to resume from and save to, or None.
        precision: as for `fit`.
        ema: as for `fit`.
        settings: the settings that a checkpoint must match before it is resumed.

    Attributes:
        step: the number of steps done so far.
        history: name -> one number per step (NaN if there was none): the losses, "grad/<optimizer>" (the norm of its
            gradients before clipping, after averaging over processes) and whatever callbacks returned.
        ema: name -> model with averaged weights, in eval mode; empty without `ema=`.

    Raises:
        TypeError: if a part of `state` cannot be saved.
        ValueError: for an unknown precision, or a decay that is not from 0 to 1.
        KeyError: if `ema` asks to average something that is not a model.

    Chapters 3 to 5 and 7.
    """

    def __init__(self, steps: int, state: Mapping, checkpoint, precision: str | None, ema, settings):
        if not isinstance(state, Mapping):
            raise TypeError(f'state must be a dict, as in {{"model": model}}, not a {type(state).__name__}')
        for name, part in state.items():
            if "." in name or name == "fit" or not hasattr(part, "load_state_dict"):
                needs = "it needs state_dict(), load_state_dict() and a name without a dot, other than 'fit'"
                raise TypeError(f"state[{name!r}] is a {type(part).__name__}; {needs}")
        self.step, self.steps, self.state, self.settings = 0, steps, dict(state), settings
        self.checkpoint = None if checkpoint is None else Path(expanduser(checkpoint))
        self.rank, world = distributed.rank_and_world()
        models = {name: part for name, part in state.items() if isinstance(part, nn.Module)}
        self.device = next((p.device for model in models.values() for p in model.parameters()), torch.device("cpu"))
        self.dtype = autocast_dtype(precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self._optimizers = {part: name for name, part in state.items() if isinstance(part, Optimizer)}
        self._prepared: Optimizer | None = None  # its gradients are ready for `step()`
        self._norms: dict[str, Tensor] = {}  # "grad/<optimizer>" -> the gradient norm of its latest step
        self._decays = ema if isinstance(ema, Mapping) else dict.fromkeys(models, ema) if ema else {}
        if not all(isinstance(decay, Real) and 0 <= decay <= 1 for decay in self._decays.values()):
            raise ValueError(f"ema={ema!r}: a decay must be a number from 0 to 1, such as 0.999")
        self.ema = {name: deepcopy(models[name]).eval().requires_grad_(False) for name in self._decays}
        self.history: dict[str, list[float]] = {}
        # Reading a loss waits for the GPU, or for the other processes; there, do it only now and then.
        self.read_every = 1 if self.device.type == "cpu" and world == 1 else 10
        self._unread: list[dict[str, Tensor | float]] = []

    @property
    def finished(self) -> bool:
        """Whether the last step is done."""
        return self.step >= self.steps

    def is_due(self, every: int) -> bool:
        """Whether something done every `every` steps, and after the last one, is due now."""
        return self.step % every == 0 or self.finished

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Make plain `optimizer.step()` calls and `update` go through this run for as long as the context lasts."""
        with ExitStack() as stack:
            for optimizer in self._optimizers:
                stack.enter_context(optimizer.register_step_pre_hook(self._before_step))
            stack.callback(_ACTIVE.reset, _ACTIVE.set(self))
            yield

    def prepare(self, optimizer: Optimizer, max_norm: float | None = None) -> None:
        """Average, unscale, measure and clip the gradients; after that, only `optimizer.step()` remains."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        distributed.average_gradients(parameters)  # while still scaled: an overflow in one must be seen by all
        self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if max_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
        if optimizer in self._optimizers:
            self._norms[f"grad/{self._optimizers[optimizer]}"] = norm
        self._prepared = optimizer
        torch.clear_autocast_cache()  # otherwise the next forward pass of this step would use the old weights in bf16

    def _before_step(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        if self._prepared is not optimizer:
            if self.scaler.is_enabled():
                raise RuntimeError('with precision="fp16", call update(loss, optimizer) in place of optimizer.step()')
            self.prepare(optimizer)
        self._prepared = None

    def record(self, losses: Losses) -> None:
        """Record one more step, with these losses."""
        if not isinstance(losses, Mapping):
            raise TypeError(f'step must return its losses by name, as in {{"loss": loss}}, not {type(losses).__name__}')
        self.step += 1
        row = {name: v.detach().clone() if isinstance(v, Tensor) else v for name, v in losses.items()}
        self._unread.append(row | self._norms)
        self._norms = {}
        self._average()

    def read(self) -> dict[str, float]:
        """Move the losses since the last read into the history and return those of the current step.

        Raises DivergedError at the first that is not finite.
        """
        rows, self._unread = self._unread, []
        values = iter(_numbers([value for row in rows for value in row.values()], self.device))
        for step, row in enumerate(rows, start=self.step - len(rows) + 1):
            numbers = {name: next(values) for name in row}
            for name, number in numbers.items():
                overflow = self.scaler.is_enabled() and name.startswith("grad/")  # such a step was skipped
                if not math.isfinite(number) and not overflow:
                    raise self._diverged(f"{name} is {number} at step {step}")
            self.add(step, numbers)
        if self.scaler.get_scale() < 1e-3:
            raise self._diverged(f"gradients have overflowed in fp16 at every step up to {self.step}")
        return numbers

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Set these values in the history for this step, which must be the latest."""
        for name in {**self.history, **values}:  # every column, so that all keep the same length
            column = self.history.setdefault(name, [])
            column += [math.nan] * (step - len(column))
            column[-1] = values.get(name, column[-1])

    def save(self) -> None:
        """Save to `checkpoint`, if there is one. Raises DivergedError if any weights are not finite."""
        if self.checkpoint is None or self.rank != 0:
            return
        for name, model in self._models().items():
            for key, weights in model.named_parameters():
                if not torch.isfinite(weights).all():
                    raise self._diverged(f"weights {name}.{key} are not finite after step {self.step}")
        save_checkpoint(self.checkpoint, self._parts(), {"step": self.step, "settings": self.settings})

    def resume(self) -> bool:
        """Continue from where `checkpoint` left off; return False if there is no such file yet.

        Raises CheckpointError, listing every setting, name and shape that differs.
        """
        found = self.checkpoint is not None and self.checkpoint.exists()
        if found:
            saved, info = read_checkpoint(self.checkpoint)
            if "fit" not in saved:
                raise CheckpointError(f"{self.checkpoint} was not written by fit: use load_checkpoint")
            restore(self.checkpoint, saved, self._parts(), info["settings"], self.settings)
            self.step = info["step"]
        if distributed.any_process(distributed.average(torch.tensor(float(self.step))).item() != self.step):
            raise CheckpointError(f"the processes do not see the same {self.checkpoint}: put it on a shared disk")
        distributed.broadcast(t for model in self._models().values() for t in model.state_dict().values())
        return found

    def state_dict(self) -> dict:
        """The state of `fit` itself: the scale of the gradients, and the history."""
        history = {name: torch.tensor(column, dtype=torch.float64) for name, column in self.history.items()}
        return {"scaler": self.scaler.state_dict(), "history": history}

    def load_state_dict(self, state: Mapping) -> None:
        """Restore what `state_dict` returned. If a run moves from bf16 to fp16, there is no scale to restore."""
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.history = {name: column.tolist() for name, column in state["history"].items()}

    @torch.no_grad()
    def _average(self) -> None:
        """Update the averages of the weights: average <- d average + (1 - d) weights.

        The decay d grows towards the requested one as min(decay, (1 + step) / (10 + step)), so that the random initial
        weights are soon forgotten. Source: Polyak and Juditsky 1992; in GANs, Yazici et al. 2019.
        """
        for name, average in self.ema.items():
            pace = 1 - min(self._decays[name], (1 + self.step) / (10 + self.step))
            model = self.state[name]
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), pace)
            for ours, theirs in zip(average.buffers(), model.buffers(), strict=True):
                ours.copy_(theirs)

    def _parts(self) -> dict:
        averages = {f"ema.{name}": model for name, model in self.ema.items()}
        return self.state | averages | {"fit": self}

    def _models(self) -> dict[str, nn.Module]:
        return {name: part for name, part in self._parts().items() if isinstance(part, nn.Module)}

    def _diverged(self, what: str) -> DivergedError:
        kept = f"{self.checkpoint} still holds finite weights" if self.checkpoint else "nothing was saved"
        return DivergedError(f"{what}; {kept}. A lower learning rate or update(..., max_norm=1) may help")


_ACTIVE: ContextVar[TrainingRun | None] = ContextVar("active", default=None)


def update(loss: Tensor, optimizer: Optimizer, max_norm: float | None = None) -> Tensor:
    """Take one optimizer step: zero_grad, backward, clip, step.

    >>> weight = torch.nn.Parameter(torch.tensor(2.0))
    >>> update(weight**2, torch.optim.SGD([weight], lr=0.5))
    tensor(4.)
    >>> weight.item()
    0.0

    Inside `fit(precision="fp16")` the loss is scaled up before backward and the gradients down after it (Micikevicius
    et al. 2018, section 3.2), and a step whose gradients overflow is skipped.

    Args:
        loss: the number to minimise.
        optimizer: the optimizer of the parameters to change.
        max_norm: if the total norm of the gradients is larger, they are scaled down to this, after averaging over
            processes ("On the difficulty of training recurrent neural networks", Pascanu et al. 2013). None means no
            clipping.

    Returns: the loss, detached.

    Raises:
        ValueError: if max_norm is not above zero.

    Chapters 3 to 5 and 7.
    """
    if max_norm is not None and not max_norm > 0:
        raise ValueError(f"max_norm={max_norm!r}: give a norm above 0, or None for no clipping")
    run = _ACTIVE.get() or TrainingRun(0, {}, None, None, None, None)  # without `fit`, nothing to scale or keep
    optimizer.zero_grad()
    with torch.autocast(loss.device.type, enabled=False):  # backward runs in the types that forward chose
        run.scaler.scale(loss).backward()
    run.prepare(optimizer, max_norm)
    run.scaler.step(optimizer)  # skips the step if gradients overflowed in fp16
    run.scaler.update()
    return loss.detach()


def autocast_dtype(precision: str | None, device: torch.device) -> torch.dtype | None:
    """The type for None (full float32), "bf16", "fp16" or "auto" (the best that this device has in hardware).

    Raises ValueError for any other name.
    """
    if precision == "auto" and device.type == "cuda":
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision not in PRECISIONS:
        raise ValueError(f'precision={precision!r}: choose None, "bf16", "fp16" or "auto"')
    return PRECISIONS[precision]


def _numbers(values: list[Tensor | float], device: torch.device) -> list[float]:
    """The values as numbers, averaged over the processes, in one read from the device."""
    if device.type == "cpu" or not values:
        together = torch.tensor([float(value) for value in values], dtype=torch.float64)
    else:
        together = torch.stack([torch.as_tensor(v, dtype=torch.float32, device=device).reshape(()) for v in values])
    return distributed.average(together).tolist()
