"""Music to learn from: shipped and public data sets, the folk corpus, your own folders; splits without leaks.

Every one is a `torch.utils.data.Dataset` with a `split`; its class documents the items. Names load on first use.
"""

from importlib import import_module

_HOME = {
    "splits": ("SPLITS", "group_duplicates", "melody_key", "split_of", "split_tunes", "title_key"),
    "musicai_notes": ("MusicAIDrums", "MusicAINotes"),
    "polyphonic": ("JSBChorales", "Nottingham", "PianoRolls"),
    "folk": ("FolkCorpus", "FolkTune", "variants"),
    "folders": ("AudioFolder", "MidiFolder"),
    "public": ("MAESTRO", "SC09", "Groove", "NSynth", "SpeechCommands"),
    "transport": ("DataError", "download", "extract"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str):
    if name in _MODULE:
        return getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
