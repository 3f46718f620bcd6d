"""Does it sound like the instrument that was asked for? A small network trained on real notes. Chapter 4."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

from torch import Tensor, nn

from musicai.pretrained import Pretrained

from .features import as_labels, as_sounds, embed, in_batches, levelled_log_mel


class InstrumentClassifier(Pretrained, nn.Module):
    """Names the instrument of a note: a convolutional network on its log-mel spectrogram, insensitive to level.

    >>> import torch
    >>> classifier = InstrumentClassifier.from_pretrained("instrument-classifier")
    >>> classifier(torch.randn(2, 16_000)).shape  # a logit for each of classifier.names
    torch.Size([2, 17])

    The shipped one was trained on `MusicAINotes("train")`.

    Args:
        names: the instruments.
        channels: of the convolutions; the last is also the width of `embed`.
        n_mels: mel bands.
        sr: sample rate in Hz that it expects.

    Chapter 4.
    """

    def __init__(
        self, names: tuple[str, ...], channels: tuple[int, ...] = (16, 32, 64, 64), n_mels: int = 64, sr: int = 16_000
    ):
        super().__init__()
        self.config = {"names": tuple(names), "channels": tuple(channels), "n_mels": n_mels, "sr": sr}
        self.names, self.sr, self.n_mels = tuple(names), sr, n_mels
        self.convolutions = nn.Sequential(*(_block(a, b) for a, b in pairwise([1, *channels])))
        self.shortest = 256 * (2 ** len(channels) - 1)  # samples: each block halves the number of frames
        self.hidden = nn.Linear(n_mels // 2 ** len(channels) * channels[-1], channels[-1])
        self.output = nn.Linear(channels[-1], len(names))

    def embed(self, audio: Tensor, sr: int = 16_000) -> Tensor:
        """The activations of the last hidden layer for sounds (batch, time): (batch, channels[-1]).

        Raises:
            ValueError: another sample rate, shape or dtype, or sounds that are too short.
        """
        if sr != self.sr:
            advice = f"musicai.audio.resample(audio, {sr}, {self.sr})"
            raise ValueError(f"this classifier expects {self.sr} Hz, not {sr}: use {advice}")
        x = as_sounds(audio)
        if x.shape[1] < self.shortest:
            raise ValueError(f"this classifier needs at least {self.shortest} samples per sound, not {x.shape[1]}")
        x = levelled_log_mel(x, sr, self.n_mels) / 30 + 1  # (B, mels, frames), from -1 to 1
        x = self.convolutions(x[:, None]).mean(-1)  # (B, C, bands): keeps the brightness, drops the timing
        return self.hidden(x.flatten(1)).relu()

    def forward(self, audio: Tensor) -> Tensor:
        """Logits (batch, instruments) for sounds (batch, time)."""
        return self.output(self.embed(audio, self.sr))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2))


@cache
def instrument_classifier() -> InstrumentClassifier:
    """The classifier that is shipped with musicai, loaded once.

    >>> instrument_classifier().names[7]
    'violin'

    Returns:
        An `InstrumentClassifier` for the 17 instruments of `MusicAINotes`, at 16 kHz.

    Chapter 4.
    """
    return InstrumentClassifier.from_pretrained("instrument-classifier")


def timbre(audio: Tensor, sr: int = 16_000) -> Tensor:
    """The embedding of the shipped classifier, for `frechet_audio_distance`.

    >>> import torch
    >>> timbre(torch.randn(2, 16_000)).shape
    torch.Size([2, 64])

    It knows the 17 instruments of `MusicAINotes` and little else: for other sounds use `log_mel_statistics`. It was
    trained to ignore a little noise (20 dB below the note or less), so it responds only to more than that.

    Args:
        audio: (batch, time) or (batch, 1, time), about a second each.
        sr: sample rate in Hz; it expects 16,000.

    Returns:
        (batch, 64).

    Raises:
        ValueError: another sample rate, shape or dtype, or sounds that are too short.

    Chapter 4.
    """
    return embed(audio, sr, instrument_classifier().embed)


def instrument_accuracy(
    audio: Tensor, instrument: Tensor | int, sr: int = 16_000, classifier: Callable[[Tensor], Tensor] | None = None
) -> float:
    """The share of sounds in which the classifier hears the instrument that was asked for.

    >>> instrument_accuracy(generated, instrument=notes.instruments.index("violin"))  # doctest: +SKIP
    0.92

    The classifier is not always right about real notes either, so read the number beside theirs (`judge` prints both).

    Args:
        audio: (batch, time) or (batch, 1, time).
        instrument: indices (batch,), or one for all; for the shipped classifier, those of `MusicAINotes.instruments`.
        sr: sample rate in Hz.
        classifier: from sounds (batch, time) to logits (batch, instruments); if None, the shipped one.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: another sample rate than the classifier's, an instrument that it does not have, or logits of another
            shape.

    Chapter 4.
    """
    x, classifier = as_sounds(audio), classifier or instrument_classifier()
    if sr != getattr(classifier, "sr", sr):
        raise ValueError(f"this classifier expects {classifier.sr} Hz, not {sr}")
    logits = in_batches(classifier, x)
    if logits.ndim != 2 or len(logits) != len(x):
        raise ValueError(f"the classifier must return (batch, instruments), not {tuple(logits.shape)}")
    wanted = as_labels(instrument, len(x), "instrument", 0, logits.shape[-1] - 1, whole=True)
    return (logits.argmax(-1) == wanted).float().mean().item()
