"""How good is a generator on notes it never heard? One table: the model, real held-out notes (the ceiling), the ratio.

    python scripts/evaluate_gan.py instrument-gan                    # our judges, seconds
    python scripts/evaluate_gan.py runs/mine --pyin --crepe          # librosa's pyin; CREPE (extra `judges`): minutes
    python scripts/evaluate_gan.py instrument-gan --musicnn judges   # see scripts/musicnn_embedding.py
    python scripts/evaluate_gan.py wavegan-drums

The model is a folder or a shipped name. An instrument generator plays every (pitch, instrument, velocity) of the test
split of `MusicAINotes`, none of which is in the training split, once each, from one seed; pyin and CREPE hear one
velocity of each pitch. A drum generator has no labels, and is held against the validation and test splits together.

Beside `scripts/evaluate_instrument.py`, which is for choosing between models, this one asks judges that are not ours:
CREPE, musicnn, and a classifier on MFCCs. None of the judges had any part in training a generator.
"""

import argparse
import json
from collections.abc import Callable

import torch
from evaluate_instrument import asked_for, play
from musicnn_embedding import musicnn
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from musicai.audio import mfcc
from musicai.data import MusicAIDrums, MusicAINotes
from musicai.gan import InstrumentGenerator, WaveGANGenerator
from musicai.metrics import (
    Score,
    Sounds,
    crepe_pitch,
    instrument_classifier,
    judge,
    log_mel_statistics,
    nearest,
    pitch_accuracy,
    pitch_errors,
    pyin_pitch,
    report,
    timbre,
)
from musicai.pretrained import find

SR = 16_000


def mfcc_classifier(training: Sounds) -> Callable[[Tensor], Tensor]:
    """A judge that shares nothing with ours but the notes: logistic regression on MFCCs, by scikit-learn."""

    def features(audio: Tensor) -> Tensor:
        x = mfcc(audio / audio.abs().amax(-1, keepdim=True).clamp(min=1e-6), SR, n_mfcc=20)[..., 1:, :]
        return torch.cat([x.mean(-1), x.std(-1), x[..., :8].mean(-1), x[..., 8:].mean(-1) - x[..., :8].mean(-1)], -1)

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(features(training.audio).numpy(), training.instrument.numpy())
    return lambda audio: torch.from_numpy(model.predict_proba(features(audio).numpy()))


def drummed(model: WaveGANGenerator, count: int, seed: int) -> Tensor:
    """`count` sounds of a WaveGAN, cut to a second (count, 16000)."""
    z = 2 * torch.rand(count, model.config.get("z_size", 100), generator=torch.Generator().manual_seed(seed)) - 1
    with torch.no_grad():
        return torch.cat([model(part)[:, 0, :SR] for part in z.split(32)])


def instrument_scores(model: InstrumentGenerator, options: argparse.Namespace) -> list[Score]:
    training = Sounds.of(MusicAINotes("train"))
    held_out, condition = asked_for(tuple(options.splits))
    made = held_out._replace(audio=play(model, condition, options.seed))
    classifiers = {"ours": instrument_classifier(), "MFCC": mfcc_classifier(training)}
    embeddings = {"timbre": timbre, "log-mel": log_mel_statistics}
    if options.musicnn:
        embeddings["musicnn"] = musicnn(options.musicnn)
    scores = judge(made, held_out, training, classifiers=classifiers, embeddings=embeddings)
    loudest = condition[2] == 100
    for name, wanted, estimator in (("pyin", options.pyin, pyin_pitch), ("CREPE", options.crepe, crepe_pitch)):
        if wanted:
            both = (pitch_accuracy(s.audio[loudest], s.pitch[loudest], SR, estimator) for s in (made, held_out))
            scores.insert(1, Score(f"pitch accuracy, {name}", *both))
    if options.details:
        details(made, held_out, training, model.instruments)
    return scores


def details(made: Sounds, held_out: Sounds, training: Sounds, names: tuple[str, ...]) -> None:
    """Instrument by instrument: pitch, what ours hears it as, and how unlike the real note it is."""
    right = pitch_errors(made.audio, made.pitch).abs() <= 50
    heard = torch.cat([instrument_classifier()(part).argmax(-1) for part in made.audio.split(64)])
    print(f"{'instrument':22}{'notes':>6}{'pitch':>7}{'named':>7}{'unlike':>8}{'real':>6}  heard as")
    for i, name in enumerate(names):
        mine = made.instrument == i
        own = training.audio[training.instrument == i]
        unlike, real = (nearest(s.audio[mine], own).distance.median() for s in (made, held_out))
        wrong = sorted({names[h] for h in heard[mine & (heard != i)]})
        rates = f"{mine.sum():6}{right[mine].float().mean():7.2f}{(heard[mine] == i).float().mean():7.2f}"
        print(f"{name:22}{rates}{unlike:8.2f}{real:6.2f}  {', '.join(wrong)}")


def drum_scores(model: WaveGANGenerator, options: argparse.Namespace) -> list[Score]:
    training = Sounds(Sounds.of(MusicAIDrums("train")).audio)
    held_out = Sounds(torch.cat([Sounds.of(MusicAIDrums(split)).audio for split in ("valid", "test")]))
    embeddings = {"log-mel": log_mel_statistics}
    if options.musicnn:
        embeddings["musicnn"] = musicnn(options.musicnn)
    return judge(Sounds(drummed(model, len(held_out.audio), options.seed)), held_out, training, embeddings=embeddings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder or a shipped name")
    parser.add_argument("--splits", nargs="+", default=["test"], help="of the notes; drums always take valid and test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pyin", action="store_true", help="also librosa's pyin")
    parser.add_argument("--crepe", action="store_true", help="also CREPE tiny")
    parser.add_argument("--musicnn", metavar="FOLDER", help="also musicnn, installed in this folder")
    parser.add_argument("--details", action="store_true", help="also a line for each instrument")
    options = parser.parse_args()
    kind = json.loads((find(options.model) / "config.json").read_text())["class"]
    if kind == "InstrumentGenerator":
        scores = instrument_scores(InstrumentGenerator.from_pretrained(options.model), options)
    else:
        scores = drum_scores(WaveGANGenerator.from_pretrained(options.model), options)
    print(report(scores))


if __name__ == "__main__":
    main()
