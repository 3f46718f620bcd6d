"""Composing from a found melody, or from nothing, under the user's parameters. Chapter 7."""

import musicai

from .novelty import Novelty, Place, certify, longest_run

__all__ = musicai.exports(globals())
