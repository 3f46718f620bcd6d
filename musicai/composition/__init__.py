"""Composing from a found melody, or from nothing, under the user's parameters. Chapter 7."""

import musicai

from .accompaniment import accompany
from .controls import Controls, closeness, density, syncopation
from .generation import write_tunes
from .harmony import ChordSpan, add_chords
from .memory import Source, TuneMemory
from .network import TuneConfig, TuneWaveNet
from .novelty import Novelty, Place, certify, longest_run
from .requests import read_controls
from .songs import Song, compose, variations
from .sources import find_form, find_pickup, lay_out, read_match, read_source, source_melody
from .tunes import Plan, Tune, TuneLayout, decode, encode
from .voices import four_voices
from .writer import TuneWriter

__all__ = musicai.exports(globals())
