"""What sounds are compared by: features of a whole sound, and an instrument classifier. Chapter 4."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from musicai.audio import melspectrogram, power_to_db, resample
from musicai.pretrained import Pretrained

Classifier = Callable[[Tensor], Tensor]  # sounds (batch, time) to logits (batch, instruments)
Embedding = Callable[[Tensor, int], Tensor]  # sounds (batch, time) and their sample rate to (batch, dimensions)


def log_mel_statistics(audio: Tensor, sr: int = 16_000) -> Tensor:
    """The mean and standard deviation over time of 16 log-mel bands: an embedding that needs no training.

    >>> log_mel_statistics(torch.randn(3, 16_000)).shape
    torch.Size([3, 32])

    It works for any sound. It captures tone colour, the rough pitch, and how fast a sound decays, but neither level nor
    the order of events. With more bands it would resolve single notes, and small sets would look far apart merely
    because they contain different notes.

    Args:
        audio: (batch, time) or (batch, 1, time).
        sr: sample rate in Hz.

    Returns:
        (batch, 32), in units of 10 dB.

    Chapter 4.
    """
    S = levelled_log_mel(audio, sr, n_mels=16) / 10
    return torch.cat([S.mean(-1), S.std(-1)], -1)


def embed(audio: Tensor, sr: int = 16_000, embedding: Embedding = log_mel_statistics) -> Tensor:
    """Compute the features of many sounds, a few at a time.

    >>> embed(torch.randn(100, 16_000)).shape
    torch.Size([100, 32])

    Args:
        audio: (batch, time) or (batch, 1, time).
        sr: sample rate in Hz.
        embedding: from sounds (batch, time) and their sample rate to features.

    Returns:
        (batch, dimensions).

    Raises:
        ValueError: if the audio has another shape or dtype, or is not finite.

    Chapter 4.
    """
    return in_batches(lambda part: embedding(part, sr), as_sounds(audio))


def levelled_log_mel(audio: Tensor, sr: int, n_mels: int, hop_length: int = 256, floor: float = 60.0) -> Tensor:
    """Log-mel spectrograms in dB below each sound's own loudest point: (batch, n_mels, frames), from -floor to 0.

    The level of the recording makes no difference. Silence is -floor everywhere.
    """
    x = as_sounds(audio)
    peak = x.abs().amax(-1, keepdim=True)
    x = x / torch.where(peak > 0, peak, 1)
    S = power_to_db(melspectrogram(x, sr, 1024, hop_length, n_mels), top_db=floor)
    S = S - S.amax((-2, -1), keepdim=True)
    return torch.where((peak > 0)[..., None], S, -floor)


def as_sounds(audio: Tensor, name: str = "audio") -> Tensor:
    """(time,), (batch, time) or (batch, 1, time) as float32 (batch, time).

    Raises:
        ValueError: if the shape or dtype is wrong, there are no sounds or samples, or a sound is not finite.
    """
    x = torch.as_tensor(audio)
    x = x[None] if x.ndim == 1 else x
    x = x[:, 0] if x.ndim == 3 and x.shape[1] == 1 else x
    if x.ndim != 2 or not x.numel():
        raise ValueError(f"{name} must be (time,), (batch, time) or (batch, 1, time), not {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"{name} must be floating point in [-1, 1], not {x.dtype}; divide 16-bit samples by 32768")
    if not x.isfinite().all():
        raise ValueError(f"{name} is not finite: it contains NaN or infinity")
    return x.detach().float()


def feature_pair(x: Tensor, y: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Two matrices (samples, dimensions) in float64.

    Raises:
        ValueError: unless they are matrices of equal width with at least `least` samples each, all of them finite.
    """
    x, y = (torch.as_tensor(z).detach().double() for z in (x, y))
    finite = x.isfinite().all() and y.isfinite().all()
    if not finite or x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < least:
        wanted = f"two matrices (samples, dimensions) of equal width, with {least} or more finite samples"
        raise ValueError(f"expected {wanted}; got {tuple(x.shape)} and {tuple(y.shape)}")
    return x, y


def as_labels(labels: Tensor | float, count: int, name: str, high: int) -> Tensor:
    """One number per sound, (count,); a single number stands for all of them.

    Raises:
        RuntimeError: if the shape is wrong.
        ValueError: if a number is not from 0 to `high`.
    """
    x = torch.as_tensor(labels).expand(count)
    if (wrong := x[~((x >= 0) & (x <= high))]).numel():  # NaN is wrong too
        raise ValueError(f"{name} must be from 0 to {high}, not {wrong[0]:g}")
    return x


def in_batches(function: Callable[[Tensor], Tensor], x: Tensor, size: int = 64) -> Tensor:
    """Apply `function` to `size` sounds at a time, so that memory use does not grow with their number."""
    with torch.no_grad():
        return torch.cat([function(part) for part in x.split(size)])


