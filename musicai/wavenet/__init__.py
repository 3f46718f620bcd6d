"""WaveNet: one causal network over samples, or over the frames of a piano roll. Chapter 5.

`WaveNet` reads samples and answers with the distribution of the next one; `CausalConv1d`, `ResidualBlock` and
`DilatedStack` are what it is made of; `CategoricalHead` and `GaussianHead` are what it may answer with.
"""

from musicai.wavenet.heads import CategoricalHead, GaussianHead, log_mass, mu_law_edges
from musicai.wavenet.layers import (
    CausalConv1d,
    DilatedStack,
    ResidualBlock,
    Upsample,
    dilations_of,
    receptive_field,
)
from musicai.wavenet.model import WaveNet, WaveNetConfig

__all__ = [
    "CategoricalHead",
    "CausalConv1d",
    "DilatedStack",
    "GaussianHead",
    "ResidualBlock",
    "Upsample",
    "WaveNet",
    "WaveNetConfig",
    "dilations_of",
    "log_mass",
    "mu_law_edges",
    "receptive_field",
]
