"""Train a WaveNet that plays a score at 16 kHz: `python scripts/train_renderer.py --config cpu`.

Learns from `musicai.synth`'s renderings of the folk tunes and chorales (training splits) and from musicai-notes. Can be
broken off at any time; the same call goes on. It leaves in OUT: `run.safetensors` (all of the run), `model/` (averaged
weights, with a card), `ladder/` (the opening of a tune it never saw, played after 0, 100, 200, ... steps, and by
`musicai.synth`), `history.json`. First the partials of notes are learned by themselves (`partials.safetensors`), then
held while the WaveNet learns. `--head categorical` predicts codes; `--unconditional` hears no score. Chapter 5.

    config   layers, R, S, A    batch          steps    partials   on
    cpu      21, 32, 32, 64     2 x 0.2 s       4,000      7,000   one core, 40 minutes; flute, trumpet, folk tunes
    t4       20, 32, 64, 128    16 x 0.5 s     40,000     20,000   a T4, fp16; seven instruments, chorales too
    h100     20, 64, 128, 256   32 x 1.0 s    100,000     20,000   an H100, bf16; seven instruments, chorales too
"""

import argparse
import copy
import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from renderings import HOP, SR, Crops, Renderings, linear_bits, unigram_bits
from torch import Tensor
from training import RUNGS, add_settings, save_rung, settings

from musicai.audio import mu_law_decode, mu_law_encode, save
from musicai.wavenet import sample
from musicai.scale import device
from musicai.train import Run, fit, seed_all, update
from musicai.wavenet import ScoreConfig, ScoreWaveNet, WaveNet, WaveNetConfig

SEVERAL = ("acoustic_grand_piano", "church_organ", "violin", "cello", "trumpet", "clarinet", "flute")


@dataclasses.dataclass(frozen=True)
class Config:
    """What decides a run."""

    layers: int = 21
    stacks: int = 3
    residual: int = 32
    skip: int = 32
    end: int = 64
    instruments: tuple[str, ...] = ("flute", "trumpet")
    tunes: int = 160
    chorales: int = 0
    batch: int = 2
    frames: int = 20  # of 10 ms: what counts in a crop; its context comes on top
    steps: int = 4_000
    lr: float = 3e-3
    ema: float = 0.99
    head: str = "mixture"
    unconditional: bool = False
    partial_steps: int = 7_000  # of 16 crops, before the WaveNet's


LARGE = {
    "partial_steps": 20_000,
    "layers": 20,
    "stacks": 2,
    "instruments": SEVERAL,
    "tunes": 4000,
    "chorales": 229,
    "ema": 0.9995,
}
CONFIGS = {
    "cpu": Config(),
    "t4": Config(**LARGE, skip=64, end=128, batch=16, frames=50, steps=40_000, lr=1e-3),
    "h100": Config(**LARGE, residual=64, skip=128, end=256, batch=32, frames=100, steps=100_000, lr=1e-3),
}


def build(config: Config) -> WaveNet:
    """The model that a run begins with."""
    names = ("layers", "stacks", "residual", "skip", "end")
    channels = dict(zip((*names[:2], "residual_channels", "skip_channels", "end_channels"), names, strict=True))
    shape = {name: getattr(config, ours) for name, ours in channels.items()}
    shape["mixtures"] = 10 if config.head == "mixture" else 0
    if config.unconditional:
        model = WaveNet(WaveNetConfig(**shape))
    else:
        model = ScoreWaveNet(ScoreConfig(**shape, instruments=config.instruments, global_channels=8))
    (know_neighbours if config.head == "categorical" else know_widths)(model)
    return model


@torch.no_grad()
def know_neighbours(model: WaveNet) -> None:
    """Begin with neighbouring codes as neighbours, in the embedding and in the head: rows of a cosine basis.

    A network that has to learn the order of 256 codes first needs minutes that a CPU does not have.
    """
    classes = torch.arange(model.config.classes)
    for weight, size in ((model.front.weight, 1.0), (model.head.linear.weight, 0.1)):
        waves = torch.arange(1, weight.shape[1] + 1)
        weight.copy_(size * torch.cos(math.pi * waves * (classes[:, None] + 0.5) / len(classes)))


@torch.no_grad()
def know_widths(model: WaveNet) -> None:
    """Begin with Gaussians from narrow to wide, as wide as errors and as values are, and with inputs of size 1."""
    k = model.config.mixtures
    model.head.linear.bias[:k] = 0.0
    model.head.linear.bias[2 * k :] = torch.linspace(math.log(0.003), math.log(0.3), k)
    model.front.weight.mul_(5.0)


