"""Generative adversarial networks: the toy game, WaveGAN, and the instrument you can play. Chapter 4.

A generator turns random z into sound; a discriminator tells real sounds from generated ones. `losses` defines what each
of them minimises, `discriminator_step` and `generator_step` take one step of each, and `GAN` is the game that
`musicai.train.fit` trains.
"""

import musicai

from .curves import note_curves
from .game import GAN, ToyDiscriminator, ToyGenerator, discriminator_step, generator_step
from .instrument import InstrumentDiscriminator, InstrumentGenerator
from .instrument_gan import CurveNotes, InstrumentGAN
from .losses import Loss, gradient_penalty, hinge, minimax, non_saturating, r1, r1_r2, relativistic, wasserstein
from .wavegan import PhaseShuffle, WaveGANDiscriminator, WaveGANGenerator

__all__ = musicai.exports(globals())
