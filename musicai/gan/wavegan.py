"""WaveGAN as in appendix D of Donahue, McAuley and Puckette, "Adversarial Audio Synthesis", ICLR 2019. Chapter 4.

One number, `size` (d in the paper, where it is 64), sets the width of both networks. A sound has 16,384 samples.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from musicai.pretrained import Pretrained

from .game import check_input

WIDTHS = (16, 8, 4, 2, 1)  # channels of the generator's layers, in units of `size`; the discriminator's are reversed
STEPS = 16  # time steps of the first layer
SAMPLES = STEPS * 4**5  # five layers of stride 4: 16,384
KERNEL = {"kernel_size": 25, "stride": 4, "padding": 11}


class WaveGANGenerator(Pretrained, nn.Module):
    """From z to sound: a dense layer, then five transposed convolutions that each stretch time by four.

    >>> generator = WaveGANGenerator(size=8)
    >>> generator(generator.latent(2)).shape
    torch.Size([2, 1, 16384])

    Args:
        size: the width d; 64 in the paper (19,065,345 weights).
        channels: audio channels.
        z_size: dimensions of z, each uniform in [-1, 1].

    Source: Donahue et al. 2019, table 3. Weights are initialised as in the authors' code (Glorot and Bengio 2010,
    uniform).
    Chapter 4.
    """

    def __init__(self, size: int = 64, channels: int = 1, z_size: int = 100):
        super().__init__()
        self.config = {"size": size, "channels": channels, "z_size": z_size}
        widths = [size * width for width in WIDTHS] + [channels]
        self.dense = nn.Linear(z_size, STEPS * widths[0])
        self.layers = nn.ModuleList([nn.ConvTranspose1d(a, b, **KERNEL, output_padding=1) for a, b in pairwise(widths)])
        self.apply(_initialise)

    def forward(self, z: Tensor) -> Tensor:
        """Sounds (B, channels, 16384) in [-1, 1] for z (B, z_size).

        Raises:
            ValueError: if z has another shape.
        """
        check_input("z", z, ("B", self.config["z_size"]), "draw it with generator.latent(B)")
        x = self.dense(z).unflatten(1, (-1, STEPS))  # (B, 256 d), (B, 16 d, 16)
        for layer in self.layers:
            x = layer(x.relu())  # (B, 8 d, 64), (B, 4 d, 256), (B, 2 d, 1024), (B, d, 4096), (B, channels, 16384)
        return x.tanh()

    def latent(self, n: int) -> Tensor:
        """n draws of z, shape (n, z_size), uniform in [-1, 1]."""
        return torch.rand(n, self.config["z_size"], device=self.dense.weight.device) * 2 - 1  # (n, Z)


class WaveGANDiscriminator(Pretrained, nn.Module):
    """From sound to one logit: five convolutions that each shrink time by four, then a dense layer.

    >>> WaveGANDiscriminator(size=8)(torch.zeros(2, 1, 16384)).shape
    torch.Size([2, 1])

    Args:
        size: the width d; 64 in the paper (17,427,969 weights).
        channels: audio channels.
        shuffle: the n of `PhaseShuffle` after each of the first four layers; 2 in the paper, 0 for none.

    Source: Donahue et al. 2019, table 4.
    Chapter 4.
    """

    def __init__(self, size: int = 64, channels: int = 1, shuffle: int = 2):
        super().__init__()
        self.config = {"size": size, "channels": channels, "shuffle": shuffle}
        widths = [channels] + [size * width for width in reversed(WIDTHS)]
        self.layers = nn.ModuleList([nn.Conv1d(a, b, **KERNEL) for a, b in pairwise(widths)])
        self.shuffles = nn.ModuleList([PhaseShuffle(shuffle)] * 4 + [nn.Identity()])
        self.dense = nn.Linear(STEPS * widths[-1], 1)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 1) for sounds (B, channels, 16384).

        Raises:
            ValueError: if x has another shape.
        """
        check_input("x", x, ("B", self.config["channels"], SAMPLES), f"pad or trim each sound to {SAMPLES:,} samples")
        for layer, shuffle in zip(self.layers, self.shuffles, strict=True):
            x = shuffle(leaky_relu(layer(x), 0.2))  # (B, d, 4096), (B, 2 d, 1024), ..., (B, 16 d, 16)
        return self.dense(x.flatten(1))  # (B, 1)


class PhaseShuffle(nn.Module):
    """Shifts all features by the same random number of steps from -n to n, and fills the gap by reflection.

    >>> PhaseShuffle(2)(torch.arange(8.0).view(1, 1, 8))  # doctest: +SKIP
    tensor([[[2., 1., 0., 1., 2., 3., 4., 5.]]])

    A generator's transposed convolutions leave pitched noise that always has the same phase; a discriminator that can
    see the phase learns only that. Each call draws one shift for its whole batch, as the authors' code does; in eval
    mode nothing is shifted.

    Args:
        n: the largest shift, in time steps.

    Source: Donahue et al. 2019, section 3.3.
    Chapter 4.
    """

    def __init__(self, n: int = 2):
        super().__init__()
        self.n = n

    def forward(self, x: Tensor) -> Tensor:
        """Shift x (B, C, T) along T."""
        if not self.training or self.n == 0:
            return x
        shift = torch.randint(-self.n, self.n + 1, (), device=x.device)
        last = x.shape[-1] - 1
        index = (torch.arange(last + 1, device=x.device) - shift).abs()  # reflected at the first step ...
        return x.index_select(-1, last - (last - index).abs())  # ... and at the last


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
