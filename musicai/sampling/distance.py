"""How far the distributions that a sampler draws from are from the model's. Chapter 5."""

from collections.abc import Mapping

import torch
from torch import Tensor

from musicai.audio import mu_law_edges
from musicai.sampling.naive import features
from musicai.sampling.run import Run, checked_samples
from musicai.wavenet import WaveNet, log_mass

CODES = 256  # mu-law codes by which two densities are compared
HELD = 2**22  # numbers that are compared at once


@torch.inference_mode()
def total_variation(
    model: WaveNet, samples: Tensor, conditioning: Mapping | None = None, *, precision: str = "int8"
) -> Tensor:
    """The total variation distance between the model's distribution of each sample and the compiled sampler's.

    Half the sum of the absolute differences of all probabilities: no event is likelier by more under the one than
    under the other. Both are given the same past, so that errors do not add up. Values from a mixture of Gaussians are
    compared by the probabilities of the 256 mu-law codes.

    Args:
        model: a WaveNet on the CPU. samples: codes or values (streams, length). conditioning: see `sample`.
        precision: "float32", "int16" or "int8".

    Returns: (streams, length), each between 0 and 1.

    Raises ValueError for arguments that `sample` refuses, ImportError without numba. Chapter 5.
    """
    from musicai.sampling.cpu import Compiled  # numba

    streams, length = samples.shape
    samples = checked_samples("samples", model, samples, streams)
    run = Run(model, length, conditioning, streams=streams, method="cpu", precision=precision)
    previous = model.previous(samples)
    h, exact = run.conditioning.block(0, length), model.head.linear
    compiled = Compiled(model, run.conditioning, run.draw, previous[:, 0], precision).answers(samples)
    truth = exact(features(model, previous, h))
    step = max(HELD // (streams * CODES * exact.out_features), 1)
    parts = zip(truth.split(step, dim=1), compiled.split(step, dim=1), strict=True)
    return torch.cat([_distance(_probabilities(model, a), _probabilities(model, b)) for a, b in parts], dim=1)


def _distance(p: Tensor, q: Tensor) -> Tensor:
    return (p - q).abs().sum(-1).float() / 2


def _probabilities(model: WaveNet, raw: Tensor) -> Tensor:
    """The head's distribution, (..., classes), from what its linear layer gives."""
    if not model.config.mixtures:
        return raw.double().softmax(-1)
    codes = torch.arange(CODES)
    return log_mass(model.head.mixture(raw.double()[..., None, :]), *mu_law_edges(codes)).exp()
