"""A score played by the sampled instruments in the wheel: the reference rendering. Chapters 1 and 2.

>>> from musicai.notes import Melody
>>> from musicai.synth import render
>>> render(Melody.from_pitches([60, 62, 64])).shape[0]
2
"""

from .programs import INSTRUMENTS, KITS, PROGRAMS
from .render import render

__all__ = ["INSTRUMENTS", "KITS", "PROGRAMS", "render"]
