"""Sound: files, samples, spectra, rhythm and the way back. Sound is float32 (..., time); files give (channels, time).

>>> from musicai.audio import load, log_mel
>>> audio, sr = load("song.flac", sr=16_000, mono=True)  # doctest: +SKIP
>>> features = log_mel(audio, sr)  # (1, 128, frames)  # doctest: +SKIP

The features agree with librosa 0.11 (the tests say how closely), work on batches and on any device, and are
differentiable. Chapters 1 and 2.
"""

import musicai

from .features import chroma, cqt, onset_strength, tempo
from .files import Audio, info, load, save
from .fourier import istft, stft
from .inversion import griffin_lim, mel_to_audio, mel_to_stft, mfcc_to_mel
from .mel import db_to_power, hz_to_mel, log_mel, mel_filterbank, mel_to_hz, melspectrogram, mfcc, power_to_db
from .signal import AudioError, frame, mu_law_decode, mu_law_edges, mu_law_encode, resample

__all__ = musicai.exports(globals())
