"""All judges of one model in one table: the model, the ceiling, the ratio. Chapter 4."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .features import Classifier, Embedding, embed, instrument_accuracy, log_mel_statistics, timbre
from .pitch import pitch_accuracy
from .similarity import density_coverage, frechet_audio_distance, novelty

CLASSIFIERS: Mapping[str, Classifier | None] = {"ours": None}  # the shipped one
EMBEDDINGS: Mapping[str, Embedding] = {"timbre": timbre, "log-mel": log_mel_statistics}


class Sounds(NamedTuple):
    """Sounds with the pitch and instrument that were asked for, if any.

    >>> Sounds(torch.zeros(3, 16_000), pitch=torch.tensor([60, 64, 67])).instrument is None
    True

    Attributes:
        audio: (count, time).
        pitch: (count,) MIDI numbers, or None.
        instrument: (count,) indices, or None.

    Chapter 4.
    """

    audio: Tensor
    pitch: Tensor | None = None
    instrument: Tensor | None = None

    @classmethod
    def from_dataset(cls, dataset: Dataset, indices: Sequence[int] | None = None) -> "Sounds":
        """All items, or some, of a dataset of notes such as `MusicAINotes`."""
        items = [dataset[i] for i in (range(len(dataset)) if indices is None else indices)]
        labels = (torch.tensor([item[name] for item in items]) for name in ("pitch", "instrument"))
        return cls(torch.stack([item["audio"] for item in items]), *labels)


class MetricScore(NamedTuple):
    """A metric for a model's sounds and for real ones.

    >>> MetricScore("pitch accuracy", 0.49, 0.98).ratio
    0.5

    Attributes:
        name: the name of the metric.
        value: its value for the model.
        ceiling: its value for real sounds.
        higher_is_better: whether higher is better.

    Chapter 4.
    """

    name: str
    value: float
    ceiling: float
    higher_is_better: bool = True

    @property
    def ratio(self) -> float:
        """Value over ceiling."""
        return self.value / self.ceiling if self.ceiling else float("inf" if self.value else "nan")


def judge(
    generated: Sounds, held_out: Sounds, training: Sounds, sr=16_000, classifiers=CLASSIFIERS, embeddings=EMBEDDINGS
) -> list[MetricScore]:
    """Compute every metric in this package, for a model and for real sounds that it never heard.

    >>> held_out = Sounds.from_dataset(MusicAINotes("test"))  # doctest: +SKIP
    >>> generated = Sounds(model(z, *asked), held_out.pitch, held_out.instrument)  # doctest: +SKIP
    >>> print(report(judge(generated, held_out, Sounds.from_dataset(MusicAINotes("train")))))  # doctest: +SKIP

    The Frechet distances are measured from the training sounds; their ceiling is the distance of the held-out ones. The
    ceiling of density and coverage is what the same number of training sounds reach.

    Args:
        generated: what the model played, ideally with the labels of `held_out`. Without labels, metrics that need them
            are left out.
        held_out: real sounds that were not in training. They set each ceiling.
        training: what the model was trained on.
        sr: sample rate in Hz.
        classifiers: instrument classifiers by name, as for `instrument_accuracy`.
        embeddings: by name; density and coverage are measured with the first.

    Returns:
        A list of scores, for `report`.

    Raises:
        ValueError: in the same cases as the metrics.

    Chapter 4.
    """
    both = (generated, held_out)
    scores = []
    if all(s.pitch is not None for s in both):
        scores.append(MetricScore("pitch accuracy, ours", *(pitch_accuracy(s.audio, s.pitch, sr) for s in both)))
    for name, one in classifiers.items() if all(s.instrument is not None for s in both) else ():
        shares = (instrument_accuracy(s.audio, s.instrument, sr, one) for s in both)
        scores.append(MetricScore(f"instrument accuracy, {name}", *shares))
    for i, (name, embedding) in enumerate(embeddings.items()):
        fake, real, known = (embed(s.audio, sr, embedding) for s in (generated, held_out, training))
        distances = (frechet_audio_distance(known, x, features=True) for x in (fake, real))
        scores.append(MetricScore(f"Frechet audio distance, {name}", *distances, higher_is_better=False))
        if i == 0:
            some = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[: len(fake)]]
            density, coverage = zip(density_coverage(real, fake), density_coverage(real, some), strict=True)
            scores += [MetricScore(f"density, {name}", *density), MetricScore(f"coverage, {name}", *coverage)]
    *distances, copied = novelty(generated.audio, training.audio, held_out.audio, sr)
    scores.append(MetricScore("distance to nearest training sound", *distances))
    return [*scores, MetricScore("copied", copied, 0.01, False)]


def report(scores: Sequence[MetricScore]) -> str:
    """Format the scores as a table of model, ceiling (real sounds) and ratio; an arrow shows which way is better.

    >>> print(report([MetricScore("pitch accuracy, ours", 0.91, 0.98)]))
    judge                      model  ceiling    ratio
    pitch accuracy, ours  ↑    0.910    0.980    0.929

    Args:
        scores: from `judge`.

    Returns:
        Lines of text.

    Chapter 4.
    """
    width = max([5, *(len(score.name) for score in scores)])
    lines = [f"{'judge':{width}}  {'':1}  {'model':>7}  {'ceiling':>7}  {'ratio':>7}"]
    for score in scores:
        numbers = (f"{x:7.3f}" if abs(x) < 100 else f"{x:7.1f}" for x in (score.value, score.ceiling, score.ratio))
        lines.append("  ".join([f"{score.name:{width}}", "↑" if score.higher_is_better else "↓", *numbers]))
    return "\n".join(lines)
