"""What to compare sounds by: features of a whole sound. Chapter 4."""

import torch
from torch import Tensor

from musicai.audio import melspectrogram, power_to_db
from musicai.metrics.inputs import as_sounds


def levelled_log_mel(
    audio: Tensor, sr: int = 16_000, n_mels: int = 64, hop_length: int = 256, floor: float = 60.0
) -> Tensor:
    """Log-mel spectrograms in dB below each sound's own loudest point: (batch, n_mels, frames), -floor to 0.

    How loud a sound was recorded makes no difference. A silent sound is -floor everywhere. Chapter 4.
    """
    x = as_sounds(audio)
    peak = x.abs().amax(-1, keepdim=True)
    x = x / torch.where(peak > 0, peak, 1)
    S = power_to_db(melspectrogram(x, sr, 1024, hop_length, n_mels), top_db=floor)
    S = S - S.amax((-2, -1), keepdim=True)
    return torch.where((peak > 0)[..., None], S, -floor)


def log_mel_statistics(audio: Tensor, sr: int = 16_000) -> Tensor:
    """The mean and the standard deviation over time of 16 log-mel bands, in units of 10 dB: (batch, 32).

    It needs no training and takes any sound: it hears tone colour, roughly the pitch, and how fast a sound decays, but
    no order in time. Level is left out. More bands would resolve single notes, and small sets look far apart then
    only because they have other notes. Chapter 4.
    """
    S = levelled_log_mel(audio, sr, n_mels=16) / 10
    return torch.cat([S.mean(-1), S.std(-1)], -1)
