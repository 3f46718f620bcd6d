"""WaveNet: one causal network over the samples of a sound, or over the frames of a piano roll. Chapter 5.

`WaveNet` reads samples and predicts the distribution of the next one. It is built from `CausalConv1d`, `ResidualBlock`
and `DilatedStack`, and ends in a `CategoricalHead` or a `GaussianHead`. `RollWaveNet` does the same over the frames of
a piano roll, with a `PianoRollHead`; `compose` draws new music from it. `ScoreWaveNet` performs a score.
"""

import musicai
from musicai.wavenet.generate import sample, stream, total_variation
from musicai.wavenet.heads import CategoricalHead, GaussianHead, PianoRollHead, log_mass
from musicai.wavenet.layers import CausalConv1d, DilatedStack, ResidualBlock, dilations_of, receptive_field
from musicai.wavenet.lookup import history
from musicai.wavenet.model import WaveNet, WaveNetConfig
from musicai.wavenet.partials import Partials
from musicai.wavenet.polyphony import compose, struck, under_melody
from musicai.wavenet.rolls import RollBatches, RollConfig, RollWaveNet, log_odds, nats_per_frame, roll_loss
from musicai.wavenet.scores import ScoreConfig, ScoreWaveNet, score_frames

__all__ = musicai.exports(globals())
