"""Sound: files, samples, spectra, rhythm and back. Float32 tensors (..., time); files give (channels, time).

>>> from musicai.audio import load, log_mel
>>> audio, sr = load("song.flac", sr=16_000, mono=True)  # doctest: +SKIP
>>> features = log_mel(audio, sr)  # (1, 128, frames)  # doctest: +SKIP

The features agree with librosa 0.11 (tests state how closely), work on batches and on any device, and can be
differentiated. Chapters 1 and 2.
"""

from .clip import Audio
from .features import chroma, cqt, onset_strength, tempo
from .files import info, load, save
from .fourier import griffin_lim, istft, stft
from .mel import db_to_power, hz_to_mel, log_mel, mel_filterbank, mel_to_audio, mel_to_hz, mel_to_stft

# isort: split
from .mel import melspectrogram, mfcc, mfcc_to_mel, power_to_db
from .signal import AudioError, AudioNotFoundError, frame, mu_law_decode, mu_law_edges, mu_law_encode, resample

__all__ = ["Audio", "AudioError", "AudioNotFoundError", "info", "load", "save"]
__all__ += ["frame", "mu_law_decode", "mu_law_edges", "mu_law_encode", "resample"]
__all__ += ["griffin_lim", "istft", "stft"]
__all__ += ["db_to_power", "hz_to_mel", "log_mel", "mel_filterbank", "mel_to_audio", "mel_to_hz", "mel_to_stft"]
__all__ += ["melspectrogram", "mfcc", "mfcc_to_mel", "power_to_db"]
__all__ += ["chroma", "cqt", "onset_strength", "tempo"]
