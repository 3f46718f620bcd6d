"""What the shipped polyphony models write, counted: part-writing, holds, loops, modes; beside Bach and folk tunes.

    python benchmarks/polyphony_music.py
    python benchmarks/polyphony_music.py --pieces 4 --frames 32 --json music.json

"fifths" and "octaves" are the shares of steps between two four-note chords in which two voices (the keys of each chord
in order) move in parallel; "four" is the share of frames with four keys down; "hold" the longest time that one key
stays down, "still" the longest run of equal frames, and "loop" the longest stretch that repeats, note for note, what
was heard up to 32 frames before. They are in frames (a beat in the chorales, half a beat in the folk tunes), and those
of the worst of all the pieces; the real pieces are cut to the same length.

Then eight melodies of the chorales' test split are harmonised. The mode is heard in the melody alone, by
the profiles of C major and C minor; a harmony opens in that mode if its first chord lacks the third of the other.
"""

import argparse
import json
from itertools import pairwise

import numpy as np
import torch

from musicai.data import JSBChorales, Nottingham
from musicai.notes.keys import key_correlations
from musicai.wavenet import RollWaveNet, compose, under_melody

TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 1.0)
SETS = {"chorales": (JSBChorales, "wavenet-chorales"), "nottingham": (Nottingham, "wavenet-nottingham")}
PAIRS = [(a, b) for a in range(4) for b in range(a + 1, 4)]


def longest_run(same: np.ndarray) -> int:
    """The most Trues in a row."""
    best = run = 0
    for yes in same:
        run = run + 1 if yes else 0
        best = max(best, run)
    return best


def steps_of(roll: np.ndarray) -> tuple[int, int, int]:
    """Steps between four-note chords of a roll (frames, 88), and how many have parallel fifths, and octaves."""
    chords = [np.flatnonzero(frame) for frame in roll]
    steps = [(a, b) for a, b in pairwise(chords) if len(a) == len(b) == 4]
    found = {0: 0, 7: 0}
    for one, two in steps:
        for interval in found:
            found[interval] += any(
                (two[i] - one[i]) * (two[j] - one[j]) > 0  # both voices move, and in the same direction
                and (one[j] - one[i]) % 12 == (two[j] - two[i]) % 12 == interval
                for i, j in PAIRS
            )
    return len(steps), found[7], found[0]


def measures(pieces: list[np.ndarray]) -> dict[str, float]:
    """The row of a table for pieces (frames, 88)."""
    steps, fifths, octaves = np.sum([steps_of(roll) for roll in pieces], axis=0)
    loops = [
        longest_run((roll[lag:] == roll[:-lag]).all(1)) for roll in pieces for lag in range(1, min(33, len(roll) // 2))
    ]
    return {
        "fifths": fifths / max(steps, 1),
        "octaves": octaves / max(steps, 1),
        "four": float(np.mean(np.concatenate(pieces).sum(1) == 4)),
        "hold": max(longest_run(key) for roll in pieces for key in roll.T),
        "still": 1 + max(longest_run((roll[1:] == roll[:-1]).all(1)) for roll in pieces),
        "loop": max(loops),
    }


def mode_heard(roll: np.ndarray) -> str:
    """The mode of the top voice of a roll (frames, 88) in C: that of the two keys whose profile it fits better."""
    line = [21 + int(np.flatnonzero(frame)[-1]) for frame in roll]
    scores = key_correlations(np.bincount(np.array(line) % 12, minlength=12))
    return max(("major", "minor"), key=lambda mode: scores[f"C {mode}"])


def harmonised(model: RollWaveNet, count: int, temperature: float) -> tuple[list[np.ndarray], list[bool]]:
    """Test melodies with harmonies by the model, and whether each opens in the mode heard in its melody."""
    made, opens = [], []
    rolls = JSBChorales("test").rolls
    for seed, roll in enumerate(rolls[:: len(rolls) // count][:count]):
        roll = roll[roll.any(1)]
        mode, melody = mode_heard(roll), torch.from_numpy(roll.T).float()
        how = {"fixed": under_melody(melody), "mode": mode, "temperature": temperature, "seed": seed}
        made.append(compose(model, len(roll), progress=False, **how).numpy().T)
        opens.append((6 if mode == "major" else 7) not in np.flatnonzero(made[-1][0]) % 12)  # row 6 is an E flat
    return made, opens


def show(name: str, row: dict[str, float]) -> None:
    """Print a row."""
    shares = "".join(f"{row[share]:9.2%}" for share in ("fifths", "octaves", "four"))
    print(f"  {name:26s}{shares}{row['hold']:6d}{row['still']:7d}{row['loop']:6d}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=8, help="how many at each temperature")
    parser.add_argument("--frames", type=int, default=64, help="the length of each")
    parser.add_argument("--set", choices=SETS, help="only one of the two")
    parser.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES)
    parser.add_argument("--json", help="where to write the figures")
    args = parser.parse_args()
    table = {}
    for name, (dataset, checkpoint) in SETS.items():
        if args.set not in (None, name):
            continue
        print(f"\n{name:28s}   fifths  octaves     four  hold  still  loop")
        rows = table[name] = {"test split": measures([r[: args.frames] > 0 for r in dataset("test").rolls])}
        show("test split", rows["test split"])
        model = RollWaveNet.from_pretrained(checkpoint)
        for t in args.temperatures:
            made = []
            for seed in range(args.pieces):
                mode = ("major", "minor")[seed % 2] if name == "chorales" else "major"
                how = {"mode": mode, "temperature": t, "seed": seed, "progress": False}
                made.append(compose(model, args.frames, **how).numpy().T)
            show(f"temperature {t}", rows.setdefault(str(t), measures(made)))
        if name == "chorales":
            made, opens = harmonised(model, 8, 0.7)
            show("melodies harmonised", rows.setdefault("harmonised", measures(made)))
            print(f"  {sum(opens)} of {len(opens)} harmonies open in their melody's mode")
            rows["opens"] = sum(opens)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(table, file, indent=1, default=float)


if __name__ == "__main__":
    main()
