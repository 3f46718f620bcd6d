"""Composing with a RollWaveNet: continue an opening, harmonise a melody, stay in a key. Chapter 5."""

from collections.abc import Iterable
from copy import deepcopy
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from musicai.train.loop import modes_kept
from musicai.wavenet.lookup import KEYS, LOWEST, PAST, RollMemory, planes_of
from musicai.wavenet.model import number
from musicai.wavenet.rolls import RollWaveNet, as_roll, transposed

LONGEST = 8  # frames for which a voice may hold a key that the model chose, and for which a pattern may go on
PERIOD = 32  # frames of the longest pattern that may be heard twice in a row, but not a third time
HEARD = 2 * PERIOD + 3  # frames that `faults` looks at
FAULT = 4.0  # nats that a fault costs


@torch.no_grad()
def compose(
    model: RollWaveNet, frames: int, *, opening: Tensor | None = None, fixed: Tensor | None = None,
    tonic: int = 0, mode: str | None = None, pitch_classes: Iterable[int] = range(12), density: float = 0.0,
    temperature: float = 1.0, top_p: float = 1.0, particles: int = 16, seed: int = 0, progress: bool = True,
) -> Tensor:  # fmt: skip
    """Draw a piano roll from a model, frame by frame; every frame takes the same time, however long the piece.

    If the model writes for a number of voices, no key stays down for more than 8 frames unless it is given so.

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
        mode: "major", "minor", or None to leave it to the model. It's the mode of the music in C that the model hears.
        pitch_classes: the only ones that the model may choose, as in (0, 2, 4, 5, 7, 9, 11).
        density: added to the log-odds of every key the model chooses: above 0 for more notes, below 0 for fewer.
        temperature: below 1 for more likely music; 0 always takes the likeliest choice.
        top_p: if below 1, each choice is among the fewest keys that together are this probable.
        particles: how many versions are written side by side. Those that make what is fixed likely, and have few
            `faults`, are continued more often, and one of the last is returned; 1 for a single draw, never judged.
        seed: the same seed gives the same music.
        progress: whether to show a progress bar.

    Returns: bool (88, frames), row 0 = A0.

    Raises:
        ValueError: if an argument has the wrong shape or is out of range; the message names it.

    Sources: ancestral sampling, as in van den Oord et al. 2016 (arXiv:1609.03499), section 2; particles, Gordon,
    Salmond and Smith 1993, "Novel approach to nonlinear/non-Gaussian Bayesian state estimation". Chapter 5.
    """
    frames, tonic = number("frames", frames, 1, 10**9, whole=True), number("tonic", tonic, 0, 11, whole=True)
    seed, density = number("seed", seed, 0, 2**63 - 1, whole=True), number("density", density, -1000, 1000)
    temperature, top_p = number("temperature", temperature, 0, 1000), number("top_p", top_p, 0, 1)
    n, device, modes = number("particles", particles, 1, 10**4, whole=True), model.base.device, model.told([mode])
    given = _given(frames, opening, fixed).T.flip(-1)  # (frames, 88), the highest key first, as in all that follows
    nearer_first = (tonic, tonic - 12) if tonic <= 6 else (tonic - 12, tonic)
    up = max(nearer_first, key=lambda up: (transposed(given, -up) == 1).sum())  # keep what is given on the keyboard
    kept = transposed(given, -up)
    kept = torch.where(kept.isnan() & ~_allowed(pitch_classes, up), 0.0, kept).to(device)
    dice, every_key = torch.Generator().manual_seed(seed), torch.ones(n, KEYS, device=device).nonzero(as_tuple=True)
    memories, past = [RollMemory(frames) for _ in range(n)], kept.new_zeros(n, 0, PAST)
    drawn, log_weights = kept.new_zeros(n, frames, KEYS), kept.new_zeros(n)
    with modes_kept(model):
        model.eval()
        for t in tqdm(range(frames), desc="compose", disable=not progress):
            if n * log_weights.softmax(0).square().sum() > 2:  # fewer than half of the particles count
                chosen = resampled(log_weights, float(torch.rand((), generator=dice)))
                memories, past, drawn = [deepcopy(memories[i]) for i in chosen], past[chosen], drawn[chosen]
                log_weights = torch.zeros_like(log_weights)
            known = torch.from_numpy(np.stack([memory.past() for memory in memories])).to(kept)
            past = torch.cat([past, known[:, None]], 1)[:, -model.receptive_field :]
            features = model.features(model.context(past, modes.expand(n, -1))[:, -1], known, every_key)
            features, u = features.unflatten(0, (n, KEYS)), torch.rand(n, KEYS, generator=dice).to(device)
            held = drawn[:, max(0, t - LONGEST) : t].flip(1).cumprod(1).sum(1)  # (n, 88): so long until now,
            held = held + (kept[t + 1 :][:LONGEST] == 1).long().cumprod(0).sum(0)  # and so long from now on
            tired = kept[t].isnan() & (held >= LONGEST) & (model.config.voices > 0)
            how = model.base + density, torch.where(tired, 0.0, kept[t]), temperature, top_p
            frame, log_mass = model.head.sample(features, planes_of(known)[:, 0], u, *how)
            drawn[:, t] = frame
            recent = drawn[:, max(0, t + 1 - HEARD) : t + 1]
            log_weights = log_weights + log_mass - FAULT * faults(recent, model.config.voices, mode)
            for memory, one in zip(memories, frame.cpu().numpy(), strict=True):
                memory.append(one)
    one = drawn[torch.multinomial(log_weights.softmax(0).cpu(), 1, generator=dice)[0]].cpu()
    return torch.where(given.isnan(), transposed(one, up), given).flip(-1).T > 0


