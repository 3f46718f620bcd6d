"""The notes that the instrument GAN learns from, as curves. Chapter 4."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from musicai.gan.instrument_curves import note_curves, transposed

SHIFTS = (-2, -1, -1, 0, 0, 0, 0, 1, 1, 2)  # semitones, one drawn for each item
SAME = 1e-3  # recordings whose curves differ by less are one


class CurveNotes(Dataset):
    """Real notes as curves, each time moved by a semitone or two and given a velocity near its own.

    >>> from musicai.data import MusicAINotes
    >>> notes = CurveNotes(MusicAINotes("train"))  # doctest: +SKIP
    >>> curves, pitch, instrument, velocity, recording = notes[0]  # doctest: +SKIP

    An item is (curves (256, 128), pitch, instrument, velocity, recording), the last four whole numbers as tensors. The
    curves are of the level of velocity 100. A recording is shifted as samplers do, by up to two semitones and within
    its instrument's range: so every pitch has several takes for z to choose from. A velocity is drawn among those to
    which its recording is the nearest. Notes of one pitch that are one recording at several levels share a number.

    Args:
        items: dicts with audio (16000,), pitch, velocity, instrument, as of `musicai.data.MusicAINotes`.
        progress: whether to show a bar.
    """

    def __init__(self, items: Iterable[Mapping], progress: bool = True):
        items = [items[i] for i in range(len(items))] if hasattr(items, "__getitem__") else list(items)
        self.pitch, self.instrument, self.velocity = (
            torch.tensor([item[name] for item in items]) for name in ("pitch", "instrument", "velocity")
        )
        curves, self.recording = _analysed(items, progress)
        self.curves = torch.stack(curves)
        count = int(self.instrument.max()) + 1
        ranges = [self.pitch[self.instrument == i] for i in range(count)]
        self.lowest = torch.tensor([int(p.min()) if len(p) else 0 for p in ranges])
        self.highest = torch.tensor([int(p.max()) if len(p) else 127 for p in ranges])
        self.nearest = _velocities(self.velocity)

    def __len__(self) -> int:
        return len(self.pitch)

    @property
    def recordings(self) -> int:
        """How many different recordings there are."""
        return len(self.curves)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        item = torch.tensor([index])
        return tuple(part[0] for part in self.batch(item))

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The items of index (B,) together, with draws of their own."""
        pitch, instrument, recording = self.pitch[index], self.instrument[index], self.recording[index]
        to = pitch + torch.tensor(SHIFTS)[torch.randint(len(SHIFTS), index.shape)]
        to = to.clamp(self.lowest[instrument], self.highest[instrument])
        low, high = self.nearest[index].unbind(1)
        velocity = low + (torch.rand(index.shape) * (high - low + 1)).long()
        return transposed(self.curves[recording], pitch, to), to, instrument, velocity, recording

    def exact(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Curves, pitch, instrument and velocity of index (B,) as they were recorded."""
        return self.curves[self.recording[index]], self.pitch[index], self.instrument[index], self.velocity[index]


def _analysed(items: list[Mapping], progress: bool) -> tuple[list[Tensor], Tensor]:
    """The curves of each different recording, and the number of its recording for each item."""
    kept: dict[tuple[int, int], list[tuple[Tensor, int]]] = {}
    curves, number = [], []
    for item in tqdm(items, desc="notes to curves", disable=not progress):
        same = kept.setdefault((int(item["instrument"]), int(item["pitch"])), [])
        audio = item["audio"] * (100 / item["velocity"]) ** 2
        found = [n for other, n in same if (audio - other).norm() < SAME * other.norm()]
        if not found:
            found = [len(curves)]
            same.append((audio, len(curves)))
            curves.append(note_curves(audio[None], torch.tensor([item["pitch"]]))[0])
        number.append(found[0])
    return curves, torch.tensor(number)


def _velocities(velocity: Tensor) -> Tensor:
    """The lowest and highest velocity to which each one's own is the nearest recorded: (N, 2)."""
    layers = velocity.unique()
    middle = (layers[1:] + layers[:-1]).div(2, rounding_mode="floor")
    low, high = torch.cat([torch.tensor([1]), middle + 1]), torch.cat([middle, torch.tensor([127])])
    place = torch.searchsorted(layers, velocity)
    return torch.stack([low[place], high[place]], 1)
