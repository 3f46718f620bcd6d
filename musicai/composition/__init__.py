"""Composing from a found melody, or from nothing, under the user's parameters. Chapter 7."""

import musicai

from .memory import Source, TuneMemory
from .network import TuneConfig, TuneWaveNet
from .tunes import Layout, Plan, Tune, decode, encode
from .writer import TuneWriter

__all__ = musicai.exports(globals())
