"""Train a RollWaveNet on piano rolls and keep the weights that do best on the validation split.

    python scripts/train_polyphony.py --data jsb          # -> musicai/checkpoints/wavenet-chorales
    python scripts/train_polyphony.py --data nottingham   # -> musicai/checkpoints/wavenet-nottingham
    python scripts/train_polyphony.py --data MuseData.mat --out runs/muse

The same settings for every set, but for three that follow from its training split: dropout and the number of steps from
its size, and augmentation by transposition (by up to 5 semitones), which is for music that is not all in one key: these
two sets are in C as published. A run that was broken off goes on from its checkpoint when it is called again.
"""

import argparse
import math
import time
from pathlib import Path

import torch

from musicai.data import JSBChorales, Nottingham, PianoRolls
from musicai.scale import device
from musicai.train import fit, seed_all, update
from musicai.wavenet import RollBatches, RollConfig, RollWaveNet, log_odds, nats_per_frame, roll_loss

SHIPPED = Path(__file__).parents[1] / "musicai" / "checkpoints"
SETS = {"jsb": (JSBChorales, "wavenet-chorales"), "nottingham": (Nottingham, "wavenet-nottingham")}
BATCH, CROP = 12, 128  # pieces a step, frames of each
VALID_FRAMES = 8_000  # of the validation split, for choosing between checkpoints; the last figure is of all of it


def rolls_of(data: str, split: str) -> list[torch.Tensor]:
    """All rolls (88, frames) of a split of "jsb", "nottingham", or a .mat file."""
    dataset = SETS[data][0](split) if data in SETS else PianoRolls(data, split)
    return [item["roll"] for item in dataset]


def learning_rate(n: int, steps: int, peak: float) -> float:
    """Up in 50 steps, then down along a cosine."""
    return peak * min(1.0, (n + 1) / 50) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * n / steps)))


def dropout(frames: int) -> float:
    """Less music, more dropout: 0.5 for 14,000 frames (the chorales), 0.2 for 170,000 (the folk tunes) and more."""
    return min(0.5, max(0.2, 0.5 - 0.12 * math.log(frames / 14_000)))


def steps_for(frames: int) -> int:
    """Ten times through the music, and 1200 steps at least."""
    return max(1200, 10 * frames // (BATCH * CROP))


def transpose_for(rolls: list[torch.Tensor]) -> int:
    """0 where some pitch classes are much more usual than others, as in music that is all in C; else 5 semitones."""
    counts = torch.zeros(12).index_add(0, torch.arange(88) % 12, sum(roll.sum(1) for roll in rolls))
    entropy = torch.special.entr(counts / counts.sum()).sum()  # 2.0 and 2.2 nats for the shipped sets, at most ln 12
    return 0 if entropy < 2.4 else 5


def some(rolls: list[torch.Tensor], frames: int) -> list[torch.Tensor]:
    """Every so-manieth roll, so that about so many frames remain."""
    return rolls[:: max(1, round(sum(roll.shape[1] for roll in rolls) / frames))]


def train(args: argparse.Namespace) -> tuple[RollWaveNet, float]:
    """Train; the model that was best on the validation split, and the CPU minutes that it took, with earlier parts."""
    seed_all(args.seed)
    rolls, valid = rolls_of(args.data, "train"), some(rolls_of(args.data, "valid"), VALID_FRAMES)
    frames = sum(roll.shape[1] for roll in rolls)
    args.steps = args.steps or steps_for(frames)
    args.transpose = transpose_for(rolls) if args.transpose is None else args.transpose
    share = round(dropout(frames), 3)
    config = RollConfig(dropout=share, head_dropout=share - 0.1)
    model = RollWaveNet(config).to(device())
    model.base.copy_(log_odds(rolls))
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, betas=(0.9, 0.98), weight_decay=0.02)
    batches = RollBatches(rolls, BATCH, CROP, transpose=args.transpose, seed=args.seed)
    best, clock = args.out / "best", [0.0]

    def step(numbered):
        n, batch = numbered
        optimizer.param_groups[0]["lr"] = learning_rate(n, args.steps, args.lr)
        return {"loss": update(roll_loss(model, batch.to(device())), optimizer, max_norm=1.0)}

    def validate(run):
        score = nats_per_frame(run.ema["model"], valid)
        seen = [x for x in run.history.get("valid", []) if not math.isnan(x)]
        if score < min(seen, default=math.inf):
            run.ema["model"].save_pretrained(best)
        recent = [x for x in run.history["loss"][-args.every :] if not math.isnan(x)]
        print(f"step {run.step:,}: train {sum(recent) / len(recent):.3f}, valid {score:.3f} nats a frame", flush=True)
        clock.append(time.process_time())
        return {"valid": score, "seconds": clock[-1] - clock[-2]}

    settings = {name: value for name, value in vars(args).items() if name not in ("out", "minutes", "ship")}
    run = fit(
        step, lambda n: (n, batches(n)), steps=args.steps, state={"model": model, "optimizer": optimizer},
        checkpoint=args.out / "run.safetensors", save_every=args.every, minutes=args.minutes, ema=0.998,
        callbacks=[(args.every, validate)], config=settings, seed=args.seed,
    )  # fmt: skip
    if not run.finished:
        raise SystemExit(f"stopped after step {run.step:,} of {args.steps:,}; the same call goes on")
    seconds = sum(x for x in run.history.get("seconds", []) if not math.isnan(x))
    return RollWaveNet.from_pretrained(best), seconds / 60


