"""What a model is conditioned on while it samples: checked once, by name; brought to the sample rate block by block."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from musicai.wavenet import WaveNet

NAMES = ("local", "instrument")


class Conditioning:
    """Conditioning of `streams` streams of `length` samples.

    Args:
        given: a mapping with "local", a tensor (local_channels, frames) for all streams or (streams, local_channels,
            frames), and "instrument", a number or int64 (streams,): those that the model has layers for, and no others.

    Raises ValueError, which names what is wrong: a part that is missing or unknown to the model, a wrong length, NaN or
    infinity, no such instrument.
    """

    def __init__(self, model: WaveNet, given: Mapping | None, streams: int, length: int):
        self.model, self.length = model, length
        self.factor = math.prod(model.config.upsample)
        self.margin = len(model.config.upsample) + 1  # frames beyond a block's own that its upsampling may look at
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f"conditioning must be a mapping such as {{'local': ...}}; got a {type(given).__name__}")
        given = dict(given or {})
        for name in given.keys() - set(NAMES):
            raise ValueError(f"unknown conditioning {name!r}; there are {' and '.join(map(repr, NAMES))}")
        device = next(model.parameters()).device
        local = _wanted(model, "local", given.get("local"), model.upsample)
        instrument = _wanted(model, "instrument", given.get("instrument"), model.instruments)
        self.local = None if local is None else self._checked_local(local, streams).to(device)
        self.instrument = None if instrument is None else self._checked_instrument(instrument, streams).to(device)

    @property
    def constant(self) -> bool:
        """Whether it is the same at all times."""
        return self.local is None

    def select(self, stream: int) -> "Conditioning":
        """That of one stream alone."""
        one = object.__new__(Conditioning)
        one.__dict__.update(self.__dict__)
        one.local = None if self.local is None else self.local[stream : stream + 1]
        one.instrument = None if self.instrument is None else self.instrument[stream : stream + 1]
        return one

    def block(self, start: int, stop: int) -> Tensor | None:
        """What the blocks see at samples [start, stop): (streams, channels, stop - start), as `WaveNet.condition`."""
        parts = []
        if self.local is not None:
            first = max(start // self.factor - self.margin, 0)
            frames = self.local[..., first : -(-stop // self.factor) + self.margin]
            offset = first * self.factor
            parts.append(self.model.upsampled(frames, self.instrument)[..., start - offset : stop - offset])
        if self.instrument is not None:
            parts.append(self.model.instruments(self.instrument)[..., None].expand(-1, -1, stop - start))
        return torch.cat(parts, dim=1) if parts else None

    def _checked_local(self, local: Tensor, streams: int) -> Tensor:
        local = as_numbers("local conditioning", local)
        channels, frames = self.model.config.local_channels, -(-self.length // self.factor)
        if tuple(local.shape) not in {(channels, frames), (streams, channels, frames)}:
            raise ValueError(
                f"local conditioning has shape {tuple(local.shape)}; {self.length} samples at {self.factor} a frame "
                f"need {(channels, frames)}, or {(streams, channels, frames)} for each stream its own"
            )
        if not torch.isfinite(local).all():
            raise ValueError("local conditioning holds NaN or infinity")
        return local.to(next(self.model.parameters()).dtype).expand(streams, -1, -1)

    def _checked_instrument(self, instrument: Tensor | int, streams: int) -> Tensor:
        number, known = as_numbers("instrument", instrument), self.model.config.global_classes
        if number.is_floating_point() or number.dtype == torch.bool or tuple(number.shape) not in {(), (streams,)}:
            found = f"{number.dtype} of shape {tuple(number.shape)}"
            raise ValueError(f"instrument must be a whole number, or int64 of shape ({streams},); got {found}")
        bad = number[(number < 0) | (number >= known)].flatten()
        if len(bad):
            raise ValueError(f"no such instrument: {int(bad[0])}; this model knows 0 to {known - 1}")
        return number.long().expand(streams)


def as_numbers(name: str, value: object) -> Tensor:
    """A tensor of real numbers, or a ValueError that names what is none."""
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be numbers, such as a tensor; got {value!r:.60}") from error
    if tensor.is_complex():
        raise ValueError(f"{name} must be real numbers; got {tensor.dtype}")
    return tensor


def _wanted(model: WaveNet, name: str, value: object, layer: object) -> object:
    if (layer is None) != (value is None):
        does = "needs" if layer is not None else "knows no"
        raise ValueError(f"this model {does} {name} conditioning; conditioning={{{name!r}: ...}}")
    return value