@torch.no_grad()
def know_loudness(model: WaveNet, crops: Crops) -> None:
    """Begin with the histogram of codes, as the head's bias: about half a bit that need not be learned."""
    codes = torch.cat([crops(n)[0][:, crops.valid].flatten() for n in range(50)])
    counts = torch.bincount(codes, minlength=model.config.classes) + 1.0
    model.head.linear.bias.copy_((counts / counts.sum()).log())


def sketch_error(model: ScoreWaveNet, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """What the partials leave of the power of each crop, as a share of it: (batch,)."""
    codes, local, instrument = (part.to(device()) for part in batch)
    wave = mu_law_decode(codes)
    left = wave - model.upsample.sketch(local, instrument)
    return left.square().mean(1) / (wave.square().mean(1) + 1e-5)


def learn_partials(model: ScoreWaveNet, args: argparse.Namespace, train_set: Renderings, valid_set: Renderings) -> None:
    """Fit the partials to the renderings, least squares; from then on they stay as they are.

    This is a regression: it finds what is the same whenever a note is played. What is not is left to the WaveNet. The
    time it takes is taken off `args.minutes`.
    """
    start = time.monotonic()
    steps, partials = args.settings.partial_steps, model.upsample.partials
    decides = {name: getattr(args.settings, name) for name in ("instruments", "tunes", "chorales", "partial_steps")}
    optimizer = torch.optim.Adam(partials.parameters(), 3e-3, betas=(0.9, 0.98))
    crops, held_out = (Crops(part, 16, 20, 1, seed) for part, seed in ((train_set, args.seed), (valid_set, 1)))

    def step(numbered: tuple[int, tuple]) -> dict[str, Tensor]:
        n, batch = numbered
        optimizer.param_groups[0]["lr"] = 3e-3 * rise_and_fall(n, steps)
        return {"left": update(sketch_error(model, batch).mean(), optimizer, max_norm=1.0)}

    def judge(run: Run) -> dict[str, float]:
        with torch.no_grad():
            found = sum(sketch_error(model, held_out(n)).mean().item() for n in range(10)) / 10
        print(f"partials, step {run.step:,}: {100 * found:.1f} % of the power of held-out crops is left", flush=True)
        return {"valid": found}

    run = fit(
        step, lambda n: (n, crops(n)), steps=steps, state={"partials": partials, "optimizer": optimizer},
        checkpoint=args.out / "partials.safetensors", save_every=500, callbacks=[(500, judge)], config=decides,
        minutes=args.minutes, seed=args.seed,
    )  # fmt: skip
    if args.minutes is not None:
        args.minutes = max(0.0, args.minutes - (time.monotonic() - start) / 60)
    if not run.finished:
        raise SystemExit(f"step {run.step} of {steps} of the partials: call again to go on")


def log_prob(model: WaveNet, batch: tuple[Tensor, Tensor, Tensor], past: Tensor | None = None) -> Tensor:
    """Log probability in nats of each code of a batch, whichever the head: (batch, time).

    A mixture reads the values that the codes stand for, and is judged by the mass that it gives to a code's interval.
    `past` is what the model hears of the codes, if not the codes themselves.
    """
    codes, local, instrument = (part.to(device()) for part in batch)
    score = (local, instrument) if model.upsample is not None else ()
    heard = codes if past is None else past.to(device())
    if not model.config.mixtures:
        return model.head.log_prob(model(model.previous(heard), *score), codes)
    return model.head.log_prob_of_codes(model(model.previous(mu_law_decode(heard)), *score), codes)


def disturbed(codes: Tensor, seed: tuple[int, int], share: float = 0.9) -> Tensor:
    """Codes as the model may hear its own past: a share of the crops with noise and an echo, each 0 to 35 dB below.

    A model that only ever hears true pasts learns to follow them, and once alone it follows its own errors; where the
    past is in doubt, the score is what it can rely on. The echo, up to 12 ms late, is the right pitch at a wrong phase.
    """
    rng = np.random.default_rng((*seed, 1))
    x = mu_law_decode(codes)
    noise = torch.from_numpy(rng.standard_normal(x.shape)).float() * x.square().mean(-1, keepdim=True).sqrt()
    echo = torch.stack([row.roll(int(late)) for row, late in zip(x, rng.integers(1, 200, len(x)), strict=True)])
    levels = 10 ** (rng.uniform(-35, 0, (2, len(x), 1)) / 20) * (rng.random((len(x), 1)) < share)
    noisy, late = torch.from_numpy(levels).float()
    return mu_law_encode((x + noisy * noise + late * echo).clamp(-1, 1))


@torch.no_grad()
def bits(model: WaveNet, crops: Crops, batches: int) -> float:
    """Bits a sample over so many batches of crops: the mean of -log2 p(sample | all before it, the score)."""
    found = [log_prob(model, crops(n))[:, crops.valid].double().mean().item() for n in range(batches)]
    return -sum(found) / len(found) / math.log(2)


def baselines(model: WaveNet, crops: Crops, held_out: Crops, batches: int) -> dict[str, float]:
    """Bits a sample on the same held-out crops without a WaveNet; coefficients and counts from training crops."""
    (train, known), (test, held) = (collected(model, part, batches) for part in (crops, held_out))
    found = {"histogram": unigram_bits(train, test), "linear prediction": linear_bits(train, test)}
    if model.upsample is not None:
        found["linear prediction, with the sketch"] = linear_bits(train, test, sketches=(known, held))
    return found


@torch.no_grad()
def collected(model: WaveNet, crops: Crops, batches: int) -> tuple[np.ndarray, np.ndarray]:
    """The codes of so many batches of crops, one after the other, and the model's sketch of them."""
    codes, sketches = [], []
    for codes_, local, instrument in map(crops, range(batches)):
        codes.append(codes_[:, crops.valid].flatten())
        if model.upsample is not None:
            wave = model.upsample.sketch(local.to(device()), instrument.to(device()))
            sketches.append(wave[:, crops.valid].flatten().cpu())
    return torch.cat(codes).numpy().astype(np.uint8), torch.cat(sketches).numpy() if sketches else None


class Listener:
    """The ladder: the opening of the first held-out tune for each instrument, played by the averaged model."""

    def __init__(self, out: Path, held_out: Renderings, seconds: float):
        self.folder, self.length = out / "ladder", int(seconds * SR)
        self.folder.mkdir(parents=True, exist_ok=True)
        firsts = {p.instrument: i for i, p in reversed(list(enumerate(held_out.pieces))) if p.recording is None}
        self.pieces = {name: held_out.pieces[i] for name, i in firsts.items()}
        for name, i in firsts.items():
            codes = torch.from_numpy(np.asarray(held_out.codes[i])[: self.length].astype(np.int64))
            save(self.folder / f"{name}-synth.mp3", mu_law_decode(codes), SR)

    def rung(self, model: WaveNet, step: int, temperature: float = 0.3) -> None:
        model = copy.deepcopy(model).cpu()  # a few streams: the compiled sampler is faster than a GPU that is asked
        for name, piece in self.pieces.items():
            how = model.conditioning(piece.score, name, self.length) if model.upsample is not None else None
            x = sample(model, self.length, how, seed=4, temperature=temperature, progress=False)[0]
            audio = x if model.config.mixtures else mu_law_decode(x)
            save_rung(self.folder.parent, step, audio, SR, prefix=f"{name}-")

    def __call__(self, run: Run) -> None:
        if run.step in RUNGS or run.finished:
            self.rung(run.ema["model"], run.step)


def rise_and_fall(n: int, steps: int) -> float:
    """Of the learning rate: up in 50 steps, then down along a cosine."""
    return min(1.0, (n + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * n / steps)))


