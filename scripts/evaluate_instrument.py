"""Judges an instrument GAN on held-out notes: `python scripts/evaluate_instrument.py instrument-gan`.

It plays every held-out (pitch, instrument, velocity) of the shipped notes with random z and prints the table of
`musicai.metrics.judge`, each score beside its ceiling (the real held-out notes). Pitch is heard by librosa.pyin, by
torchcrepe's tiny model where that is installed, and by our own; none of them had a part in training. `--z` adds how
much z matters; `--json` keeps the scores. Chapter 4.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from musicai.audio import log_mel
from musicai.data import MusicAINotes
from musicai.gan import InstrumentGenerator
from musicai.metrics import crepe_pitch, estimate_pitch, instrument_accuracy, judge, pitch_accuracy, pyin_pitch, report
from musicai.metrics.judging import Sounds

NAMES = ("pitch", "instrument", "velocity")


def asked_for(splits: tuple[str, ...]) -> tuple[Sounds, list[Tensor]]:
    """The real notes of these splits, and the condition of each."""
    items = [notes[i] for notes in map(MusicAINotes, splits) for i in range(len(notes))]
    pitch, instrument, velocity = (torch.tensor([item[name] for item in items]) for name in NAMES)
    return Sounds(torch.stack([item["audio"] for item in items]), pitch, instrument), [pitch, instrument, velocity]


@torch.no_grad()
def play(generator: InstrumentGenerator, condition: list[Tensor], seed: int) -> Tensor:
    """One note for each condition, z drawn with this seed: (N, 16000)."""
    z = torch.randn(len(condition[0]), generator.config["z_size"], generator=torch.Generator().manual_seed(seed))
    parts = zip(*(value.split(32) for value in (z, *condition)), strict=True)
    return torch.cat([generator(*part)[:, 0] for part in parts])


def distance(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference of log-mel spectra in dB; what lies below -60 dB counts as silence."""
    pictures = (log_mel(x, 16_000, n_fft=1024, hop_length=256, n_mels=64).clamp_min(-60) for x in (one, other))
    return torch.sub(*pictures).abs().mean().item()


def importance_of_z(generator: InstrumentGenerator, real: Sounds, condition: list[Tensor], first: Tensor) -> dict:
    """Decibels between log-mel spectra of one note under two z; along a walk from the one to the other; and to real."""
    second = play(generator, condition, seed=1)
    few = [part[::9] for part in condition]
    ends = torch.randn(2, len(few[0]), generator.config["z_size"], generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        walk = [generator(torch.lerp(*ends, t), *few)[:, 0] for t in (0.0, 0.02, 0.5, 0.52, 1.0)]
    return {
        "dB between two z": distance(first, second),
        "dB to the real note": distance(first, real.audio),
        "dB for a walk of 2 %": (distance(*walk[:2]) + distance(*walk[2:4])) / 2,
        "dB for the whole walk": distance(walk[0], walk[-1]),
    }


def anywhere(generator: InstrumentGenerator, count: int) -> tuple[Sounds, list[Tensor]]:
    """Any pitch of any instrument at any velocity, as hidden cases would be: conditions without real notes."""
    draw = torch.Generator().manual_seed(3)
    instrument = torch.randint(len(generator.instruments), (count,), generator=draw)
    low, high = (torch.tensor(x)[instrument] for x in (generator.lowest, generator.highest))
    pitch = low + (torch.rand(count, generator=draw) * (high - low + 1)).long()
    condition = [pitch, instrument, torch.randint(1, 128, (count,), generator=draw)]
    return Sounds(play(generator, condition, seed=3), pitch, instrument), condition


def estimators(slow: bool) -> Iterator[tuple[str, object]]:
    yield "ours", estimate_pitch
    if slow:
        yield "pyin", pyin_pitch
        if importlib.util.find_spec("torchcrepe"):
            yield "crepe tiny", crepe_pitch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="instrument-gan", help="a folder or a shipped name")
    parser.add_argument("--splits", nargs="+", default=["valid", "test"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true", help="only our own pitch judge")
    parser.add_argument("--z", action="store_true", help="also how much z matters, and notes from anywhere")
    parser.add_argument("--json", type=Path, help="where to keep the scores")
    args = parser.parse_args()
    generator = InstrumentGenerator.from_pretrained(args.model)
    real, condition = asked_for(tuple(args.splits))
    start = time.perf_counter()
    audio = play(generator, condition, args.seed)
    seconds = time.perf_counter() - start
    print(f"{len(audio)} notes of one second in {seconds:.1f} s: {len(audio) / seconds:.0f} times real time")
    judges = dict(estimators(not args.fast))
    scores = judge(Sounds(audio, *condition[:2]), real, asked_for(("train",))[0], pitch=judges)
    print(report(scores))
    kept = {score.name: {"ours": score.value, "ceiling": score.ceiling} for score in scores}
    if args.z:
        sounds, _ = anywhere(generator, 400)
        extra = importance_of_z(generator, real, condition, audio)
        extra["pitch accuracy anywhere"] = pitch_accuracy(sounds.audio, sounds.pitch)
        extra["instrument accuracy anywhere"] = instrument_accuracy(sounds.audio, sounds.instrument)
        print("\n".join(f"{name:30} {value:8.3f}" for name, value in extra.items()))
        kept |= extra
    if args.json:
        args.json.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
