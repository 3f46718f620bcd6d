"""Repeats played out: from bar lines such as `|:`, `:|` and `:|2` to the order in which music sounds. Chapter 6."""

import re
from collections.abc import Mapping

THICK = re.compile(r"\|\||\|\]|\[\|(?!\])")  # `[|]` is an invisible bar line
# Also `:` or `|:|` alone, which some write for `:|`.
END = re.compile(r"(?<![|:])(:+)(?= ?[|\[\d])|(?<![|:])::|\|:\||^ ?:$")
START = re.compile(r"[|:][\] ]*:[ :]*$")
ENDING = re.compile(r"(\d)(?:-(\d))?")


def unfold_repeats(bars: Mapping[float, str], stop: float) -> list[tuple[float, float]]:
    """List the spans (start, stop) of a piece in the order in which they are played.

    >>> unfold_repeats({0: "|:", 4: "|1", 6: ":|2"}, 8)  # |: CDEF |1 GA :|2 Bc |
    [(0, 4), (4, 6), (0, 4), (6, 8)]

    A repeat without `|:` goes back to the last double bar, the last repeat or the beginning. "D.C." and "D.S." are not
    followed.

    Args:
        bars: the bar lines by position, in ABC's signs, in ascending order; several at one position are joined by
            blanks. Plain ones may be left out.
        stop: where the piece ends.

    Returns: the spans; together, they are the piece as it sounds.

    Source: the ABC music standard 2.1, sections 4.8 to 4.10. Chapter 6.
    """
    order, body, endings, opened, start = [], [], [], False, 0
    for position, text in (*bars.items(), (stop, "|:")):
        (endings[-1][1] if endings else body).extend([(start, position)] * (position > start))
        start = position
        numbers = {n for a, b in ENDING.findall(text) for n in range(int(a), int(b or a) + 1)}
        end, starts = END.search(text), START.search(text) is not None
        known = {n for which, _ in endings for n in which}
        closes = end or starts or (THICK.search(text) and (endings or not opened))
        if known & numbers or (closes and not numbers):
            passes = 1 + len(end[1] or ":") if end and known <= {1} else max(known, default=1)
            for n in range(1, min(passes, 9) + 1):
                order += body + next((spans for which, spans in endings if n in which), [])
            body, endings, opened = [], [], starts
        if numbers:
            endings.append((numbers, []))
    return order
