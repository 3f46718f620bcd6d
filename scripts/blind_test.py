"""Make the blind test of the listening gallery: 20 tunes that people wrote and 20 composed ones, rendered alike.

    python scripts/blind_test.py             choose, compose, render; write book/_static/blind and book/listening.md
    python scripts/blind_test.py --pairs 2   fewer, to try it out

Each composed tune is asked for the key, metre and tempo of one of the real tunes, and for as many bars as are played of
it, but has no source. The real tunes are from the test split, so the model has seen neither them nor any relative. The
order is drawn at random, and the answers are behind a fold on the page.
"""

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch

import musicai
from musicai.data import FolkCorpus
from musicai.notes import Melody
from musicai.performance import render

ROOT = Path(__file__).resolve().parent.parent
SOUNDS, PAGE = ROOT / "book/_static/blind", ROOT / "book/listening.md"
MARK = re.compile(r"(<!-- blind test -->\n).*(<!-- end of the blind test -->)", re.DOTALL)
SR, RMS, BARS = 16_000, 0.08, 8
TEMPOS = {(6, 8): 165, (9, 8): 165, (3, 4): 150, (2, 4): 100, (4, 4): 190, (2, 2): 200}  # quarter notes per minute


def real_tunes(count: int, rng: np.random.Generator) -> list[Melody]:
    """Tunes of the test split that begin with a whole bar and are written in whole bars, in random order."""
    found = [tune for tune in FolkCorpus("test") if tune.key and tune.time_signature in TEMPOS and _is_square(tune)]
    return [replace(found[i], tempo=TEMPOS[found[i].time_signature]) for i in rng.permutation(len(found))[:count]]


def _is_square(tune: Melody) -> bool:
    bar = 4 * tune.time_signature[0] / tune.time_signature[1]
    lines = [beat for beat, _ in tune.bars if 0 < beat < tune.duration]
    return tune.duration >= BARS * bar and all(abs(beat % bar) < 1e-6 for beat in lines) and tune.notes[0].start == 0


def composed(real: Melody, seed: int) -> Melody:
    """A tune of the same key, metre and tempo, without a source."""
    song = musicai.compose(
        None,
        key=real.key,
        meter=real.time_signature,
        tempo=real.tempo,
        bars=2 * BARS,
        form="AB",
        chords=False,
        seed=seed,
    )
    return song.melody


def opening(tune: Melody) -> Melody:
    """The first bars."""
    end = BARS * 4 * tune.time_signature[0] / tune.time_signature[1]
    kept = [replace(note, duration=min(note.duration, end - note.start)) for note in tune.notes if note.start < end]
    return replace(tune, notes=tuple(kept))


def sound_of(tune: Melody) -> np.ndarray:
    """On a flute, all at one level."""
    sound = torch.as_tensor(render(replace(opening(tune), name="").to_score(73))).mean(0)
    return (RMS * sound / sound.square().mean().sqrt()).clamp(-1, 1).numpy()


def page(answers: list[str]) -> Iterator[str]:
    """The lines of the gallery: players, and the answers behind a fold."""
    yield "<ol>"
    for i in range(1, len(answers) + 1):
        sound = f'<audio controls preload="none" aria-label="Tune {i}" style="width:100%;max-width:24em" '
        yield f'<li>{sound}src="../_static/blind/{i:02d}.mp3"></audio></li>'
    yield "</ol>\n\n:::{dropdown} The answers"
    yield from (f"{i}. {answer}" for i, answer in enumerate(answers, 1))
    yield ":::\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20, help="how many of each")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    people = real_tunes(options.pairs, rng)
    tunes = [(tune, f"People: *{_title(tune.name)}*") for tune in people]
    tunes += [(composed(tune, seed), f"The machine, in {tune.key}") for seed, tune in enumerate(people)]
    order = rng.permutation(len(tunes))
    SOUNDS.mkdir(parents=True, exist_ok=True)
    for i, place in enumerate(order, 1):
        soundfile.write(
            SOUNDS / f"{i:02d}.mp3", sound_of(tunes[place][0]), SR, bitrate_mode="VARIABLE", compression_level=0.7
        )
    key = [tunes[place][1] for place in order]
    text = PAGE.read_text()
    PAGE.write_text(MARK.sub(lambda found: found[1] + "\n".join(page(key)) + found[2], text))
    size = sum(path.stat().st_size for path in SOUNDS.glob("*.mp3"))
    print(json.dumps({"tunes": len(key), "kB": size // 1000}))


def _title(name: str) -> str:
    """A title as one would write it, without the kind of dance."""
    words = name.partition(" -- ")[0].strip()
    return words.capitalize() if words.isupper() else words


if __name__ == "__main__":
    main()
