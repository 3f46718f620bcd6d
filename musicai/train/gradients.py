"""What happens between `backward()` and `optimizer.step()`: average over processes, unscale, measure, clip.

`fit` hooks into the optimizers of its `state=`, so a step written in plain PyTorch gets the averaging and the norms
without a change. `update` writes the usual four lines as one, and adds what fp16 needs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from musicai.train.distributed import average_gradients

PRECISIONS = {None: None, "bf16": torch.bfloat16, "fp16": torch.float16}


def update(loss: Tensor, optimizer: Optimizer, max_norm: float | None = None) -> Tensor:
    """One optimizer step: zero_grad, backward, clip, step. Returns the loss, detached.

    >>> return {"loss": update(model.loss(batch), optimizer, max_norm=1.0)}  # doctest: +SKIP

    max_norm: gradients whose total norm is larger are scaled down to it ("On the difficulty of training recurrent
        neural networks", Pascanu et al. 2013), after averaging over processes.

    Inside `fit(precision="fp16")` the loss is scaled up before backward and the gradients down after it (Micikevicius
    et al. 2018, section 3.2), and a step whose gradients overflow is skipped.
    """
    if max_norm is not None and not max_norm > 0:
        raise ValueError(f"max_norm={max_norm!r}: give a norm above 0, or None for no clipping")
    gradients = _ACTIVE.get() or Gradients({})
    gradients.rescale(optimizer)
    optimizer.zero_grad()
    with torch.autocast(loss.device.type, enabled=False):  # backward runs in the types that forward chose
        gradients.scaled(loss).backward()
    gradients.prepare(optimizer, max_norm)
    gradients.step(optimizer)
    return loss.detach()


def precision_named(name: str | None, device: torch.device) -> torch.dtype | None:
    """The autocast type for None (full float32), "bf16", "fp16" or "auto": the best that this device does in hardware.

    Raises ValueError for any other name.
    """
    if name == "auto":
        name = None
        if device.type == "cuda":
            name = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if name not in PRECISIONS:
        raise ValueError(f'precision={name!r}: choose None, "bf16", "fp16" or "auto"')
    return PRECISIONS[name]


class Gradients:
    """The optimizers of one run, watched: `norms` holds the gradient norm of each one's latest step."""

    def __init__(self, optimizers: Mapping[str, Optimizer], scaler: torch.amp.GradScaler | None = None):
        self.names = {id(optimizer): name for name, optimizer in optimizers.items()}
        self.optimizers, self.scaler = list(optimizers.values()), scaler
        self.norms: dict[str, Tensor] = {}
        self._prepared: set[int] = set()
        self._stepped: set[int] = set()  # by the scaler, since it last set its scale

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While this lasts, plain `optimizer.step()` calls and `update` go through here."""
        hooks = [optimizer.register_step_pre_hook(self._before_step) for optimizer in self.optimizers]
        token = _ACTIVE.set(self)
        try:
            yield
        finally:
            _ACTIVE.reset(token)
            for hook in hooks:
                hook.remove()

    def rescale(self, optimizer: Optimizer) -> None:
        """Let fp16's scale be set anew where this optimizer has stepped before in the same step of training."""
        if id(optimizer) in self._stepped:
            self.scaler.update()
            self._stepped.clear()

    def scaled(self, loss: Tensor) -> Tensor:
        return loss if self.scaler is None else self.scaler.scale(loss)

    def prepare(self, optimizer: Optimizer, max_norm: float | None = None) -> None:
        """Average, unscale, measure and clip the gradients; `optimizer.step()` is all that is left to do."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        average_gradients(parameters)  # while still scaled: an overflow in one process must be seen by all
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if max_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
        if id(optimizer) in self.names:
            self.norms[self.names[id(optimizer)]] = norm
        self._prepared.add(id(optimizer))
        torch.clear_autocast_cache()  # else the next forward pass in this step would use the old weights in bf16

    def step(self, optimizer: Optimizer) -> None:
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)  # leaves the step out where a gradient is not finite
            self._stepped.add(id(optimizer))
        self._prepared.discard(id(optimizer))

    def finish(self) -> dict[str, Tensor]:
        """End one step of training; the norms measured in it are returned."""
        if self._stepped:
            self.scaler.update()
            self._stepped.clear()
        norms, self.norms = self.norms, {}
        return norms

    def _before_step(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        if id(optimizer) not in self._prepared:
            if self.scaler is not None:
                raise RuntimeError('with precision="fp16", call update(loss, optimizer) in place of optimizer.step()')
            self.prepare(optimizer)
        self._prepared.discard(id(optimizer))


_ACTIVE: ContextVar[Gradients | None] = ContextVar("active", default=None)
