"""Find a melody in a large collection, from notes, a hum or a recording. Chapter 6.

>>> import musicai
>>> musicai.find("E4 E4 F4 G4 G4 F4 E4 D4")[0].title  # doctest: +SKIP
"""

from ._fast.alignment import align_all
from ._fast.warping import warp_all
from .alignment import Alignment, align
from .contours import Contour, track_contour
from .costs import Costs
from .humming import excerpt, hum, perturb, sing
from .lines import Lines
from .queries import Query, read_query

__all__ = [
    "Alignment",
    "Contour",
    "Costs",
    "Lines",
    "Query",
    "align",
    "align_all",
    "excerpt",
    "hum",
    "perturb",
    "read_query",
    "sing",
    "track_contour",
    "warp_all",
]
