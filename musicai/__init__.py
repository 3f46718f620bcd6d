"""Music AI: find a melody, compose with it, perform it.

`import musicai` is instant: each part (`musicai.audio`, `musicai.notes`, ...) and each verb (`musicai.find`) loads on
first use.

>>> import musicai
>>> audio, sr = musicai.audio.load("song.flac")  # doctest: +SKIP
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

__version__ = "0.1.0"


def attach(room: str, things: dict[str, tuple[str, ...]]) -> tuple[Callable, Callable, list[str]]:
    """Make the `__getattr__`, `__dir__` and `__all__` of a part whose names load on first use.

    >>> get, _, names = attach("musicai.search", {"index": ("Match", "MelodyIndex")})
    >>> names, get("Match").__module__
    (['Match', 'MelodyIndex'], 'musicai.search.index')

    Args:
        room: the part's `__name__`.
        things: the public names in each of its modules.

    Returns: a function that finds a name or a module, one that lists both, and the names.

    Source: `lazy_loader.attach` of Scientific Python.
    """
    home = {name: module for module, names in things.items() for name in names}

    def known() -> list[str]:
        return [*home, *(part.name for part in iter_modules(import_module(room).__path__) if part.name[0] != "_")]

    def find(name: str):
        if name in home:
            return getattr(import_module(f"{room}.{home[name]}"), name)
        if name in known():
            return import_module(f"{room}.{name}")
        raise AttributeError(f"module {room!r} has no attribute {name!r}; it has {', '.join(known())}")

    return find, known, sorted(home)


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


VERBS = {"search": ("find",), "composition": ("compose",), "performance": ("perform",), "chain": ("song",)}
__getattr__, __dir__, _ = attach(__name__, VERBS)
