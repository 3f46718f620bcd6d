"""How far the distributions that a sampler draws from are from the model's. Chapter 5."""

from collections.abc import Mapping

import torch
from torch import Tensor

from musicai.wavenet.generate.generation import Request, checked_samples
from musicai.wavenet.generate.samplers import features
from musicai.wavenet.heads import log_mass, mu_law_edges
from musicai.wavenet.model import WaveNet

CODES = 256  # mu-law codes by which two densities are compared
HELD = 2**22  # numbers that are compared at once


@torch.inference_mode()
def total_variation(
    model: WaveNet, samples: Tensor, conditioning: Mapping | None = None, *, precision: str = "int8"
) -> Tensor:
    """The total variation distance between the model's distribution of each sample and the compiled sampler's.

    >>> model = WaveNet(layers=4, stacks=2, residual_channels=8)
    >>> total_variation(model, torch.randint(256, (1, 50)), precision="int16").mean() < 0.01
    tensor(True)

    Half the sum of the absolute differences of all probabilities: no event is likelier by more under the one than
    under the other. Both are given the same past, so that errors do not add up. Values from a mixture of Gaussians are
    compared by the probabilities of the 256 mu-law codes.

    Args:
        model: a WaveNet.
        samples: codes or values (streams, length), the past of each other.
        conditioning: "local" and "instrument", as for `sample`.
        precision: "float32", "int16" or "int8".

    Returns: (streams, length), each between 0 and 1.

    Raises:
        ValueError: an argument that `sample` refuses.

    Chapter 5.
    """
    from musicai.wavenet._fast.compiled import Compiled  # numba, which takes a second to import

    streams, length = samples.shape
    samples = checked_samples("samples", model, samples, streams)
    request = Request(model, length, conditioning, streams, 1.0, None, 0, None, None, "cpu", precision, length)
    model, previous = request.model, model.previous(samples)
    compiled = Compiled(model, request.conditioning, request.draw, previous[:, 0], request.precision).answers(samples)
    truth = model.head.linear(features(model, previous, request.conditioning.block(0, length)))
    step = max(HELD // (streams * CODES * truth.shape[-1]), 1)
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
