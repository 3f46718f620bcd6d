"""Generative adversarial networks: the small game, WaveGAN, and the instrument you can play. Chapter 4.

A generator turns random z into sound; a discriminator tells sounds from real ones; `losses` are what each minimises,
`discriminator_step` and `generator_step` are one turn of each, and `GAN` is the game that `musicai.train.fit` trains.
"""

from musicai.gan.instrument import CurveGenerator, InstrumentDiscriminator, InstrumentGenerator
from musicai.gan.instrument_curves import note_curves
from musicai.gan.instrument_game import InstrumentGAN
from musicai.gan.instrument_notes import CurveNotes
from musicai.gan.instrument_sound import play_curves
from musicai.gan.losses import (
    Loss,
    gradient_penalty,
    hinge,
    hinge_discriminator,
    logistic_discriminator,
    minimax,
    minimax_generator,
    non_saturating,
    non_saturating_generator,
    r1,
    r1_r2,
    r2,
    relativistic,
    relativistic_discriminator,
    relativistic_generator,
    score_generator,
    squared_slopes,
    wasserstein,
    wasserstein_discriminator,
)
from musicai.gan.steps import GAN, discriminator_step, frozen, generator_step
from musicai.gan.toy import ToyDiscriminator, ToyGenerator, mode_shares
from musicai.gan.wavegan import PhaseShuffle, WaveGANDiscriminator, WaveGANGenerator

__all__ = [
    "GAN",
    "CurveGenerator",
    "CurveNotes",
    "InstrumentDiscriminator",
    "InstrumentGAN",
    "InstrumentGenerator",
    "Loss",
    "PhaseShuffle",
    "ToyDiscriminator",
    "ToyGenerator",
    "WaveGANDiscriminator",
    "WaveGANGenerator",
    "discriminator_step",
    "frozen",
    "generator_step",
    "gradient_penalty",
    "hinge",
    "hinge_discriminator",
    "logistic_discriminator",
    "minimax",
    "minimax_generator",
    "mode_shares",
    "non_saturating",
    "non_saturating_generator",
    "note_curves",
    "play_curves",
    "r1",
    "r1_r2",
    "r2",
    "relativistic",
    "relativistic_discriminator",
    "relativistic_generator",
    "score_generator",
    "squared_slopes",
    "wasserstein",
    "wasserstein_discriminator",
]
