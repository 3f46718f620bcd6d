"""Controls: what `musicai.compose` is asked for, and what it obtains, over random requests from held-out folk tunes.

    python benchmarks/controls.py --tunes 60
    python benchmarks/controls.py --split valid --model runs/tunes

Every request starts from another tune, with its repeats written out. Half of the requests keep the tune's key and
metre, the others ask for a random one of the 84 keys and of six metres. Three sets of songs are composed: with a random
closeness; with a random density; with a random syncopation (both without the source, and within what the corpus has in
that metre). "Others move" is the largest change in the mean of another control between the third of the songs with
the lowest and the third with the highest request, in percent of that control's mean (of a share: percentage points).
The gains of the feedback were tuned on the validation split.

"Key" is the share of all songs in whose melody music21's analyser hears the key that was asked for, as in
composition.py. "Rank" is the place of the
source, by its title, among the hundreds of tunes that `musicai.find` returns for the song; one more if it is not there.
"""

import argparse
import time

import numpy as np
from composition import hears
from scipy.stats import spearmanr

import musicai
from musicai.composition import TuneWaveNet, songs
from musicai.data import FolkCorpus
from musicai.notes.notation import MODES

KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
METERS = ("4/4", "6/8", "2/4", "3/4", "2/2", "9/8")
DIAL = (0, 0.25, 0.5, 0.75, 1)


def requests(tunes: list, rng: np.random.Generator) -> list[dict]:
    """One request per tune: its own key and metre, or random ones."""
    made = []
    for i in range(len(tunes)):
        other = {"key": f"{rng.choice(KEYS)} {rng.choice(MODES)}", "meter": str(rng.choice(METERS))}
        made.append({"chords": False, "seed": int(rng.integers(2**31)), **(other if i % 2 else {})})
    return made


def report(name: str, songs: list, watched: tuple[str, ...]) -> None:
    """Print how well one control follows, and what the others do."""
    asked, got = np.array([made.controls[name] for made in songs]).T
    order, third, moves = np.argsort(asked), len(songs) // 3, []
    for other in watched:
        values = np.array([made.controls[other] for made in songs])
        errors = values[:, 1] - np.where(np.isnan(values[:, 0]), 0, values[:, 0])
        scale = values[:, 1].mean() if other == "density" else 1
        moves.append(f"{other} {100 * (errors[order[-third:]].mean() - errors[order[:third]].mean()) / scale:+.1f}")
    rank = spearmanr(asked, got).statistic
    print(
        f"{name:12} Spearman {rank:.3f}   mean error {np.abs(asked - got).mean():.3f}   others move: {', '.join(moves)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="test")
    parser.add_argument("--tunes", type=int, default=60)
    parser.add_argument("--model", default="tunes", help="the name of a checkpoint, or a folder")
    parser.add_argument("--dial", type=int, default=10, help="tunes whose rank is followed along the closeness dial")
    args = parser.parse_args()
    model = TuneWaveNet.from_pretrained(args.model)
    songs.load_model = lambda: model

    corpus = [tune for tune in FolkCorpus(args.split, expand_repeats=True) if tune.key]
    rng = np.random.default_rng(0)
    tunes = [corpus[i] for i in rng.permutation(len(corpus))[: args.tunes]]
    asked, start = requests(tunes, rng), time.process_time()
    near = [musicai.compose(t, **a, closeness=rng.random()) for t, a in zip(tunes, asked, strict=True)]
    report("closeness", near, ("density", "syncopation"))
    dense = [
        musicai.compose(t, **a, closeness=0, density=min(4, near[i].request.density * rng.uniform(0.6, 1.3)))
        for i, (t, a) in enumerate(zip(tunes, asked, strict=True))
    ]
    report("density", dense, ("syncopation",))
    swung = [
        musicai.compose(t, **a, closeness=0, syncopation=rng.uniform(0, 0.35))
        for t, a in zip(tunes, asked, strict=True)
    ]
    report("syncopation", swung, ("density",))
    made_songs = near + dense + swung
    print(f"seconds per song (CPU): {(time.process_time() - start) / len(made_songs):.2f}")
    notes = [[(note.pitch, note.start, note.duration) for note in made.melody.notes] for made in made_songs]
    keys = [hears(one, made.request.key) for one, made in zip(notes, made_songs, strict=True)]
    plain = [k for k, made in zip(keys, made_songs, strict=True) if made.request.mode in ("major", "minor")]
    print(f"key heard by music21: {np.mean(keys):.3f}; of major and minor {np.mean(plain):.3f}")
    home = [made.melody.notes[-1].pitch % 12 == made.request.tonic for made in dense + swung]
    spans = [np.ptp(made.melody.pitches) for made in dense + swung]
    print(f"ends on the tonic: {np.mean(home):.2f}; range: {np.mean(spans):.1f} semitones")
    for share in DIAL if args.dial else ():
        ranks = []
        for tune, wish in zip(tunes[: args.dial], asked, strict=False):
            made = musicai.compose(tune, **wish, closeness=share)
            names = [match.title for match in musicai.find(made.melody, k=10**6)]
            ranks.append(names.index(tune.name) + 1 if tune.name in names else len(names) + 1)
        print(f"closeness {share:4}: rank {np.median(ranks):.0f} in the median, {np.mean(ranks):.0f} in the mean")


if __name__ == "__main__":
    main()
