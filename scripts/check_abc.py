"""Compare `musicai.notes.abc` with music21's full parse, tune by tune, on the whole default folk corpus.

    python scripts/check_abc.py [--every N]        # only every N-th tune; all of them take about ten minutes

Both read the same text under the same rule: an accidental lasts to the bar line, in its octave. If they differ, the
text is rewritten in ways that mean the same in ABC 2.1 but avoid one fault of music21 10.5; if music21 then agrees,
that fault is the reason. The few remaining tunes were checked by hand (`BY_HAND`) and are printed with the reason.
"""

import argparse
import re
import warnings
from collections import Counter
from fractions import Fraction

from musicai.data import folk
from musicai.notes.abc import parse_tune
from musicai.notes.notation import join_ties

RULE = "%abc-2.1\n%%propagate-accidentals octave\n"
REWRITES = {  # what music21 does: a pattern in the music, and its replacement
    "loses the note in Hc, a fermata": (r"H(?=[\^_=A-Ga-gz(\[{])", ""),
    'loses a note behind words such as ">" or "...x"': (r'"[^"\n]*"', ""),
    "loses the rest of the line after A::": (r"(?<=[A-Z])::", ":| |:"),
    "keeps c>(d even: a broken rhythm across a slur": (r"[()](?!\d)", ""),
    "keeps c>.d, c>-d or c>{e}d even: a mark, a tie or a grace between": (
        r"(?<=[<>])(?:[.~uvTJMk -]|\{[^}]*\})+|[.-]+(?=[<>])",
        "",
    ),
    "counts grace notes as notes of a tuplet": (r"\{[^}]*\}", ""),
    "forgets the accidental in T^c": (r"[.~uvTHMSJK](?=[\^_=A-Ga-g])", ""),
    "reads a third ending, [3, as a chord": (r"\[[3-9]", ""),
    "takes no field within a line": (r"\[([KLM]:[^\]\n]*)\]", r"\n\1\n"),
    "takes the chord +EA+ for two notes": (r"\+(\w+)\+", r"[\1]"),
    "takes each line of an alternating voice for a part": (r"^\[V:(?!1\]).*|^\[V:1\]", ""),
    "ends a tie over the bar line without its accidental": (r"([\^_=])([A-Ga-g])([\d/]*-\|)\2", r"\1\2\3\1\2"),
    "gives no time to the rest x": (r"(?<=[|\s])x(?!\w)", "z"),
}
BY_HAND = {  # tunes that no rewriting brings into agreement, checked one by one
    "BUCKLEY'S -- HORNPIPE": "a note in the middle of a>b>c is both short and long; music21 keeps the last",
    "Tidal Wave -- Jig": "as in Buckley's",
    "The Sunrise": "as in Buckley's",
    "The Northern Troupe": "as in Buckley's",
    "ESSENCE OF OLD KENTUCKY.": "music21 joins no tied chords",
    "Mardi Gras -- Reel": "music21 joins no tied chords",
    'WALK AROUND. -- "HEY, DADDY."': "music21 joins no tied chords",
    "The Lowbacked Car": "Z is a rest of a whole bar in the standard, nothing in music21; the transcriber meant z",
    "The Fairy Queen": "Z, as in The Lowbacked Car",
    "The Silver Tip": "Z, as in The Lowbacked Car",
    "Bryan O'Lynn": "a stray x is a rest in the standard, nothing in music21",
    "I'm Asleep and Don't Awaken Me.": "music21 carries no accidental from one chord to the next",
    "A Shepherd once had lost his love.": "music21 reads B3// as B3/2",
    "Romance.": "music21 reads notes from a line of words in the header",
    "Oxford Castle.": "music21 reads notes from a line of words in the header",
    "THE HEADLIGHT -- JIG": "music21 reads a stray ^ as an accidental",
    "MY LADY'S GOON HAS GAIRS ON'T -- STRATHSPEY": "music21 takes ||[ for the start of a chord",
    "I Could But I Wont": "music21 ignores the broken rhythm in G>||, the last note",
    "John O'Dwyer of the Glen": "music21 ignores the broken rhythm in G>-G, and without the tie these are two notes",
    "Mullindough, or the Black Laddie.": "alternating voices, as above; the first also has rests x",
    "Lord Falconberg's March.": "alternating voices, as above; the first also has rests x",
}


def of_music21(text: str) -> list[tuple[int, float, float]]:
    """(pitch, start, duration) of the first part in music21's full parse, ties joined as our reader joins them."""
    from music21 import converter, harmony

    text = re.sub(r"^\[V:([^\]\n]*)\]", r"V:\1\n", text, flags=re.MULTILINE)  # it takes "[V:1]" for a chord
    part = converter.parseData(RULE + text, format="abc").parts[0]
    heard = [n for n in part.flatten().notes if not isinstance(n, harmony.Harmony) and not n.duration.isGrace]
    ties = [n.tie is not None and n.tie.type in {"start", "continue"} for n in heard]
    times = [[Fraction(x).limit_denominator(10_080) for x in (n.offset, n.quarterLength)] for n in heard]
    return join_ties(
        (max(p.midi for p in n.pitches), *time, True, tied) for n, time, tied in zip(heard, times, ties, strict=True)
    )


def agree(ours: list[tuple], text: str) -> bool:
    """Whether music21 reads the same notes from the text, to a millionth of a beat."""
    try:
        theirs = of_music21(text)
    except Exception:  # music21 raises whatever its code runs into
        return False
    return len(ours) == len(theirs) and all(
        a[0] == b[0] and abs(a[1] - b[1]) < 1e-6 and abs(a[2] - b[2]) < 1e-6 for a, b in zip(ours, theirs, strict=True)
    )


def rewrite(text: str, rules: list[tuple[str, str]]) -> str:
    """The text with the rules applied only to the lines of music."""
    for pattern, replacement in rules:
        lines = (
            line if re.match(r"[ \t]*[A-Z]:|%", line) else re.sub(pattern, replacement, line)
            for line in text.splitlines()
        )
        text = "\n".join(lines)
    return text


def reason(ours: list[tuple], text: str) -> str:
    """Say which rewriting makes music21 agree: none is needed, one, all together, or none helps."""
    if agree(ours, text):
        return "the same notes"
    for name, rule in REWRITES.items():
        if rewrite(text, [rule]) != text and agree(ours, rewrite(text, [rule])):
            return name
    return "several of these" if agree(ours, rewrite(text, list(REWRITES.values()))) else "by hand"


def main() -> None:
    """Print how many tunes agree in each collection, why the others don't, and the tunes checked by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="compare only every N-th tune")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    found, left = {name: Counter() for name in folk.COLLECTIONS}, []
    for name in folk.COLLECTIONS:
        for text in folk.read_texts(name)[:: arguments.every]:
            ours = parse_tune(text)
            notes = [(note.pitch, note.start, note.duration) for note in ours["notes"]]
            found[name][why := reason(notes, text)] += 1
            if why == "by hand":
                left.append(f"{name}: {ours['name']}: {BY_HAND.get(ours['name'], 'UNEXPLAINED')}")
    rows = sum(found.values(), Counter())
    print(f"{'music21 ...':66}" + "".join(f"{name:>14}" for name in found))
    for why, _ in rows.most_common():
        print(f"{why:66}" + "".join(f"{counts[why]:14,}" for counts in found.values()))
    print("\n".join(["", *left, "", f"{sum('UNEXPLAINED' in line for line in left)} tunes are unexplained."]))


if __name__ == "__main__":
    main()