def card(args: argparse.Namespace, model: RollWaveNet, name: str, scores: dict[str, float], minutes: float) -> str:
    """The model card."""
    parameters = sum(p.numel() for p in model.parameters())
    rows = "\n".join(f"| {split} | {score:.3f} |" for split, score in scores.items())
    return f"""# {name}

A WaveNet over the frames of a piano roll (`musicai.wavenet.rolls.RollWaveNet`, {parameters:,} parameters, stored as
float32), trained on the training split of {args.data}; weights averaged over the run, chosen on the validation
split. Training music was moved by up to {args.transpose} semitones; with 0, the set is all in C, and so is
what the model composes, until it is moved to another key.

| split | average negative log-likelihood, nats a frame |
|---|---|
{rows}

Each frame is predicted from all frames before it (the first from none), and the figure is of all 88 keys together.

Made by `python scripts/train_polyphony.py --data {args.data} --steps {args.steps} --seed {args.seed}`: Adam, batches of
{BATCH} crops of {CROP} frames, torch {torch.__version__} on {device().type}, {minutes:.0f} minutes of one core's time.
Not for judging whether music is good: it knows one style, in frames of a beat or half a beat, without loudness.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="jsb", help="jsb, nottingham, or the path of a .mat file")
    parser.add_argument("--out", type=Path, help="folder of this run (default: runs/polyphony-<data>)")
    parser.add_argument("--steps", type=int, help="default: ten times through the music, at least 1200")
    parser.add_argument("--minutes", type=float, help="stop after this time; call again to go on")
    parser.add_argument("--every", type=int, default=150, help="steps between validations")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--transpose", type=int, help="augment by so many semitones up and down (default: 0 or 5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ship", action="store_true", help="put the result into musicai/checkpoints")
    args = parser.parse_args()
    args.out = args.out or Path("runs") / f"polyphony-{Path(args.data).stem}"
    model, minutes = train(args)
    scores = {split: nats_per_frame(model, rolls_of(args.data, split)) for split in ("valid", "test")}
    name = SETS[args.data][1] if args.data in SETS else Path(args.data).stem
    folder = SHIPPED / name if args.ship else args.out / name
    model.save_pretrained(folder, card=card(args, model, name, scores, minutes))
    print(f"{name}: valid {scores['valid']:.3f}, test {scores['test']:.3f} nats a frame, in {folder}")


if __name__ == "__main__":
    main()
