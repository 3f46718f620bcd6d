"""Find a melody in a large collection, from notes, a hum or a recording. Chapter 6."""

from .humming import excerpt, hum, perturb, sing
from .lines import Lines

__all__ = ["Lines", "excerpt", "hum", "perturb", "sing"]