def train(args: argparse.Namespace, train_set: Renderings, valid_set: Renderings) -> tuple[Run, WaveNet]:
    """Train, or go on."""
    config, where = args.settings, device()
    seed_all(args.seed)
    model = build(config).to(where)
    if args.start:
        model = type(model).from_pretrained(args.start, device=where).train()
    elif not config.unconditional:
        learn_partials(model, args, train_set, valid_set)
    if not config.unconditional:
        model.upsample.partials.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], config.lr, betas=(0.9, 0.98))
    crops, held_out = (
        Crops(part, config.batch, config.frames, model.receptive_field, seed) for part, seed in
        ((train_set, args.seed), (valid_set, 1))
    )  # fmt: skip
    if config.head == "categorical" and not args.start:
        know_loudness(model, crops)
    listener = Listener(args.out, valid_set, args.seconds)

    if not (args.out / "run.safetensors").exists():
        listener.rung(model, 0)

    def step(numbered: tuple[int, tuple]) -> dict[str, Tensor]:
        n, batch = numbered
        optimizer.param_groups[0]["lr"] = config.lr * rise_and_fall(n, config.steps)
        past = None if config.unconditional else disturbed(batch[0], (args.seed, n))
        loss = -log_prob(model, batch, past)[:, crops.valid].mean() / math.log(2)
        return {"bits": update(loss, optimizer, max_norm=1.0)}

    def judge(run: Run) -> dict[str, float]:
        found = bits(run.ema["model"], held_out, args.valid_batches)
        recent = [x for x in run.history["bits"][-args.every :] if not math.isnan(x)]
        print(f"step {run.step:,}: train {sum(recent) / len(recent):.3f}, valid {found:.3f} bits a sample", flush=True)
        return {"valid": found}

    run = fit(
        step, lambda n: (n, crops(n)), steps=config.steps, state={"model": model, "optimizer": optimizer},
        checkpoint=args.out / "run.safetensors", save_every=args.every, minutes=args.minutes, ema=config.ema,
        callbacks=[(100, listener), (args.every, judge)], precision=args.precision, config=config, seed=args.seed,
    )  # fmt: skip
    return run, run.ema["model"]


