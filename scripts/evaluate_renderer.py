"""Does it play what is written? `python scripts/evaluate_renderer.py runs/renderer/model`.

Samples the openings of folk tunes from the test split, cuts them into their notes, and asks a pitch judge about each
note; beside it what the same judge says of `musicai.synth`'s audio of the same tunes, which is its ceiling. Says too
how fast the sampler was, and leaves both sounds in OUT. Chapter 5.
"""

import argparse
import time
from pathlib import Path

import torch
from renderings import SR, Piece, codes_of, pieces
from torch import Tensor

from musicai.audio import mu_law_decode, save
from musicai.metrics import pitch_accuracy
from musicai.sampling import sample
from musicai.wavenet import ScoreWaveNet

SHORTEST, LENGTH = 0.2, 0.5  # seconds: shorter notes are not judged, longer ones are cut


def notes_of(audio: Tensor, piece: Piece) -> tuple[Tensor, list[int]]:
    """The sounds of the notes that are long enough and whole, (notes, time) with silence after them, and pitches."""
    sounds, pitches = [], []
    for note in piece.score.tracks[0].notes:
        start, end = (round(SR * piece.score.seconds(beat)) for beat in (note.start, note.end))
        if end - start >= SHORTEST * SR and end <= len(audio):
            sound = audio[start : min(end, start + int(LENGTH * SR))]
            sounds.append(torch.nn.functional.pad(sound, (0, int(LENGTH * SR) - len(sound))))
            pitches.append(note.pitch)
    return torch.stack(sounds) if sounds else torch.zeros(0, int(LENGTH * SR)), pitches


def play(model: ScoreWaveNet, piece: Piece, length: int, temperature: float) -> tuple[Tensor, float]:
    """The opening of a piece, and how many seconds of sound came out of each second."""
    how = model.conditioning(piece.score, piece.instrument, length)
    start = time.perf_counter()
    x = sample(model, length, how, temperature=temperature, progress=False)[0]
    speed = length / SR / (time.perf_counter() - start)
    return (x if model.config.mixtures else mu_law_decode(x)), speed


def main() -> None:
    args = arguments()
    model = ScoreWaveNet.from_pretrained(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    length, heard = int(args.seconds * SR), {"WaveNet": [], "synth": []}
    pitches, speeds = [], []
    for i, piece in enumerate(pieces("test", model.config.instruments, args.tunes, 0, False)):
        audio, speed = play(model, piece, length, args.temperature)
        real = mu_law_decode(torch.from_numpy(codes_of(piece)[:length].astype("int64")))
        for name, sound in (("WaveNet", audio), ("synth", real)):
            save(args.out / f"{i:02d}-{piece.instrument}-{name.lower()}.mp3", sound, SR)
            heard[name].append(notes_of(sound, piece)[0])
        pitches += notes_of(real, piece)[1]
        speeds.append(speed)
    print(f"{len(pitches)} notes of {args.tunes} tunes that it never heard, temperature {args.temperature}")
    for name, sounds in heard.items():
        print(f"{name}: {100 * pitch_accuracy(torch.cat(sounds), torch.tensor(pitches)):.1f} % within half a semitone")
    print(f"the sampler gave {sorted(speeds)[len(speeds) // 2]:.2f} seconds of sound a second")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of a ScoreWaveNet")
    parser.add_argument("--tunes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each tune")
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--out", type=Path, default=Path("runs/renderer-heard"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
