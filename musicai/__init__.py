"""Music AI: find a melody, compose with it, perform it.

`import musicai` is instant: each part (`musicai.audio`, `musicai.notes`, ...) and each verb (`musicai.find`) loads on
first use.

>>> import musicai
>>> audio, sr = musicai.audio.load("song.flac")  # doctest: +SKIP
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

__version__ = "0.1.0"

VERBS = {"find": "search", "compose": "composition", "perform": "performance", "song": "chain"}  # function: its part


def __dir__() -> list[str]:
    parts = [module.name for module in iter_modules(__path__) if not module.name.startswith("_")]
    return ["__version__", *VERBS, *parts]


def __getattr__(name: str):
    if name in VERBS:
        return getattr(import_module(f"{__name__}.{VERBS[name]}"), name)
    if name in __dir__()[1:]:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'musicai' has no attribute {name!r}; it has {', '.join(__dir__()[1:])}")


def exports(room: dict[str, object]) -> list[str]:
    """The public names of a part, for its `__all__`: whatever its `__init__` imports from its files.

    >>> import musicai
    >>> "stft" in exports(vars(musicai.audio)), "fourier" in exports(vars(musicai.audio))
    (True, False)

    Args:
        room: the part's `globals()`.

    Returns: the names, sorted.
    """
    return sorted(name for name, thing in room.items() if name[0] != "_" and not isinstance(thing, ModuleType))
