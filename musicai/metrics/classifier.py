"""Does it sound like the instrument that was asked for? A small network that was trained on real notes. Chapter 4."""

from functools import cache
from itertools import pairwise

from torch import Tensor, nn

from musicai.metrics.embeddings import levelled_log_mel
from musicai.metrics.inputs import as_labels, as_sounds, by_parts
from musicai.pretrained import Pretrained

SHIPPED = "instrument-classifier"


class InstrumentClassifier(Pretrained, nn.Module):
    """Names the instrument of a note: a convolutional network on its log-mel spectrogram, deaf to level.

    >>> classifier = InstrumentClassifier.from_pretrained("instrument-classifier")  # doctest: +SKIP
    >>> classifier.names[classifier(audio).argmax(-1)[0]]  # doctest: +SKIP
    'violin'

    Args:
        names: the instruments.
        channels: of the four convolutions; the last is also the width of `embed`.
        n_mels: mel bands.
        sr: sample rate in Hz that it hears.

    The shipped one was trained by `scripts/train_classifier.py` on `MusicAINotes("train")`. Chapter 4.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        channels: tuple[int, ...] = (16, 32, 64, 64),
        n_mels: int = 64,
        sr: int = 16_000,
    ):
        super().__init__()
        self.config = {"names": tuple(names), "channels": tuple(channels), "n_mels": n_mels, "sr": sr}
        self.names, self.sr, self.n_mels = tuple(names), sr, n_mels
        widths = [1, *channels]
        blocks = [_block(a, b) for a, b in pairwise(widths)]
        self.convolutions = nn.Sequential(*blocks)
        bands = n_mels // 2 ** len(channels)
        self.hidden = nn.Linear(bands * channels[-1], channels[-1])
        self.output = nn.Linear(channels[-1], len(names))

    def embed(self, audio: Tensor, sr: int = 16_000) -> Tensor:
        """What the last layer sees of sounds (batch, time): (batch, channels[-1]). An embedding of timbre."""
        if sr != self.sr:
            raise ValueError(
                f"this classifier hears {self.sr} Hz, not {sr}: musicai.audio.resample(audio, {sr}, {self.sr})"
            )
        x = levelled_log_mel(audio, sr, self.n_mels) / 30 + 1  # (B, mels, frames) in -1 ... 1
        x = self.convolutions(x[:, None]).mean(-1)  # (B, C, bands): how bright it is stays, when it plays does not
        return self.hidden(x.flatten(1)).relu()

    def forward(self, audio: Tensor) -> Tensor:
        """Sounds (batch, time) to logits (batch, instruments)."""
        return self.output(self.embed(audio, self.sr))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2))


@cache
def instrument_classifier() -> InstrumentClassifier:
    """The classifier that comes with musicai, loaded once."""
    return InstrumentClassifier.from_pretrained(SHIPPED)


def timbre(audio: Tensor, sr: int = 16_000) -> Tensor:
    """The embedding of the shipped classifier, 64 numbers a sound: (batch, 64). For `frechet_audio_distance`.

    It knows the 17 instruments of `MusicAINotes` and little else: for other sounds take `log_mel_statistics`. It was
    taught not to mind a little noise (20 dB below the note or less), so it sees only more than that.
    Chapter 4.
    """
    return by_parts(lambda part: instrument_classifier().embed(part, sr), as_sounds(audio))


def instrument_accuracy(
    audio: Tensor, instrument: Tensor | int, sr: int = 16_000, classifier: nn.Module | None = None
) -> float:
    """The share of sounds in which the classifier hears the instrument asked for.

    >>> instrument_accuracy(generated, instrument=notes.instruments.index("violin"))  # doctest: +SKIP
    0.92

    The classifier is not always right about real notes either: read the number beside that (`judge` prints both).

    Args:
        audio: (batch, time) or (batch, 1, time).
        instrument: indices (batch,), or one for all: those of `MusicAINotes(...).instruments` for the shipped one.
        sr: sample rate in Hz.
        classifier: sounds (batch, time) to logits (batch, instruments); the shipped `InstrumentClassifier` if None.

    Chapter 4.
    """
    x = as_sounds(audio)
    asked = as_labels(instrument, len(x), "instrument").long()
    classifier = classifier or instrument_classifier()
    if sr != getattr(classifier, "sr", sr):
        raise ValueError(f"this classifier hears {classifier.sr} Hz, not {sr}")
    return (by_parts(classifier, x).argmax(-1) == asked).float().mean().item()
