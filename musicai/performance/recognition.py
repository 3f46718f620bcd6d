"""Which instrument is it? One Gaussian mixture for each, over the frames of its recorded notes. Chapters 3 and 8."""

from functools import cache
from os import PathLike

import torch
from torch import Tensor

from musicai.audio import Audio, load, mfcc, resample
from musicai.audio.signal import as_audio
from musicai.data import MusicAINotes
from musicai.gmm import GaussianMixture
from musicai.notes.note import require
from musicai.performance.sampled import INSTRUMENTS, SR

Clip = str | PathLike | Audio | tuple[Tensor, int]
# Chosen on the validation notes. More coefficients tell single notes apart rather than instruments.
COEFFICIENTS, COMPONENTS, FLOOR = 13, 4, 10.0  # of the MFCCs, of a mixture, and what is added to its variances
QUIET = 20.0  # dB below the loudest frame: what is quieter says more about the room
SHIFTS = (-1.5, 0.0, 1.5)  # semitones: the notes are also heard between their pitches


def recognise_instrument(clip: Clip) -> str:
    """Find the instrument whose mixture explains a clip best.

    >>> recognise_instrument((MusicAINotes("test", instruments="flute")[0]["audio"], SR))
    'flute'
    >>> recognise_instrument("flute")
    'flute'

    Args:
        clip: a file, an Audio, or a pair of samples and sample rate; one instrument, alone. The name of an instrument
            stands for itself.

    Returns: one of `INSTRUMENTS`.

    Raises:
        ValueError: if the clip is silent.

    Source: Brown, "Computer identification of musical instruments using pattern recognition with cepstral coefficients
    as features" (1999). Chapters 3 and 8.
    """
    if isinstance(clip, str) and clip in INSTRUMENTS:
        return clip
    if isinstance(clip, str | PathLike):
        clip = load(clip)
    audio, sr = (clip.samples, clip.sr) if isinstance(clip, Audio) else clip
    sound = resample(torch.atleast_2d(as_audio(audio)).mean(0), sr, SR)
    require(bool(sound.any()), "like= needs the sound of an instrument; this clip is silent")
    rows = frames(sound)
    scores = [mixture.score(rows) for mixture in mixtures()]
    return INSTRUMENTS[scores.index(max(scores))]


def frames(sounds: Tensor) -> Tensor:
    """The timbre of each loud frame of sounds (..., time), as MFCCs 1 to 12, whatever the level: (frames, 12)."""
    sounds = sounds / sounds.abs().amax(-1, keepdim=True).clamp_min(1e-9)
    c = mfcc(sounds, SR, n_mfcc=COEFFICIENTS, n_fft=1024).mT  # (..., frames, 13)
    level = c[..., 0] / 128**0.5  # dB: the mean of the 128 bands
    return c[level > level.amax(-1, keepdim=True) - QUIET][:, 1:].double()


@cache
def mixtures() -> list[GaussianMixture]:
    """One mixture for each of `INSTRUMENTS`, fitted to the recorded notes of the training split in a few seconds."""
    return [_fitted(MusicAINotes("train", instruments=name)) for name in INSTRUMENTS]


def _fitted(notes: MusicAINotes) -> GaussianMixture:
    sounds = torch.stack([entry.audio() for entry in notes.manifest])
    rows = torch.cat([frames(resample(sounds, round(SR * 2 ** (k / 12)), SR)) for k in SHIFTS])
    return GaussianMixture(COMPONENTS, reg_covar=FLOOR, tol=1e-2, random_state=0).fit(rows)
