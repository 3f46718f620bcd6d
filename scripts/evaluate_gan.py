"""How good is a generator on notes it never heard? A table: the model, real held-out notes (the ceiling), the ratio.

    python scripts/evaluate_gan.py instrument-gan                    # our judges, seconds
    python scripts/evaluate_gan.py runs/instrument --pyin --crepe    # librosa's pyin; CREPE (extra `judges`): minutes
    python scripts/evaluate_gan.py instrument-gan --musicnn judges   # see scripts/musicnn_embedding.py
    python scripts/evaluate_gan.py instrument-gan --splits valid test --z --json scores.json
    python scripts/evaluate_gan.py instrument-gan --ears             # attack, noise, level and takes by instrument
    python scripts/evaluate_gan.py wavegan-drums

The model is a folder or a shipped name. An instrument generator plays every (pitch, instrument, velocity) in the test
split of `MusicAINotes` once, from one seed; none of these notes are in the training split. pyin and CREPE hear one
velocity of each pitch. A drum generator has no labels and is compared with the validation and test splits together. No
judge took part in training a generator: pyin, CREPE and musicnn are independent, and the MFCC classifier shares nothing
with ours but the notes. Chapter 4.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from musicnn_embedding import musicnn
from note_measures import apart, attack_time, level, noise_between_partials, two_takes
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from musicai.audio import log_mel, mfcc
from musicai.data import MusicAIDrums, MusicAINotes
from musicai.extras import require
from musicai.gan import CurveNotes, InstrumentGenerator, WaveGANGenerator
from musicai.metrics import (
    MetricScore,
    Sounds,
    instrument_accuracy,
    instrument_classifier,
    judge,
    log_mel_statistics,
    nearest,
    pitch_accuracy,
    pyin_pitch,
    report,
    timbre,
)
from musicai.pretrained import resolve

SR = 16_000
NAMES = ("pitch", "instrument", "velocity")


def asked_for(splits: list[str]) -> tuple[Sounds, list[Tensor]]:
    """The real notes of these splits and their conditions."""
    items = [notes[i] for notes in map(MusicAINotes, splits) for i in range(len(notes))]
    condition = [torch.tensor([item[name] for item in items]) for name in NAMES]
    return Sounds(torch.stack([item["audio"] for item in items]), *condition[:2]), condition


@torch.no_grad()
def play(model: InstrumentGenerator, condition: list[Tensor], seed: int = 0, z: Tensor | None = None) -> Tensor:
    """One note for each condition, with z drawn from this seed unless it is given: (N, 16000)."""
    if z is None:
        z = torch.randn(len(condition[0]), model.config["z_size"], generator=torch.Generator().manual_seed(seed))
    parts = zip(*(value.split(32) for value in (z, *condition)), strict=True)
    return torch.cat([model(*part)[:, 0] for part in parts])


def mfcc_classifier(training: Sounds) -> Callable[[Tensor], Tensor]:
    """A judge that shares nothing with ours but the notes: scikit-learn's logistic regression on MFCCs."""

    def features(audio: Tensor) -> Tensor:
        x = mfcc(audio / audio.abs().amax(-1, keepdim=True).clamp(min=1e-6), SR, n_mfcc=20)[..., 1:, :]
        return torch.cat([x.mean(-1), x.std(-1), x[..., :8].mean(-1), x[..., 8:].mean(-1) - x[..., :8].mean(-1)], -1)

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(features(training.audio).numpy(), training.instrument.numpy())
    return lambda audio: torch.from_numpy(model.predict_proba(features(audio).numpy()))


