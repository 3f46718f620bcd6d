"""Composing with a RollWaveNet: continue an opening, harmonise a melody, stay in a key. Chapter 5."""

import sys
from collections.abc import Iterable
from numbers import Real

import torch
from torch import Tensor
from tqdm.auto import tqdm

from musicai.wavenet.heads import Points
from musicai.wavenet.lookup import KEYS, LOWEST, PAST, Memory, planes_of
from musicai.wavenet.rolls import RollWaveNet, evaluating

FORBIDDEN = -1e4  # log-odds of a key that may not sound


@torch.no_grad()
def compose(
    model: RollWaveNet,
    frames: int,
    *,
    opening: Tensor | None = None,
    fixed: Tensor | None = None,
    tonic: int = 0,
    pitch_classes: Iterable[int] | None = None,
    density: float = 0.0,
    temperature: float = 1.0,
    top_p: float | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Tensor:
    """Draw a piano roll from a model, frame by frame; every frame takes the same time, however long the piece.

    >>> roll = compose(model, 64, opening=JSBChorales("test")[0]["roll"][:, :8])  # doctest: +SKIP
    >>> Score.from_piano_roll(roll, step=1.0)  # doctest: +SKIP

    Args:
        model: such as `RollWaveNet.from_pretrained("wavenet-chorales")`.
        frames: how many frames in all, including the opening.
        opening: (88, n), how the piece begins.
        fixed: (88, frames): 1 for keys that sound, 0 for keys that do not, NaN for keys the model chooses. See
            `under_melody`. The opening takes precedence. What is fixed is kept exactly, whatever the tonic.
        tonic: the pitch class of the keynote, 0 for C to 11 for B. The shipped models only know music in C, so the
            opening and the fixed keys are transposed for the model, and the result is transposed back.
        pitch_classes: the only ones that may sound where the model chooses, as in (0, 2, 4, 5, 7, 9, 11).
        density: added to the log-odds of every key: above 0 for more notes, below 0 for fewer.
        temperature: below 1 for more likely music; 0 always takes the more likely choice.
        top_p: drop the less likely of a key's two choices unless the more likely one has less than this probability.
        seed: the same seed gives the same music.
        progress: whether to show a progress bar.

    Returns: bool (88, frames), row 0 = A0.

    Raises:
        ValueError: if an argument has the wrong shape or range; the message names it.

    Source: ancestral sampling, as in van den Oord et al. 2016 (arXiv:1609.03499), section 2. Chapter 5.
    """
    frames = _whole(frames, 1, 2**31, "frames must be a whole number of 1 or more")
    tonic = _whole(tonic, 0, 11, "tonic must be a pitch class, 0 (C) to 11 (B)")
    seed = _whole(seed, -(2**63), 2**63 - 1, "seed must be a whole number")
    density = _number(density, -1e4, 1e4, "density must be a number from -10000 to 10000")
    temperature = _number(temperature, 0, sys.float_info.max, "temperature must be 0 or more")
    top_p = None if top_p is None else _number(top_p, sys.float_info.min, 1, "top_p must lie in (0, 1]")
    clamp = _clamp(frames, opening, fixed)
    up = _transposition(tonic, clamp)
    device = model.base.device
    bias = _bias(pitch_classes, density, up).flip(0).to(device)
    kept = _transposed(clamp, -up).T.flip(-1).to(device)  # (frames, 88), the highest key first
    uniforms = torch.rand(frames, KEYS, generator=torch.Generator().manual_seed(seed)).to(device)
    memory, past, drawn = Memory(frames), kept.new_zeros(frames, PAST), torch.zeros(frames, KEYS)
    points = Points.all(torch.zeros(1, dtype=torch.int64, device=device), KEYS)
    with evaluating(model):
        for t in tqdm(range(frames), desc="compose", disable=not progress):
            past[t] = torch.from_numpy(memory.past())
            context = model.context(past[None, max(0, t + 1 - model.receptive_field) : t + 1])[0, -1:]  # (1, A)
            features, now = model.features(context, past[t, None], points)[None], slice(t, t + 1)
            drawn[now] = model.head.sample(
                features, planes_of(past[now])[:, 0], uniforms[now], kept[now], model.base + bias, temperature, top_p
            )
            memory.append(drawn[t].numpy())
    return torch.where(clamp.isnan(), _transposed(drawn.flip(-1).T, up), clamp) > 0


def under_melody(melody: Tensor) -> Tensor:
    """What `compose` should keep `fixed` to harmonise a melody.

    >>> fixed = under_melody(torch.eye(88)[:, 60:62])
    >>> fixed[59:63]
    tensor([[nan, nan],
            [1., nan],
            [0., 1.],
            [0., 0.]])

    The highest key of each frame sounds and none above it does; all keys below are free. Frames without a key are free.

    Args:
        melody: a roll (88, frames) of 0 and 1.

    Returns: (88, frames) of 0, 1 and NaN for free.

    Raises:
        ValueError: if the melody has another shape, or holds anything but 0 and 1.

    Chapter 5.
    """
    melody = _roll("melody", melody)
    if melody.isnan().any():
        raise ValueError("a melody may only hold 0 and 1; this one holds NaN")
    above = melody.flip(0).cumsum(0).flip(0) - melody  # how many keys sound above each
    fixed = torch.full_like(melody, torch.nan)
    fixed[(melody > 0) & (above == 0)] = 1.0
    fixed[(melody == 0) & (above == 0) & (melody.sum(0) > 0)] = 0.0
    return fixed


def _clamp(frames: int, opening: Tensor | None, fixed: Tensor | None) -> Tensor:
    """What is given of the piece: (88, frames) of 0, 1 and NaN for free."""
    clamp = torch.full((KEYS, frames), torch.nan) if fixed is None else _roll("fixed", fixed).clone()
    if clamp.shape[1] != frames:
        raise ValueError(f"fixed has {clamp.shape[1]} frames, but {frames} frames were asked for")
    if opening is not None:
        opening = _roll("opening", opening)
        if opening.shape[1] > frames or opening.isnan().any():
            raise ValueError(f"opening must hold 0 and 1, in at most {frames} frames; it has {opening.shape[1]}")
        clamp[:, : opening.shape[1]] = opening
    return clamp


def _roll(name: str, roll: Tensor) -> Tensor:
    roll = torch.as_tensor(roll).detach().cpu().float()
    if roll.dim() != 2 or roll.shape[0] != KEYS:
        raise ValueError(f"{name} must be a piano roll ({KEYS}, frames); got {tuple(roll.shape)}")
    if not ((roll == 0) | (roll == 1) | roll.isnan()).all():
        raise ValueError(f"{name} must hold 0, 1, and NaN for free; it holds other numbers")
    return roll


def _transposition(tonic: int, clamp: Tensor) -> int:
    """Semitones from the model's C to the tonic: up or down, whichever keeps more of what is given on the keyboard."""
    nearer_first = (tonic, tonic - 12) if tonic <= 6 else (tonic - 12, tonic)
    return max(nearer_first, key=lambda up: int((_transposed(clamp, -up) == 1).sum()))


def _transposed(roll: Tensor, up: int) -> Tensor:
    """A roll (88, frames) `up` semitones higher; keys that leave the keyboard are dropped, those that enter silent."""
    moved = torch.zeros_like(roll)
    low, high = max(up, 0), KEYS + min(up, 0)
    moved[low:high] = roll[low - up : high - up]
    return moved


def _bias(pitch_classes: Iterable[int] | None, density: float, up: int) -> Tensor:
    """Log-odds to add to each key, (88,), the lowest first, of a keyboard that was transposed down by `up`."""
    bias = torch.full((KEYS,), density)
    if pitch_classes is not None:
        allowed = {_whole(c, 0, 11, "pitch_classes must be some of 0 to 11") for c in pitch_classes}
        if not allowed:
            raise ValueError("pitch_classes must be some of 0 to 11; got none")
        bias[[(LOWEST + key + up) % 12 not in allowed for key in range(KEYS)]] = FORBIDDEN
    return bias


def _number(value: object, low: float, high: float, rule: str) -> float:
    """A number in [low, high], Python's or NumPy's; a ValueError for anything else, such as NaN, True or text."""
    if not isinstance(value, Real) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{rule}; got {value!r}")
    return float(value)


def _whole(value: object, low: int, high: int, rule: str) -> int:
    """The same for whole numbers, among them 2.0."""
    if _number(value, low, high, rule) % 1:
        raise ValueError(f"{rule}; got {value!r}")
    return int(value)
