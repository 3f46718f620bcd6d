"""The one error of `musicai.audio`."""


class AudioError(ValueError):
    """A sound, a file or a setting that cannot be used; the message names it, its value and the way out."""


class AudioNotFoundError(AudioError, FileNotFoundError):
    """There is no such file. Caught by `except AudioError` as well as by `except FileNotFoundError`."""

    __str__ = Exception.__str__


def require(condition: bool, message: str) -> None:
    """Raise `AudioError(message)` unless `condition` holds."""
    if not condition:
        raise AudioError(message)