# ---- the instrument


class InstrumentClassifier(Pretrained, nn.Module):
    """Names the instrument of a note with a convolutional network on its log-mel spectrogram, regardless of level.

    >>> import torch
    >>> classifier = InstrumentClassifier.from_pretrained("instrument-classifier")
    >>> classifier(torch.randn(2, 16_000)).shape  # a logit for each of classifier.names
    torch.Size([2, 17])

    The shipped one was trained on `MusicAINotes("train")`.

    Args:
        names: the instruments.
        channels: channels of the convolutions; the last is also the width of `embed`.
        n_mels: the number of mel bands.
        sr: the sample rate in Hz to which sounds are converted.

    Chapter 4.
    """

    def __init__(self, names: tuple[str, ...], channels: tuple[int, ...] = (16, 32, 64, 64), n_mels=64, sr=16_000):
        super().__init__()
        self.config = {"names": tuple(names), "channels": tuple(channels), "n_mels": n_mels, "sr": sr}
        self.names = tuple(names)
        self.convolutions = nn.Sequential(*(_block(a, b) for a, b in pairwise([1, *channels])))
        self.hidden = nn.Linear(n_mels // 2 ** len(channels) * channels[-1], channels[-1])
        self.output = nn.Linear(channels[-1], len(names))

    def embed(self, audio: Tensor, sr: int = 16_000) -> Tensor:
        """The activations of the last hidden layer for sounds (batch, time): (batch, channels[-1]).

        Raises:
            ValueError: if the audio has another shape or dtype, is too short, or is not finite.
        """
        x = resample(as_sounds(audio), sr, self.config["sr"])
        if x.shape[1] < 0.24 * self.config["sr"]:  # each of four blocks halves the number of frames
            found = f"{audio.shape[-1]} samples at {sr} Hz"
            raise ValueError(f"this classifier needs at least 0.24 s of sound, not {found}")
        x = levelled_log_mel(x, self.config["sr"], self.config["n_mels"]) / 30 + 1  # (B, mels, frames), from -1 to 1
        x = self.convolutions(x[:, None]).mean(-1)  # (B, C, bands): keeps the brightness, drops the timing
        return self.hidden(x.flatten(1)).relu()

    def forward(self, audio: Tensor, sr: int = 16_000) -> Tensor:
        """Logits (batch, instruments) for sounds (batch, time)."""
        return self.output(self.embed(audio, sr))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2))


@cache
def instrument_classifier() -> InstrumentClassifier:
    """The classifier that ships with musicai, loaded once.

    >>> instrument_classifier().names[7]
    'violin'

    Returns:
        An `InstrumentClassifier` for the 17 instruments of `MusicAINotes`, at 16 kHz.

    Chapter 4.
    """
    return InstrumentClassifier.from_pretrained("instrument-classifier")


def timbre(audio: Tensor, sr: int = 16_000) -> Tensor:
    """Embed sounds with the shipped classifier, for `frechet_audio_distance`.

    >>> import torch
    >>> timbre(torch.randn(2, 16_000)).shape
    torch.Size([2, 64])

    It knows the 17 instruments of `MusicAINotes` and little else; for other sounds, use `log_mel_statistics`. It was
    trained to ignore weak noise (20 dB or more below the note), so it only responds to stronger noise.

    Args:
        audio: (batch, time) or (batch, 1, time), about a second each.
        sr: sample rate in Hz.

    Returns:
        (batch, 64).

    Raises:
        ValueError: if the audio has another shape or dtype, is shorter than 0.24 s, or is not finite.

    Chapter 4.
    """
    return embed(audio, sr, instrument_classifier().embed)


def instrument_accuracy(
    audio: Tensor, instrument: Tensor | int, sr: int = 16_000, classifier: Classifier | None = None
) -> float:
    """The share of sounds in which the classifier hears the instrument that was asked for.

    >>> instrument_accuracy(generated, instrument=notes.instruments.index("violin"))  # doctest: +SKIP
    0.92

    The classifier isn't always right about real notes either, so compare the result with theirs (`judge` gives both).

    Args:
        audio: (batch, time) or (batch, 1, time).
        instrument: indices (batch,), or one for all; for the shipped classifier, those of `MusicAINotes.instruments`.
        sr: sample rate in Hz; a classifier of your own must expect it.
        classifier: from sounds (batch, time) to logits (batch, instruments); if None, the shipped one.

    Returns:
        A share from 0 to 1.

    Raises:
        ValueError: if the classifier does not have an instrument.

    Chapter 4.
    """
    x = as_sounds(audio)
    logits = in_batches(classifier or (lambda part: instrument_classifier()(part, sr)), x)
    wanted = as_labels(instrument, len(x), "instrument", logits.shape[1] - 1)
    return (logits.argmax(1) == wanted).float().mean().item()
