"""Which sampled instrument plays each of the 128 General MIDI programs, and how its notes end. Chapter 1.

The table is `data/shipped/general_midi.json`: for each instrument the release and whether it decays, and for each of
the sixteen families of the General MIDI standard the instruments of its eight programs.
"""

import json
from importlib.resources import files
from typing import NamedTuple


class Voice(NamedTuple):
    """How an instrument behaves: seconds from the end of a note to silence, and whether a held note decays."""

    release: float
    decays: bool


_TABLE = json.loads(files("musicai.data").joinpath("shipped", "general_midi.json").read_text("utf-8"))
VOICES = {name: Voice(**voice) for name, voice in _TABLE["instruments"].items()}
DRUM = Voice(0.05, True)
INSTRUMENTS = tuple(VOICES)
PROGRAMS = tuple(name for family in _TABLE["programs"].values() for name in family)

# Drum kits by program; all others (room, power, orchestra) use the standard kit.
KITS = dict.fromkeys(range(128), "standard_kit")
KITS |= dict.fromkeys(range(24, 32), "electronic_kit") | {25: "tr808_kit"}
KITS |= dict.fromkeys(range(32, 40), "jazz_kit") | dict.fromkeys(range(40, 48), "brush_kit")
