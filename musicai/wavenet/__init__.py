"""WaveNet: one causal network over samples, or over the frames of a piano roll. Chapter 5.

`WaveNet` reads samples and answers with the distribution of the next one; `CausalConv1d`, `ResidualBlock` and
`DilatedStack` are what it is made of; `CategoricalHead` and `GaussianHead` are what it may answer with. `RollWaveNet`
is the same over the frames of a piano roll, with `PianoRollHead`; `compose` draws from it. `ScoreWaveNet` plays a
score.
"""

from musicai.wavenet.compose import compose, under_melody
from musicai.wavenet.generate import sample, stream, total_variation
from musicai.wavenet.heads import CategoricalHead, GaussianHead, log_mass, mu_law_edges
from musicai.wavenet.history import History, history
from musicai.wavenet.layers import (
    CausalConv1d,
    DilatedStack,
    ResidualBlock,
    Upsample,
    dilations_of,
    receptive_field,
)
from musicai.wavenet.model import WaveNet, WaveNetConfig
from musicai.wavenet.partials import Partials
from musicai.wavenet.piano import PianoRollHead, Points
from musicai.wavenet.roll_batches import RollBatch, RollBatches, log_odds, nats_per_frame, roll_loss
from musicai.wavenet.rolls import RollConfig, RollWaveNet
from musicai.wavenet.scores import ScoreConfig, ScoreWaveNet, score_frames

__all__ = [
    "CategoricalHead",
    "CausalConv1d",
    "DilatedStack",
    "GaussianHead",
    "History",
    "Partials",
    "PianoRollHead",
    "Points",
    "ResidualBlock",
    "RollBatch",
    "RollBatches",
    "RollConfig",
    "RollWaveNet",
    "ScoreConfig",
    "ScoreWaveNet",
    "Upsample",
    "WaveNet",
    "WaveNetConfig",
    "compose",
    "dilations_of",
    "history",
    "log_mass",
    "log_odds",
    "mu_law_edges",
    "nats_per_frame",
    "receptive_field",
    "roll_loss",
    "sample",
    "score_frames",
    "stream",
    "total_variation",
    "under_melody",
]
