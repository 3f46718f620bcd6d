"""Composing with a RollWaveNet: continue an opening, harmonise a melody, stay in a key. Chapter 5."""

from collections.abc import Iterable

import torch
from torch import Tensor
from tqdm.auto import tqdm

from musicai.train.loop import modes_kept
from musicai.wavenet.lookup import KEYS, LOWEST, PAST, RollMemory, planes_of
from musicai.wavenet.model import number
from musicai.wavenet.rolls import RollWaveNet, as_roll, transposed


@torch.no_grad()
def compose(
    model: RollWaveNet, frames: int, *, opening: Tensor | None = None, fixed: Tensor | None = None,
    tonic: int = 0, pitch_classes: Iterable[int] = range(12), density: float = 0.0,
    temperature: float = 1.0, top_p: float = 1.0, seed: int = 0, progress: bool = True,
) -> Tensor:  # fmt: skip
    """Draw a piano roll from a model, frame by frame; every frame takes the same time, however long the piece.

    >>> roll = compose(model, 64, opening=JSBChorales("test")[0]["roll"][:, :8])  # doctest: +SKIP
    >>> Score.from_piano_roll(roll, step=1.0)  # doctest: +SKIP

    Args:
        model: such as `RollWaveNet.from_pretrained("wavenet-chorales")`.
        frames: the total number of frames, including the opening.
        opening: (88, n), how the piece begins.
        fixed: (88, frames): 1 for keys that sound, 0 for keys that do not, NaN for keys the model chooses. See
            `under_melody`. The opening takes precedence. Fixed keys are kept exactly, whatever the tonic.
        tonic: the pitch class of the keynote, 0 for C to 11 for B. The shipped models only know music in C, so the
            opening and the fixed keys are transposed for the model, and the result is transposed back.
        pitch_classes: the only ones that the model may choose, as in (0, 2, 4, 5, 7, 9, 11).
        density: added to the log-odds of every key the model chooses: above 0 for more notes, below 0 for fewer.
        temperature: below 1 for more likely music; 0 always takes the more likely choice.
        top_p: if below 1, any choice at least this probable is always made.
        seed: the same seed gives the same music.
        progress: whether to show a progress bar.

    Returns: bool (88, frames), row 0 = A0.

    Raises:
        ValueError: if an argument has the wrong shape or is out of range; the message names it.

    Source: ancestral sampling, as in van den Oord et al. 2016 (arXiv:1609.03499), section 2. Chapter 5.
    """
    frames, tonic = number("frames", frames, 1, 10**9, whole=True), number("tonic", tonic, 0, 11, whole=True)
    seed, density = number("seed", seed, 0, 2**63 - 1, whole=True), number("density", density, -1000, 1000)
    temperature, top_p = number("temperature", temperature, 0, 1000), number("top_p", top_p, 0, 1)
    given = _given(frames, opening, fixed).T.flip(-1)  # (frames, 88), the highest key first, as in all that follows
    nearer_first = (tonic, tonic - 12) if tonic <= 6 else (tonic - 12, tonic)
    up = max(nearer_first, key=lambda up: (transposed(given, -up) == 1).sum())  # keep what is given on the keyboard
    device = model.base.device
    kept, free = transposed(given, -up).to(device), model.base + _bias(pitch_classes, density, up).to(device)
    bias = torch.where(kept.isnan(), free, torch.where(kept > 0, torch.inf, -torch.inf))  # (frames, 88)
    uniforms = torch.rand(frames, KEYS, generator=torch.Generator().manual_seed(seed)).to(device)
    memory, past, drawn = RollMemory(frames), kept.new_zeros(frames, PAST), torch.zeros(frames, KEYS)
    every_key = kept.new_ones(1, KEYS).nonzero(as_tuple=True)
    with modes_kept(model):
        model.eval()
        for t in tqdm(range(frames), desc="compose", disable=not progress):
            past[t] = torch.from_numpy(memory.past())
            context = model.context(past[None, max(0, t + 1 - model.receptive_field) : t + 1])[0, -1:]  # (1, A)
            features, now = model.features(context, past[t, None], every_key)[None], slice(t, t + 1)
            previous = planes_of(past[now])[:, 0]
            drawn[now] = model.head.sample(features, previous, uniforms[now], bias[now], temperature, top_p)
            memory.append(drawn[t].numpy())
    return torch.where(given.isnan(), transposed(drawn, up), given).flip(-1).T > 0


def under_melody(melody: Tensor) -> Tensor:
    """Make the `fixed` argument of `compose` that harmonises a melody.

    >>> fixed = under_melody(torch.eye(88)[:, 60:62])
    >>> fixed[59:63]
    tensor([[nan, nan],
            [1., nan],
            [0., 1.],
            [0., 0.]])

    The highest key of each frame sounds, and none above it does; all keys below it are free. Frames without any keys
    are free.

    Args:
        melody: a roll (88, frames) of zeros and ones.

    Returns: (88, frames): 0, 1, or NaN for a free key.

    Raises:
        ValueError: if the melody has another shape, or holds anything but 0 and 1.

    Chapter 5.
    """
    melody = as_roll("melody", melody)
    above = melody.flip(0).cumsum(0).flip(0) - melody  # how many keys sound above each
    return torch.where((above == 0) & (melody.sum(0) > 0), melody, torch.nan)


def _given(frames: int, opening: Tensor | None, fixed: Tensor | None) -> Tensor:
    """The keys of the piece that are given, (88, frames): 0, 1, or NaN for a free key."""
    given = as_roll("fixed", torch.full((KEYS, frames), torch.nan) if fixed is None else fixed, free=True).cpu().clone()
    start = as_roll("opening", given[:, :0] if opening is None else opening)
    if given.shape[1] != frames or start.shape[1] > frames:
        found = f"fixed has {given.shape[1]} and opening has {start.shape[1]}"
        raise ValueError(f"fixed must have {frames} frames, and opening at most as many; {found}")
    given[:, : start.shape[1]] = start
    return given


def _bias(pitch_classes: Iterable[int], density: float, up: int) -> Tensor:
    """What to add to the logits of each key (88,), the highest first, for a piece `up` semitones above C."""
    allowed = {number("a pitch class", chosen, 0, 11, whole=True) for chosen in pitch_classes}
    keys = range(LOWEST + KEYS - 1, LOWEST - 1, -1)
    return torch.tensor([density if (key + up) % 12 in allowed else -torch.inf for key in keys])
