"""Training the instrument GAN: real notes as curves, and the game with a z for each recording. Chapter 4."""

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from musicai.train import update

from .curves import ATTACK, LEVEL, NOISE, audible_harmonics, average, loudness, note_curves, transpose_curves
from .game import GAN, frozen
from .instrument import InstrumentGenerator

SHIFTS = (-2, -1, -1, 0, 0, 0, 0, 1, 1, 2)  # semitones, one drawn per item
NEARNESS = (4.0, 2.0, 1.0, 1e-6)  # how often shifts of 0, 1, 2 and more semitones are among them
SWINGS = (3, 9)  # frames: fluctuations faster than 24 ms and 72 ms


class CurveNotes:
    """Real notes as curves, each transposed by up to two semitones and given a velocity close to its own when drawn.

    >>> from musicai.data import MusicAINotes
    >>> notes = CurveNotes(MusicAINotes("train"))  # doctest: +SKIP
    >>> curves, other, pitch, instrument, velocity, recording = notes.batch(torch.arange(32))  # doctest: +SKIP

    The curves are at the level of velocity 100. A recording is transposed as a sampler would, within its instrument's
    range, so every pitch has several takes for z to choose from. The velocity is drawn from those for which this
    recording is the closest. If several notes of one pitch are the same recording at different levels, they share its
    number.

    Args:
        items: dicts with audio (16000,), pitch, velocity and instrument, such as `musicai.data.MusicAINotes`.
        progress: whether to show a progress bar.

    Chapter 4.
    """

    def __init__(self, items: Iterable[Mapping], progress: bool = True):
        items = list(items)
        names = ("pitch", "instrument", "velocity")
        self.pitch, self.instrument, self.velocity = (torch.tensor([item[name] for item in items]) for name in names)
        self.curves, self.recording = _recordings(items, progress)
        self.recordings = len(self.curves)  # how many different recordings
        count = int(self.instrument.max()) + 1
        self.lowest = torch.full((count,), 127).scatter_reduce(0, self.instrument, self.pitch, "amin")
        self.highest = torch.zeros(count).long().scatter_reduce(0, self.instrument, self.pitch, "amax")
        layers = self.velocity.unique()
        self.layer = torch.searchsorted(layers, self.velocity)
        self.edges = torch.cat([torch.tensor([0]), (layers[1:] + layers[:-1]) // 2, torch.tensor([127])])

    def __len__(self) -> int:
        return len(self.pitch)

    def batch(self, index: Tensor) -> tuple[Tensor, ...]:
        """Draw notes for the items `index` (B,), and another take of each.

        Args:
            index: (B,) numbers of items.

        Returns:
            The curves of the takes and of others, drawn from the recordings that can stand in for the same note, both
            (B, 256, 128); then pitch, instrument, velocity and recording, each (B,).
        """
        pitch, instrument = self.pitch[index], self.instrument[index]
        to = pitch + torch.tensor(SHIFTS)[torch.randint(len(SHIFTS), index.shape)]
        to = to.clamp(self.lowest[instrument], self.highest[instrument])
        below, high = self.edges[self.layer[index]], self.edges[self.layer[index] + 1]
        velocity = below + 1 + (torch.rand(index.shape) * (high - below)).long()
        other = self.neighbour(to, instrument, self.layer[index])
        takes = (transpose_curves(self.curves[self.recording[i]], self.pitch[i], to) for i in (index, other))
        return *takes, to, instrument, velocity, self.recording[index]

    def neighbour(self, pitch: Tensor, instrument: Tensor, layer: Tensor) -> Tensor:
        """Draw an item (B,) that can stand in for each note, given by pitch, instrument and layer of velocity (B,)."""
        near = torch.tensor(NEARNESS)[(self.pitch - pitch[:, None]).abs().clamp(max=3)]  # (B, items)
        near = near * (self.instrument == instrument[:, None]) * (self.layer == layer[:, None])
        return torch.multinomial(near, 1)[:, 0]


def _recordings(items: list[Mapping], progress: bool) -> tuple[Tensor, Tensor]:
    """The curves of each different recording (R, 256, 128), and the number of each item's recording (N,)."""
    known, curves, numbers = [], [], []
    for item in tqdm(items, desc="notes to curves", disable=not progress):
        note, audio = (item["instrument"], item["pitch"]), item["audio"] * (100 / item["velocity"]) ** 2
        same = (other == note and (audio - x).norm() < 1e-3 * x.norm() for other, x in known)
        number = next((n for n, found in enumerate(same) if found), len(known))
        if number == len(known):
            known.append((note, audio))
            curves.append(note_curves(audio[None], torch.tensor([item["pitch"]]))[0])
        numbers.append(number)
    return torch.stack(curves), torch.tensor(numbers)


@dataclass(eq=False)
class InstrumentGAN(GAN):
    """The game on curves, with a warm start. `musicai.train.fit` trains its `step`.

    >>> players = instrument.curves, InstrumentDiscriminator()  # doctest: +SKIP
    >>> gan = InstrumentGAN(*players, g_optimizer, d_optimizer, instrument=instrument, codes=codes,
    ...                     loss=relativistic, penalty=r1_r2, weight=0.3, every=8)  # doctest: +SKIP
    >>> fit(gan.step, lambda n: notes.batch(torch.randint(len(notes), (32,))),
    ...     steps=8_000, state=gan.state)  # doctest: +SKIP

    For the first `warm` steps there is no discriminator. Each recording has a z of its own, learned with the generator
    so that G(z of the recording, note) is the recording: generative latent optimisation (Bojanowski et al. 2018). Since
    a recording also stands in for its neighbours' pitches, one pitch has several z and several takes. Then the game
    begins, with fresh draws of z; the recordings' own z remain as an anchor, weighted by `anchor`. The game makes every
    z sound like a real note instead of an average of several.

    Args:
        generator: the `curves` network of the instrument.
        discriminator: a discriminator of curves.
        g_optimizer: the optimizer of the generator and the codes.
        d_optimizer: the optimizer of the discriminator.
        loss, penalty, weight, every, n_critic: as for `GAN`.
        instrument: the whole instrument, for checkpoints and moving averages.
        codes: the z of the recordings, `nn.Embedding(recordings, z_size)`.
        warm: steps before the game begins.
        anchor: weight of the distance to the recordings.
        swing: weight of fast fluctuations in that distance.
        variety: weight of the difference between takes: two z should differ as two recordings do.

    Chapter 4.
    """

    _: KW_ONLY
    instrument: InstrumentGenerator
    codes: nn.Embedding
    warm: int = 2000
    anchor: float = 10.0
    swing: float = 0.2
    variety: float = 1.0

    def step(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Take one step on a batch from `CurveNotes.batch`."""
        real, other, *condition, recording = (part.to(self.codes.weight.device) for part in batch)
        adversarial = self.steps >= self.warm
        losses = self._discriminator_step(real, condition, self.steps - self.warm) if adversarial else {}
        self.steps += 1
        with frozen(self.discriminator):
            few = slice(len(real) // 2 if adversarial else None)
            less = [part[few] for part in condition]
            if adversarial:
                made = self.generator(self.generator.latent(len(real)), *condition)
                loss = self.loss.generator(self.discriminator(real, *condition), self.discriminator(made, *condition))
                again = self.generator(self.generator.latent(len(real[few])), *less)
                spread = between(made[few], again, less[0]) - between(real[few], other[few], less[0])
                losses |= {"generator": loss, "spread": (20 * spread).square().mean()}
            losses["distance"] = self.distance(real[few], recording[few], *less)
            rest = losses.get("generator", 0.0) + self.variety * losses.get("spread", 0.0)
            update(rest + self.anchor * losses["distance"], self.g_optimizer)
        return {name: value.detach() for name, value in losses.items()}

    def distance(self, real: Tensor, recording: Tensor, *condition: Tensor) -> Tensor:
        """How far G(z of the recordings) is from the recordings: in curves, in loudness, and in how far both swing.

        During the game, only 72 ms averages of the curves count, except in the attack, which always counts more.
        """
        z = F.normalize(self.codes(recording), dim=1) * self.codes.embedding_dim**0.5
        made = self.generator(z + 0.3 * torch.randn_like(z), *condition)
        louder = loudness(real) - loudness(made)  # one row that counts as much as a third of all others
        difference = torch.cat([real - made, 80 * louder], 1)  # (B, 257, 128)
        attack = difference[..., :ATTACK].abs().mean()
        difference = average(difference) if self.steps > self.warm else difference
        heard = audibility(real, condition[0])
        swings = ((log_swing(real) - log_swing(made)).abs().mean(2, keepdim=True) * heard).sum() / heard.sum()
        return difference.abs().mean() + 0.5 * attack + self.swing * swings

    @property
    def state(self) -> dict[str, object]:
        """Everything that a step changes, by name; pass it to `fit` as `state=`."""
        return super().state | {"generator": self.instrument, "codes": self.codes}


def audibility(curves: Tensor, pitch: Tensor) -> Tensor:
    """How much each row of curves (B, 256, 128) can be heard: (B, 256, 1), from 0 to about 1."""
    heard = ((curves.mean(2, keepdim=True) + 1) / 1.5).square()
    level = heard[:, LEVEL] * audible_harmonics(pitch)
    return torch.cat([level, level, heard[:, NOISE]], 1)


def log_swing(curves: Tensor) -> Tensor:
    """The logarithm of how far curves (B, 256, 128) deviate from averages over 24 and 72 ms: (B, 256, 64).

    Fast fluctuations of the harmonics are heard as noise between them, and real ones differ by 40 dB: a horn's are a
    hundredth of a violin's. A plain difference would only see the violin's.
    """
    power = torch.cat([(curves - average(curves, n)).square() for n in SWINGS], 2)  # (B, 256, 2 * 128)
    return (F.avg_pool1d(power, 12, 4, 4) + 1e-7).log() / 2


def between(one: Tensor, other: Tensor, pitch: Tensor) -> Tensor:
    """How far two takes differ in what is slow, weighted by what can be heard: (B,)."""
    heard = (audibility(one, pitch) + audibility(other, pitch)).detach()
    return (average(one - other).abs().mean(2, keepdim=True) * heard).sum((1, 2)) / heard.sum((1, 2))
