"""A moving average of the weights: smoother than the weights themselves, and often better to sample from."""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import nn


class Averages:
    """Copies of models whose weights follow the models': average <- d average + (1 - d) weights after each step.

    The decay d grows to the one that was asked for as min(decay, (1 + step) / (10 + step)), so that the random weights
    at the start are soon forgotten. Source: Polyak and Juditsky 1992; as in GANs, Yazici et al. 2019.
    """

    def __init__(self, state: Mapping[str, object], decay: float | Mapping[str, float] | None):
        models = {name: part for name, part in state.items() if isinstance(part, nn.Module)}
        self.decays = dict(decay) if isinstance(decay, Mapping) else dict.fromkeys(models, decay) if decay else {}
        for name, value in self.decays.items():
            if name not in models or not 0 <= value < 1:
                raise ValueError(f"ema: {name!r} with decay {value}; models are {list(models)}, decays 0 <= d < 1")
        self.models = {name: deepcopy(models[name]).eval().requires_grad_(False) for name in self.decays}
        self._pairs = [(self.decays[name], *_pair(self.models[name], models[name])) for name in self.decays]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the averages towards the weights as they are after `step` steps."""
        for decay, averages, weights, buffers in self._pairs:
            torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + step) / (10 + step)))
            for average, buffer in buffers:
                average.copy_(buffer)


def _pair(average: nn.Module, model: nn.Module) -> tuple[list, list, list]:
    return (
        list(average.parameters()),
        list(model.parameters()),
        list(zip(average.buffers(), model.buffers(), strict=True)),
    )
