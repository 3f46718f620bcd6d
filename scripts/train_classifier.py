"""Train the judge of instruments and ship it: `python scripts/train_classifier.py` (minutes on one core).

It learns from the training split of `MusicAINotes` alone, at random levels, a little early or late, through random
tone controls, and with noise, so that it hears the instrument and not the recording. With `--holdout octave` it trains
without the pitches of one octave (60 to 71) and is asked about these: what it knows when no neighbour of a pitch,
which in a sampled instrument may be the same recording, was in training. That run saves nothing.
"""

import argparse
import time

import torch
from torch import Tensor

from musicai.data import MusicAINotes
from musicai.metrics import InstrumentClassifier
from musicai.pretrained import SHIPPED
from musicai.train import update

OCTAVE = range(60, 72)
CARD = """# instrument-classifier

Names the instrument of a one-second note at 16 kHz, among the {count} of `MusicAINotes`. It judges what `musicai.gan`
plays; no generator was trained with it.

| | |
|---|---|
| data | `MusicAINotes("train")`: {train} notes |
| parameters | {parameters:,} |
| training | {steps:,} steps of {batch} notes, AdamW, one-cycle rate to {rate}, seed {seed}; {seconds:.0f} s on a CPU |
| right on held-out pitches | valid {valid:.1%}, test {test:.1%} |
| right on an octave it was not trained on | {octave} |
| command | `python scripts/train_classifier.py` |

A held-out pitch has neighbours in training that may be the same recording, played a little faster. The last figure is
for a network trained without any pitch from 60 to 71 and asked about these, and is the honest one for pitches far from
any in training. It cannot say "none of these": it names one of the {count} whatever it hears.

Licence: MIT, as the code.
"""


def stacked(notes: MusicAINotes, keep=lambda pitch: True) -> tuple[Tensor, Tensor]:
    """Sounds (notes, time) and instruments (notes,)."""
    items = [notes[i] for i in range(len(notes)) if keep(notes.manifest[i].pitch)]
    return torch.stack([item["audio"] for item in items]), torch.tensor([item["instrument"] for item in items])


def varied(x: Tensor, generator: torch.Generator) -> Tensor:
    """The same notes through another room: up to 50 ms early or late, tone controls of up to 6 dB, half with noise."""
    draw = torch.rand(4, len(x), 1, generator=generator)
    late = int(1600 * torch.rand(1, generator=generator)) - 800
    x = torch.nn.functional.pad(x, (late, -late))
    spectrum, f = torch.fft.rfft(x), torch.linspace(0, 1, x.shape[-1] // 2 + 1)
    tone = 6 * (2 * draw[0] - 1) * (torch.pi * f * (1 + 3 * draw[1])).cos()  # dB
    x = torch.fft.irfft(spectrum * 10 ** (tone / 20), x.shape[-1])
    level = x.square().mean(-1, keepdim=True).sqrt() * 10 ** (-(20 + 40 * draw[2]) / 20)
    return x + (draw[3] < 0.5) * level * torch.randn(x.shape, generator=generator)


def train(x: Tensor, y: Tensor, names: tuple[str, ...], options: argparse.Namespace) -> InstrumentClassifier:
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    model = InstrumentClassifier(names)
    optimizer = torch.optim.AdamW(model.parameters(), options.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, total_steps=options.steps)
    for step in range(options.steps):
        chosen = torch.randint(len(x), (options.batch,), generator=generator)
        logits = model(varied(x[chosen], generator))
        loss = torch.nn.functional.cross_entropy(logits, y[chosen], label_smoothing=0.05)
        update(loss, optimizer)
        schedule.step()
        if step % 50 == 0:
            print(f"step {step:5d}  loss {loss.item():.3f}", flush=True)
    return model.eval()


@torch.no_grad()
def accuracy(model: InstrumentClassifier, x: Tensor, y: Tensor) -> float:
    found = torch.cat([model(part).argmax(-1) for part in x.split(64)])
    for i, name in enumerate(model.names):
        right = (found[y == i] == i).float().mean().item()
        if right < 0.95:
            print(f"  {name}: {right:.1%} right")
    return (found == y).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--holdout", choices=("pitches", "octave"), default="pitches")
    parser.add_argument("--octave-result", default="not measured", help="what --holdout octave said, for the card")
    options = parser.parse_args()
    notes, started = MusicAINotes("train"), time.monotonic()
    if options.holdout == "octave":
        model = train(*stacked(notes, lambda pitch: pitch not in OCTAVE), notes.instruments, options)
        print(f"octave {accuracy(model, *stacked(MusicAINotes(None), lambda pitch: pitch in OCTAVE)):.1%}")
        return
    model = train(*stacked(notes), notes.instruments, options)
    seconds = time.monotonic() - started
    valid, test = (accuracy(model, *stacked(MusicAINotes(split))) for split in ("valid", "test"))
    print(f"valid {valid:.1%}, test {test:.1%}, {seconds:.0f} s")
    card = CARD.format(
        count=len(notes.instruments), train=len(notes), seconds=seconds, valid=valid, test=test,
        parameters=sum(p.numel() for p in model.parameters()), octave=options.octave_result,
        **{name: getattr(options, name) for name in ("steps", "batch", "rate", "seed")},
    )  # fmt: skip
    model.save_pretrained(SHIPPED / "instrument-classifier", card=card)


if __name__ == "__main__":
    main()
