"""The instrument GAN in a twentieth of its weights, small enough for a web page. Chapter 8.

    z, pitch, instrument, velocity  -->  three dense layers  -->  weights (B, 32, 16)
    rows (256, 32)  @  weights  @  times (16, 128)           -->  curves (B, 256, 128)

The curves of a note resemble each other: neighbouring harmonics rise and fall together, and slowly. So 32 typical
shapes across the rows and 16 along time describe a note nearly as well as its 32,768 values do, and only the 512
weights between them depend on the note. The shapes start out as principal components (a Tucker decomposition), and
`musicai train distilled` then trains everything to agree with the GAN (Hinton et al. 2015, "Distilling the knowledge
in a neural network").
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicai.gan import InstrumentGenerator
from musicai.gan.curves import FRAMES, ROWS, regularise
from musicai.gan.instrument import SLOPE, NoteEmbedding

FOLK = (("flute", 59, 96), ("violin", 55, 93), ("clarinet", 50, 91), ("nylon_guitar", 40, 84), ("harp", 36, 84))
ACROSS, ALONG = 32, 16  # typical shapes across the rows of the curves, and along time


class DistilledInstrument(InstrumentGenerator):
    """Plays the notes of an `InstrumentGenerator` with a network of 0.1 million weights; used in the same way.

    >>> DistilledInstrument().play(72, "flute", seed=1).shape
    torch.Size([1, 1, 16000])
    >>> DistilledInstrument.from_pretrained("distilled-instrument").instruments
    ('flute', 'violin', 'clarinet', 'nylon_guitar', 'harp')

    Args:
        width: the size of the dense layers.
        z_size: dimensions of z, as for the GAN that it learns from.
        instruments: (name, lowest pitch, highest pitch) of each.

    Chapter 8.
    """

    def __init__(self, width: int = 96, z_size: int = 16, instruments: Sequence[tuple[str, int, int]] = FOLK):
        super().__init__(1, z_size, instruments)
        self.config = {"width": width, "z_size": z_size, "instruments": [list(row) for row in instruments]}
        self.curves = LowRankCurves(len(self.instruments), width, z_size)


class LowRankCurves(nn.Module):
    """From z and the note to curves (B, 256, 128), as a product of few shapes; in place of `CurveGenerator`."""

    def __init__(self, instruments: int, width: int, z_size: int):
        super().__init__()
        self.condition = NoteEmbedding(instruments, width)
        self.dense = nn.ModuleList([nn.Linear(inputs, width) for inputs in (width + z_size, width)])
        self.weights = nn.Linear(width, ACROSS * ALONG)
        self.rows, self.times = nn.Parameter(torch.randn(ROWS, ACROSS)), nn.Parameter(torch.randn(ALONG, FRAMES))

    def forward(self, z: Tensor, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> Tensor:
        return regularise(self.rows @ self.weigh(z, pitch, instrument, velocity) @ self.times, pitch)

    def weigh(self, z: Tensor, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> Tensor:
        """The weights (B, 32, 16) of each pair of shapes."""
        note = self.condition(len(z), pitch, instrument, velocity)
        h = torch.cat([note, 4 * F.normalize(z, dim=1)], 1)
        for layer in self.dense:
            h = F.leaky_relu(layer(h), SLOPE)  # (B, width)
        return self.weights(h).unflatten(1, (ACROSS, ALONG))

    def fit_shapes(self, curves: Tensor) -> None:
        """Set the shapes to the principal components of curves (N, 256, 128) across their rows and along time."""
        across = torch.linalg.eigh(torch.einsum("nrt,nst->rs", curves, curves))[1]  # by ascending eigenvalue
        along = torch.linalg.eigh(torch.einsum("nrt,nru->tu", curves, curves))[1]
        self.rows.data, self.times.data = across[:, -ACROSS:].clone(), along[:, -ALONG:].mT.clone()
