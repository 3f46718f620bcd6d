"""Music to learn from: shipped and public data sets, the folk corpus, your own folders; splits without leaks.

Every one is a `torch.utils.data.Dataset` with a `split`; its class documents the items. Names load on first use.
"""

import musicai

_HOME = {
    "splits": ("SPLITS", "group_duplicates", "melody_key", "split_of", "split_tunes", "title_key"),
    "musicai_notes": ("MusicAIDrums", "MusicAINotes"),
    "polyphonic": ("JSBChorales", "Nottingham", "PianoRolls"),
    "folk": ("FolkCorpus", "FolkTune", "variants"),
    "folders": ("AudioFolder", "MidiFolder"),
    "public": ("MAESTRO", "SC09", "Groove", "NSynth", "SpeechCommands"),
    "transport": ("DataError", "download", "extract"),
}
__getattr__, __dir__, __all__ = musicai.attach(__name__, _HOME)