def curve(run: Run) -> dict[str, list[float]]:
    """Bits a sample at each validation, and the mean of the training's since the one before."""
    valid, bits = np.array(run.history.get("valid", [])), np.array(run.history["bits"])
    at = np.flatnonzero(~np.isnan(valid))
    train = [float(np.nanmean(part)) for part in np.split(bits, at + 1)[: len(at)]]
    return {"step": (at + 1).tolist(), "train": np.round(train, 4).tolist(), "valid": valid[at].round(4).tolist()}


def card(args: argparse.Namespace, model: WaveNet, scores: dict[str, float]) -> str:
    """The model card."""
    config, rows = args.settings, "\n".join(f"| {name} | {value:.3f} |" for name, value in scores.items())
    options = " ".join(
        [f"--config {args.config}", f"--head {config.head}", "--unconditional" * config.unconditional]
    ).strip()
    heard = "hears no score" if config.unconditional else f"plays a score with {', '.join(config.instruments)}"
    after = "" if config.unconditional else f", after {config.partial_steps:,} steps of its partials alone"
    music = "folk tunes and chorales" if config.chorales else "folk tunes"
    return f"""# {args.out.name}

A WaveNet over samples at 16 kHz that {heard}: {sum(p.numel() for p in model.parameters()):,} parameters, receptive
field {model.receptive_field / SR * 1000:.0f} ms, {config.steps:,} steps of
{config.batch} x {config.frames * HOP / SR} s{after}.

| on held-out pieces (test split) | bits a sample |
|---|---|
{rows}

Bits are of 8-bit mu-law codes, for either head, each predicted from the true ones before it. Learned from
`musicai.synth`'s renderings of {music} (training splits) and from musicai-notes; made by
`python scripts/train_renderer.py {options} --seed {args.seed}`, torch {torch.__version__} on {device().type}. It
knows these instruments' recordings and no others.
"""


def main() -> None:
    args = arguments()
    c = args.settings
    sets = [
        Renderings(split, c.instruments, max(1, c.tunes // share), c.chorales // share)
        for split, share in (("train", 1), ("valid", 5), ("test", 5))
    ]
    run, model = train(args, *sets[:2])
    (args.out / "history.json").write_text(json.dumps(curve(run)) + "\n")
    crops, held_out = (Crops(part, c.batch, c.frames, model.receptive_field, 2) for part in (sets[0], sets[2]))
    scores = {f"WaveNet, {c.head} head": bits(model, held_out, args.test_batches)}
    scores |= baselines(model, crops, held_out, args.test_batches)
    model.save_pretrained(args.out / "model", card=card(args, model, scores))
    said = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    print(f"step {run.step:,} of {run.steps:,}; bits a sample on the test split: {said}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_settings(parser, CONFIGS, ("steps", "batch", "frames", "tunes", "layers", "stacks", "lr", "partial_steps"))
    parser.add_argument("--head", choices=("mixture", "categorical"), help="in place of the config's")
    parser.add_argument("--unconditional", action="store_true", help="hear no score")
    parser.add_argument("--out", type=Path, help="folder of this run (default: runs/renderer-...)")
    parser.add_argument(
        "--start", type=Path, help="begin with the weights in this folder, of a model of the same shape"
    )
    parser.add_argument("--minutes", type=float, help="stop after this time; call again to go on")
    parser.add_argument("--precision", help="bf16, fp16 or auto")
    parser.add_argument("--every", type=int, default=100, help="steps between validations, which also save")
    parser.add_argument("--valid-batches", type=int, default=16)
    parser.add_argument("--test-batches", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each sound of the ladder")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.settings = settings(args, CONFIGS)
    name = "-unconditional" if args.unconditional else "" if args.settings.head == "mixture" else "-categorical"
    args.out = args.out or Path("runs") / f"renderer{name}"
    return args


if __name__ == "__main__":
    main()
