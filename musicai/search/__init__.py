"""Find a melody in a large collection, from notes, a hum or a recording. Chapter 6.

>>> import musicai
>>> musicai.find("D5 C5 B4 G4 G4 D4 G4 G4 B4 G4 B4 D5")[0].title  # doctest: +SKIP
"""

import musicai

from ._fast.alignment import align_all
from ._fast.warping import warp_all
from .alignment import Alignment, align
from .contours import Contour, track_contour
from .costs import Costs
from .fingerprints import AudioIndex, AudioMatch
from .humming import excerpt, hum, perturb, sing
from .index import Match, MelodyIndex
from .library import default_index, find, read_folder
from .lines import Lines, lines_of
from .ngrams import InvertedIndex, interval_ngrams, rhythm_ngrams, words_of, worth
from .queries import Query, read_query
from .warping import warp

__all__ = musicai.exports(globals())