def crepe_pitch(audio: Tensor, sr: int) -> Tensor:
    """The pitch in Hz by CREPE tiny (Kim et al. 2018): the median over frames, weighted by squared confidence."""
    sys.modules.setdefault("torchaudio", ModuleType("torchaudio"))  # only needed for files; many torch versions lack it
    torchcrepe = require("torchcrepe", "judges", "CREPE")
    options = {"hop_length": sr // 50, "fmin": 32.7, "fmax": 1975.5, "model": "tiny", "batch_size": 512}
    options |= {"decoder": torchcrepe.decode.weighted_argmax, "return_periodicity": True}

    def one(x: Tensor) -> float:
        f, confidence = torchcrepe.predict(x[None], sr, **options)
        f, order = f[0].sort()
        weight = confidence[0][order].square().cumsum(0)
        return f[torch.searchsorted(weight, weight[-1] / 2)].item()

    return torch.tensor([one(x) for x in audio])


def drummed(model: WaveGANGenerator, count: int, seed: int) -> Tensor:
    """`count` sounds of a WaveGAN, cut to one second: (count, 16000)."""
    z = 2 * torch.rand(count, model.config.get("z_size", 100), generator=torch.Generator().manual_seed(seed)) - 1
    with torch.no_grad():
        return torch.cat([model(part)[:, 0, :SR] for part in z.split(32)])


def instrument_scores(model: InstrumentGenerator, options: argparse.Namespace) -> list[MetricScore]:
    training = Sounds.from_dataset(MusicAINotes("train"))
    held_out, condition = asked_for(options.splits)
    made = held_out._replace(audio=play(model, condition, options.seed))
    classifiers = {"ours": instrument_classifier(), "MFCC": mfcc_classifier(training)}
    embeddings = {"timbre": timbre, "log-mel": log_mel_statistics}
    if options.musicnn:
        embeddings["musicnn"] = musicnn(options.musicnn)
    scores = judge(made, held_out, training, classifiers=classifiers, embeddings=embeddings)
    own = (own_distance(sounds, training) for sounds in (made, held_out))
    scores.append(MetricScore("distance to nearest of its instrument", *own))
    loudest = condition[2] == 100
    for name, wanted, estimator in (("pyin", options.pyin, pyin_pitch), ("CREPE", options.crepe, crepe_pitch)):
        if wanted:
            both = (pitch_accuracy(s.audio[loudest], s.pitch[loudest], SR, estimator) for s in (made, held_out))
            scores.insert(1, MetricScore(f"pitch accuracy, {name}", *both))
    return scores + (z_scores(model, made, held_out, condition) if options.z else [])


def z_scores(model: InstrumentGenerator, made: Sounds, real: Sounds, condition: list[Tensor]) -> list[MetricScore]:
    """Measure how much z changes a note's log-mel spectrum in dB, compared with the distance to the real note.

    It also judges notes of any pitch, instrument and velocity.
    """
    few = [part[::9] for part in condition]
    ends = torch.randn(2, len(few[0]), model.config["z_size"], generator=torch.Generator().manual_seed(2))
    walk = [play(model, few, z=torch.lerp(*ends, t)) for t in (0.0, 0.02, 0.5, 0.52, 1.0)]
    apart = decibels(made.audio, real.audio)
    found = {
        "dB between two z": decibels(made.audio, play(model, condition, seed=1)),
        "dB for a walk of 2 %": (decibels(*walk[:2]) + decibels(*walk[2:4])) / 2,
        "dB for the whole walk": decibels(walk[0], walk[-1]),
    }
    other = anywhere(model, 400)
    right = (pitch_accuracy(other.audio, other.pitch), instrument_accuracy(other.audio, other.instrument))
    scores = [MetricScore(f"{what} accuracy, any note", share, 1.0) for what, share in zip(NAMES, right, strict=False)]
    return [*scores, *(MetricScore(name, value, apart) for name, value in found.items())]


def ear_table(model: InstrumentGenerator, options: argparse.Namespace, takes: int = 3) -> tuple[str, list[MetricScore]]:
    """What `note_measures` says about real notes, what lies near them, and `takes` of each by the model; and the worst.

    "Near" are training recordings that can stand in for the note. They are the ceiling: what a sampler would play.
    """
    held_out, condition = asked_for(options.splits)
    near = two_takes(CurveNotes(MusicAINotes("train"), progress=False), *condition)
    made = [play(model, condition, options.seed + n) for n in range(takes)]
    heard = [torch.stack([ears(x, condition[0]) for x in sounds], 1) for sounds in ([held_out.audio], near, made)]
    uneven, spread = level(torch.stack(made)) - level(held_out.audio), torch.stack([apart(*near), apart(*made[:2])])
    lines = [f"{'':22}{'attack, ms':>21}{'20-80 %, ms':>24}{'noise, dB':>24}{'level':>10}{'takes, dB':>17}"]
    lines += [" " * 22 + f"{'real':>7}{'near':>7}{'made':>7}   " * 3 + f"{'made':>7}   {'near':>7}{'made':>7}"]
    medians = []
    for i, name in enumerate(model.instruments):
        mine = condition[1] == i
        medians.append(torch.stack([x[..., mine].flatten(1).median(1)[0] for x in heard], 1))  # (3 measures, 3 kinds)
        parts = [*medians[-1], uneven[:, mine].square().mean().sqrt()[None], spread[:, mine].mean(1)]
        lines.append(f"{name:22}" + "   ".join("".join(f"{x:7.1f}" for x in part.tolist()) for part in parts))
    real, *others = torch.stack(medians).unbind(2)  # (instruments, 3)
    off = torch.stack([torch.cat([(x / real)[:, :2].log(), (x - real)[:, 2:]], 1) for x in others[::-1]], 2)
    attack, rise, noise = off.abs().amax(0).tolist()  # (model, ceiling) each
    scores = [
        MetricScore("attack, farthest from real, as a factor", *map(math.exp, attack), False),
        MetricScore("attack 20-80 %, farthest from real, as a factor", *map(math.exp, rise), False),
        MetricScore("noise between partials, most above real, dB", *off[:, 2].amax(0).tolist(), False),
        MetricScore("noise between partials, farthest from real, dB", *noise, False),
        MetricScore("level, rms distance from real, dB", uneven.square().mean().sqrt().item(), 0.0, False),
        MetricScore("dB between two takes", *spread.mean(1).flip(0).tolist()),
    ]
    return "\n".join(lines), scores


def ears(audio: Tensor, pitch: Tensor) -> Tensor:
    """Attacks of notes (B, time), 10 to 90 and 20 to 80 %, in ms; the noise between their partials in dB: (3, B)."""
    rises = (1000 * attack_time(audio, *part).clamp_min(1e-3) for part in ((0.1, 0.9), (0.2, 0.8)))
    return torch.stack([*rises, noise_between_partials(audio, pitch)])


def decibels(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference between log-mel spectra in dB; anything below -60 dB counts as silence."""
    pictures = (log_mel(x, SR, n_fft=1024, hop_length=256, n_mels=64).clamp_min(-60) for x in (one, other))
    return torch.sub(*pictures).abs().mean().item()


def anywhere(model: InstrumentGenerator, count: int) -> Sounds:
    """Conditions without real notes: any pitch of any instrument at any velocity."""
    draw = torch.Generator().manual_seed(3)
    instrument = torch.randint(len(model.instruments), (count,), generator=draw)
    low, high = (torch.tensor(x)[instrument] for x in (model.lowest, model.highest))
    pitch = low + (torch.rand(count, generator=draw) * (high - low + 1)).long()
    condition = [pitch, instrument, torch.randint(1, 128, (count,), generator=draw)]
    return Sounds(play(model, condition, seed=3), pitch, instrument)


def own_distance(sounds: Sounds, training: Sounds) -> float:
    """The median distance to the nearest training note of the same instrument.

    `judge` looks for the nearest note of all; for most notes, real ones included, that is another instrument's note of
    the same pitch.
    """
    found = torch.zeros(len(sounds.audio))
    for i in sounds.instrument.unique():
        mine = sounds.instrument == i
        found[mine] = nearest(sounds.audio[mine], training.audio[training.instrument == i])[0]
    return found.median().item()


def drum_scores(model: WaveGANGenerator, options: argparse.Namespace) -> list[MetricScore]:
    training = Sounds(Sounds.from_dataset(MusicAIDrums("train")).audio)
    held_out = Sounds(torch.cat([Sounds.from_dataset(MusicAIDrums(split)).audio for split in ("valid", "test")]))
    embeddings = {"log-mel": log_mel_statistics}
    if options.musicnn:
        embeddings["musicnn"] = musicnn(options.musicnn)
    return judge(Sounds(drummed(model, len(held_out.audio), options.seed)), held_out, training, embeddings=embeddings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder or a shipped name")
    parser.add_argument("--splits", nargs="+", default=["test"], help="of the notes; drums always use valid and test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pyin", action="store_true", help="also judge the pitch with librosa's pyin")
    parser.add_argument("--crepe", action="store_true", help="also judge the pitch with CREPE tiny")
    parser.add_argument("--musicnn", metavar="FOLDER", help="also use musicnn, which is installed in this folder")
    parser.add_argument(
        "--z", action="store_true", help="also measure how much z matters, and judge notes of any pitch"
    )
    parser.add_argument("--ears", action="store_true", help="measure attack, noise, level and takes by instrument only")
    parser.add_argument("--json", type=Path, help="where to save the scores")
    options = parser.parse_args()
    kind = json.loads((resolve(options.model) / "config.json").read_text())["class"]
    if kind == "InstrumentGenerator":
        model = InstrumentGenerator.from_pretrained(options.model)
        table, scores = ear_table(model, options) if options.ears else ("", instrument_scores(model, options))
        print(table)
    else:
        scores = drum_scores(WaveGANGenerator.from_pretrained(options.model), options)
    print(report(scores))
    if options.json:
        options.json.write_text(json.dumps([score._asdict() for score in scores], indent=2) + "\n")


if __name__ == "__main__":
    main()
