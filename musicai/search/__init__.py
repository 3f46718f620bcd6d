"""Find a melody in a large collection, from notes, a hum or a recording. Chapter 6.

>>> import musicai
>>> musicai.find("D5 C5 B4 G4 G4 D4 G4 G4 B4 G4 B4 D5")[0].title  # doctest: +SKIP
"""

import musicai

_HOME = {
    "_fast.alignment": ("align_all",),
    "_fast.warping": ("warp_all",),
    "alignment": ("Alignment", "align"),
    "contours": ("Contour", "track_contour"),
    "costs": ("Costs",),
    "fingerprints": ("AudioIndex", "AudioMatch"),
    "humming": ("excerpt", "hum", "perturb", "sing"),
    "index": ("Match", "MelodyIndex"),
    "library": ("default_index", "find", "read_folder"),
    "lines": ("Lines", "lines_of"),
    "ngrams": ("InvertedIndex", "interval_ngrams", "rhythm_ngrams", "words_of", "worth"),
    "queries": ("Query", "read_query"),
    "warping": ("warp",),
}
__getattr__, __dir__, __all__ = musicai.attach(__name__, _HOME)
