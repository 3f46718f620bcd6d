"""The small game: two multilayer perceptrons over densities that can be drawn, in one or two dimensions. Chapter 4."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from musicai.pretrained import Pretrained


class ToyGenerator(Pretrained, nn.Module):
    """z, normal, to points: `depth` hidden layers of `width`.

    >>> generator = ToyGenerator(features=2)
    >>> generator(generator.latent(5)).shape
    torch.Size([5, 2])

    Args:
        features: dimensions of a point.
        z_size: dimensions of z.
        width, depth: of the hidden layers.
    """

    def __init__(self, features: int = 1, z_size: int = 2, width: int = 64, depth: int = 2):
        super().__init__()
        self.config = {"features": features, "z_size": z_size, "width": width, "depth": depth}
        self.layers = perceptron(z_size, features, width, depth)

    def forward(self, z: Tensor) -> Tensor:
        """Points for z."""
        return self.layers(z)  # (B, features)

    def latent(self, n: int) -> Tensor:
        """n draws of z, shape (n, z_size), standard normal."""
        return torch.randn(n, self.config["z_size"], device=self.layers[0].weight.device)  # (n, Z)


class ToyDiscriminator(Pretrained, nn.Module):
    """Points to logits: `depth` hidden layers of `width`.

    >>> ToyDiscriminator(features=2)(torch.zeros(5, 2)).shape
    torch.Size([5, 1])

    Args:
        features: dimensions of a point.
        width, depth: of the hidden layers.
    """

    def __init__(self, features: int = 1, width: int = 64, depth: int = 2):
        super().__init__()
        self.config = {"features": features, "width": width, "depth": depth}
        self.layers = perceptron(features, 1, width, depth)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, one for each point."""
        return self.layers(x)  # (B, 1)


def perceptron(inputs: int, outputs: int, width: int, depth: int) -> nn.Sequential:
    """Linear layers with LeakyReLU between them."""
    widths = [inputs, *[width] * depth]
    layers = [x for a, b in pairwise(widths) for x in (nn.Linear(a, b), nn.LeakyReLU(0.2))]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


def mode_shares(points: Tensor, modes: Tensor, radius: float) -> Tensor:
    """The share of points that lie nearest to each mode and within `radius` of it; a lost mode has about 0.

    Args:
        points: (N, features).
        modes: (M, features), the centres of a known mixture.
        radius: such as three standard deviations of one mode.
    Returns:
        (M,); what is missing to a sum of 1 belongs to no mode.
    """
    distance, nearest = torch.cdist(points, modes).min(1)  # (N,), (N,)
    return torch.bincount(nearest[distance <= radius], minlength=len(modes)) / len(points)  # (M,)
