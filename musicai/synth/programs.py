"""Which sampled instrument plays each of the 128 General MIDI programs, and how it lets go of a note."""

from typing import NamedTuple


class Voice(NamedTuple):
    """How an instrument behaves: seconds from the end of a note to silence, and whether a held note dies away."""

    release: float
    decays: bool


VOICES = {
    "acoustic_grand_piano": Voice(0.30, True),
    "electric_piano": Voice(0.30, True),
    "vibraphone": Voice(0.60, True),
    "marimba": Voice(0.40, True),
    "church_organ": Voice(0.15, False),
    "nylon_guitar": Voice(0.30, True),
    "electric_bass": Voice(0.15, True),
    "violin": Voice(0.18, False),
    "cello": Voice(0.20, False),
    "harp": Voice(1.00, True),
    "string_ensemble": Voice(0.40, False),
    "choir": Voice(0.40, False),
    "trumpet": Voice(0.15, False),
    "french_horn": Voice(0.22, False),
    "alto_sax": Voice(0.15, False),
    "clarinet": Voice(0.15, False),
    "flute": Voice(0.18, False),
}
DRUM = Voice(0.05, True)
INSTRUMENTS = tuple(VOICES)

# One line for each General MIDI family of eight programs: (instrument, how many programs in a row).
_FAMILIES = (
    (("acoustic_grand_piano", 4), ("electric_piano", 2), ("harp", 2)),  # pianos; harpsichord, clavinet
    (("vibraphone", 4), ("marimba", 2), ("vibraphone", 1), ("harp", 1)),  # mallets; bells; dulcimer
    (("church_organ", 8),),  # organs, accordion, harmonica
    (("nylon_guitar", 8),),
    (("electric_bass", 8),),
    (("violin", 2), ("cello", 2), ("string_ensemble", 1), ("harp", 2), ("marimba", 1)),  # viola; pizzicato; timpani
    (("string_ensemble", 4), ("choir", 3), ("string_ensemble", 1)),  # ensembles; voices; orchestra hit
    (("trumpet", 1), ("french_horn", 2), ("trumpet", 1), ("french_horn", 1), ("trumpet", 3)),  # trombone, tuba; brass
    (("alto_sax", 4), ("clarinet", 4)),  # saxophones; oboe, English horn, bassoon, clarinet
    (("flute", 8),),  # pipes
    (("clarinet", 1), ("violin", 1), ("flute", 2), ("nylon_guitar", 1), ("choir", 1), ("violin", 1), ("trumpet", 1)),
    (("electric_piano", 1), ("string_ensemble", 2), ("choir", 2), ("string_ensemble", 3)),  # synthesizer pads
    tuple((name, 1) for name in ("vibraphone", "string_ensemble", "vibraphone", "nylon_guitar"))  # its effects
    + tuple((name, 1) for name in ("electric_piano", "choir", "vibraphone", "nylon_guitar")),
    (("nylon_guitar", 4), ("marimba", 1), ("clarinet", 1), ("violin", 1), ("clarinet", 1)),  # sitar ... fiddle, shanai
    (("vibraphone", 1), ("marimba", 1), ("vibraphone", 1), ("marimba", 4), ("vibraphone", 1)),  # percussion with pitch
    (("nylon_guitar", 1), ("flute", 1), ("string_ensemble", 1), ("flute", 1), ("vibraphone", 1), ("marimba", 3)),
)
PROGRAMS = tuple(name for family in _FAMILIES for name, times in family for _ in range(times))

# Drum kits by program; the rest (room, power, orchestra) play the standard kit.
KITS = dict.fromkeys(range(128), "standard_kit")
KITS |= dict.fromkeys(range(24, 32), "electronic_kit") | {25: "tr808_kit"}
KITS |= dict.fromkeys(range(32, 40), "jazz_kit") | dict.fromkeys(range(40, 48), "brush_kit")