def resampled(log_weights: Tensor, u: float) -> Tensor:
    """Which particles (N,) survive, in proportion to their weights: systematic resampling with one uniform number."""
    comb = (torch.arange(len(log_weights), device=log_weights.device) + u) / len(log_weights)
    return torch.searchsorted(log_weights.softmax(0).cumsum(0), comb).clamp(max=len(log_weights) - 1)


def faults(recent: Tensor, voices: int, mode: str | None = None) -> Tensor:
    """How many faults the last frame of each roll (N, T, 88), the highest key first, adds: (N,).

    In any music: what was heard twice in a row, such as a bar or a line, begins a third time (short patterns may go on
    for 12 frames); the chord below the highest key stays for more than 32; and, as half a fault, the third of the mode
    that wasn't asked for. In music for so many voices (0: in any texture), also: each two of them that move in parallel
    fifths or octaves, and each pattern that goes on for more than 8 frames; a voice that is missing is a quarter fault.
    """
    frames, limit = recent.shape[1], LONGEST if voices else LONGEST * 3 // 2
    count = recent.new_zeros(len(recent))
    chords = recent.flatten(0, 1).unique(dim=0, return_inverse=True)[1].view(len(recent), frames)
    for period in range(1, PERIOD + 1):
        run = max(period + 2, limit - 1)  # as many frames as may equal those a period before: by chance, two more
        if frames > run + period:
            count += (chords[:, -run - 1 :] == chords[:, -run - 1 - period : -period]).all(1)
    if mode:
        count += recent[:, -1, (9 if mode == "major" else 8) :: 12].any(1) / 2  # an E flat, or an E natural
    below = recent * (recent.cumsum(2) > 1)
    if frames > PERIOD:
        count += (below[:, -PERIOD - 1 :] == below[:, -1:]).all(2).all(1) & below[:, -1].any(1)
    if not voices or frames < 2:
        return count
    sizes = recent[:, -2:].sum(2)
    before, now = (recent[:, -2:] * torch.arange(KEYS, 0, -1, device=recent.device)).topk(voices).values.unbind(1)
    for a, b in combinations(range(voices), 2):
        interval, new = (before[:, a] - before[:, b]) % 12, (now[:, a] - now[:, b]) % 12
        alike = (now[:, a] - before[:, a]) * (now[:, b] - before[:, b]) > 0  # both move, and in the same direction
        count += alike & (interval == new) & ((new == 0) | (new == 7)) & (sizes == voices).all(1)
    return count + (voices - sizes[:, 1]).clamp(min=0) / 4


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


def struck(roll: Tensor, beats: Tensor | None = None) -> Tensor:
    """Where the notes of a roll begin: in homophony, all voices strike together.

    >>> roll = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])  # the upper row moves once, and the lower one never does
    >>> struck(roll, beats=torch.tensor([1, 1, 0, 0])).int()
    tensor([[1, 1, 0, 0],
            [1, 1, 0, 0]], dtype=torch.int32)

    A roll doesn't say whether a key is held or struck again. In 45 of music21's chorales, a lower voice that keeps its
    pitch is struck again in 88 % of the beats where the soprano is, and in 4 % of the others; a soprano that keeps its
    pitch is struck again in 67 % of the beats where another voice moves, and in 20 % of the others.

    Args:
        roll: (keys, frames), which keys sound.
        beats: (frames,), where the melody has a new note; None for wherever anything moves.

    Returns: bool, in the shape of the roll: what `Score.from_piano_roll` takes as `onsets`.

    Chapter 5.
    """
    on = torch.as_tensor(roll) > 0
    if beats is None:
        beats = (on != torch.nn.functional.pad(on, (1, 0))[:, :-1]).any(0)
    return on & (torch.as_tensor(beats) > 0)


def _given(frames: int, opening: Tensor | None, fixed: Tensor | None) -> Tensor:
    """The keys of the piece that are given, (88, frames): 0, 1, or NaN for a free key."""
    given = as_roll("fixed", torch.full((KEYS, frames), torch.nan) if fixed is None else fixed, free=True).cpu().clone()
    start = as_roll("opening", given[:, :0] if opening is None else opening)
    if given.shape[1] != frames or start.shape[1] > frames:
        found = f"fixed has {given.shape[1]} and opening has {start.shape[1]}"
        raise ValueError(f"fixed must have {frames} frames, and opening at most as many; {found}")
    given[:, : start.shape[1]] = start
    return given


def _allowed(pitch_classes: Iterable[int], up: int) -> Tensor:
    """Which keys (88,), the highest first, the model may choose for a piece `up` semitones above C."""
    allowed = {number("a pitch class", chosen, 0, 11, whole=True) for chosen in pitch_classes}
    return torch.tensor([(key + up) % 12 in allowed for key in range(LOWEST + KEYS - 1, LOWEST - 1, -1)])
