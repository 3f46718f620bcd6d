"""Composing with a RollWaveNet: go on from an opening, harmonise a melody, thin out or thicken, stay in a key."""

from collections.abc import Iterable

import torch
from torch import Tensor
from tqdm.auto import tqdm

from musicai.wavenet.history import history
from musicai.wavenet.piano import Points
from musicai.wavenet.rolls import KEYS, LOWEST, RollWaveNet

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
    """Draw a piano roll: bool (88, frames).

    >>> roll = compose(model, 64, opening=JSBChorales("test")[0]["roll"][:, :8])  # doctest: +SKIP
    >>> Score.from_piano_roll(roll, step=1.0)                                     # doctest: +SKIP

    Args:
        model: such as `RollWaveNet.from_pretrained("wavenet-chorales")`.
        frames: how many frames in all, the opening among them.
        opening: (88, n), how it begins.
        fixed: (88, frames): 1 for keys that sound, 0 for keys that do not, NaN for keys that the model chooses. See
            `under_melody`. Where there is an opening, the opening holds.
        tonic: the pitch class of the keynote, 0 for C to 11 for B. The shipped models know music in C only: what is
            given is moved there, and the result moved back.
        pitch_classes: the only ones that may sound where the model chooses, as in (0, 2, 4, 5, 7, 9, 11).
        density: added to the log-odds of every key: above 0 for more notes, below for fewer.
        temperature: below 1 for likelier music, 0 for the likeliest key after key.
        top_p: of the two choices for a key, drop the less likely unless the likelier has less than this probability.
        seed: the same seed, the same music.
        progress: show a bar.

    Raises:
        ValueError: an argument has the wrong shape or cannot be meant; the message names it.

    Chapter 5.
    """
    up = _semitones(tonic)
    clamp = _clamped(frames, opening, fixed)
    clamp = _moved(clamp, -up).T.flip(-1).to(model.base.device)  # (frames, 88), the highest key first
    bias = _bias(pitch_classes, density, up).flip(0).to(model.base.device)
    uniforms = torch.rand(frames, KEYS, generator=torch.Generator().manual_seed(seed)).to(model.base.device)
    training = model.training
    model.eval()
    drawn = clamp.new_zeros(0, KEYS)
    for t in tqdm(range(frames), desc="compose", disable=not progress):
        frame = draw_next(model, drawn, uniforms[t], clamp[t], bias, temperature, top_p)
        drawn = torch.cat([drawn, frame[None]])
    model.train(training)
    return _moved(drawn.flip(-1).T, up).cpu() > 0


def draw_next(
    model: RollWaveNet,
    drawn: Tensor,
    u: Tensor,
    clamp: Tensor,
    bias: Tensor,
    temperature: float = 1.0,
    top_p: float | None = None,
) -> Tensor:
    """The frame (88,) after those `drawn` (t, 88), the highest key first; the rest as in PianoRollHead.sample."""
    past = history(drawn)[-model.receptive_field :].to(drawn.device)
    said = model.context(past.batched())[0, -1:]  # (1, A)
    now = past[-1:]
    points = Points.all(torch.zeros(1, dtype=torch.int64, device=drawn.device), KEYS)
    features = model.features(said, now, points)[None]  # (1, 88, H)
    bias = model.base + bias
    return model.head.sample(features, now.previous, u[None], clamp[None], bias, temperature, top_p)[0]


def under_melody(melody: Tensor) -> Tensor:
    """What `compose` should keep `fixed` to harmonise a melody, a roll (88, frames): (88, frames) of 0, 1 and NaN.

    The highest key of each frame sounds and none above it does; all below are free. Frames without a key are free.
    """
    melody = _as_clamp("melody", melody).clone()
    if melody.isnan().any():
        raise ValueError("a melody holds 0 and 1 only; this one holds NaN")
    above = melody.flip(0).cumsum(0).flip(0) - melody  # how many keys sound above each
    fixed = torch.full_like(melody, torch.nan)
    fixed[(melody > 0) & (above == 0)] = 1.0
    fixed[(melody == 0) & (above == 0) & (melody.sum(0) > 0)] = 0.0
    return fixed


def _semitones(tonic: int) -> int:
    if tonic not in range(12):
        raise ValueError(f"tonic must be a pitch class, 0 (C) to 11 (B); got {tonic}")
    return tonic if tonic <= 6 else tonic - 12


def _clamped(frames: int, opening: Tensor | None, fixed: Tensor | None) -> Tensor:
    """(88, frames) of 0, 1 and NaN for free."""
    if frames != int(frames) or frames < 1:
        raise ValueError(f"frames must be a whole number of 1 or more; got {frames}")
    clamp = torch.full((KEYS, frames), torch.nan) if fixed is None else _as_clamp("fixed", fixed).clone()
    if clamp.shape[1] != frames:
        raise ValueError(f"fixed has {clamp.shape[1]} frames; {frames} are asked for")
    if opening is not None:
        opening = _as_clamp("opening", opening)
        if opening.shape[1] > frames or opening.isnan().any():
            raise ValueError(f"opening must hold 0 and 1, of at most {frames} frames; it has {opening.shape[1]}")
        clamp[:, : opening.shape[1]] = opening
    return clamp


def _as_clamp(name: str, roll: Tensor) -> Tensor:
    roll = torch.as_tensor(roll).detach().cpu().float()
    if roll.dim() != 2 or roll.shape[0] != KEYS:
        raise ValueError(f"{name} must be a roll ({KEYS}, frames); got {tuple(roll.shape)}")
    if not ((roll == 0) | (roll == 1) | roll.isnan()).all():
        raise ValueError(f"{name} must hold 0, 1, and NaN for free; it holds other numbers")
    return roll


def _moved(roll: Tensor, up: int) -> Tensor:
    """A roll (88, frames) `up` semitones higher. What leaves the keyboard is lost; what comes in is silent."""
    moved = torch.zeros_like(roll)
    low, high = max(up, 0), KEYS + min(up, 0)
    moved[low:high] = roll[low - up : high - up]
    return moved


def _bias(pitch_classes: Iterable[int] | None, density: float, up: int) -> Tensor:
    """(88,), the lowest key first, of a keyboard that was moved down by `up`."""
    bias = torch.full((KEYS,), float(density))
    if pitch_classes is not None:
        allowed = {int(c) for c in pitch_classes}
        if not allowed or not allowed <= set(range(12)):
            raise ValueError(f"pitch_classes must be some of 0 to 11; got {sorted(allowed)}")
        bias[[(LOWEST + key + up) % 12 not in allowed for key in range(KEYS)]] = FORBIDDEN
    return bias
