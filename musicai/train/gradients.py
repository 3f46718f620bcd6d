"""What happens between `backward()` and `optimizer.step()`: average over processes, unscale, measure, clip.

`fit` hooks into the optimizers of its `state=`, so a step written in plain PyTorch gets the averaging and the norms
without any change. `update` writes the usual four lines as one and adds what fp16 needs.
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
    """One optimizer step: zero_grad, backward, clip, step.

    >>> weight = torch.nn.Parameter(torch.tensor(2.0))
    >>> update(weight**2, torch.optim.SGD([weight], lr=0.5))
    tensor(4.)
    >>> weight.item()
    0.0

    Inside `fit(precision="fp16")` the loss is scaled up before backward and the gradients down after it (Micikevicius
    et al. 2018, section 3.2), and a step whose gradients overflow is skipped.

    Args:
        loss: one number to make smaller.
        optimizer: of the parameters to change.
        max_norm: gradients whose total norm is larger are scaled down to it, after averaging over processes ("On the
            difficulty of training recurrent neural networks", Pascanu et al. 2013). None: no clipping.

    Returns: the loss, detached.

    Raises:
        ValueError: if max_norm is not above zero.

    Chapters 3 to 5.
    """
    if max_norm is not None and not max_norm > 0:
        raise ValueError(f"max_norm={max_norm!r}: give a norm above 0, or None for no clipping")
    gradients = _ACTIVE.get() or Gradients({})
    optimizer.zero_grad()
    with torch.autocast(loss.device.type, enabled=False):  # backward runs in the types that forward chose
        gradients.scaler.scale(loss).backward()
    gradients.prepare(optimizer, max_norm)
    gradients.scaler.step(optimizer)  # leaves the step out where gradients overflowed in fp16
    gradients.scaler.update()
    return loss.detach()


def autocast_dtype(precision: str | None, device: torch.device) -> torch.dtype | None:
    """The type for None (full float32), "bf16", "fp16" or "auto": the best that this device has in hardware.

    Raises ValueError for any other name.
    """
    if precision == "auto":
        precision = None
        if device.type == "cuda":
            precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision not in PRECISIONS:
        raise ValueError(f'precision={precision!r}: choose None, "bf16", "fp16" or "auto"')
    return PRECISIONS[precision]


class Gradients:
    """The optimizers of one run, watched: `norms` keeps the gradient norm of each one's latest step."""

    def __init__(self, optimizers: Mapping[str, Optimizer], scaler: torch.amp.GradScaler | None = None):
        self.names = {optimizer: name for name, optimizer in optimizers.items()}
        self.scaler = scaler or torch.amp.GradScaler(enabled=False)  # which passes everything through
        self.norms: dict[str, Tensor] = {}  # "grad/<optimizer>" -> norm
        self._prepared: Optimizer | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While this lasts, plain `optimizer.step()` calls and `update` go through here."""
        hooks = [optimizer.register_step_pre_hook(self._before_step) for optimizer in self.names]
        token = _ACTIVE.set(self)
        try:
            yield
        finally:
            _ACTIVE.reset(token)
            for hook in hooks:
                hook.remove()

    def prepare(self, optimizer: Optimizer, max_norm: float | None = None) -> None:
        """Average, unscale, measure and clip the gradients; all that is left to do is `optimizer.step()`."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        average_gradients(parameters)  # while still scaled: an overflow in one process must be seen by all
        self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if max_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
        if optimizer in self.names:
            self.norms[f"grad/{self.names[optimizer]}"] = norm
        self._prepared = optimizer
        torch.clear_autocast_cache()  # else the next forward pass of this step would use the old weights in bf16

    def _before_step(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        if self._prepared is not optimizer:
            if self.scaler.is_enabled():
                raise RuntimeError('with precision="fp16", call update(loss, optimizer) in place of optimizer.step()')
            self.prepare(optimizer)
        self._prepared = None


_ACTIVE: ContextVar[Gradients | None] = ContextVar("active", default=None)
