"""Find a melody in a large collection, from notes, a hum or a recording. Chapter 6."""

from .fingerprints import AudioIndex, AudioMatch
from .lines import Lines

__all__ = ["AudioIndex", "AudioMatch", "Lines"]
