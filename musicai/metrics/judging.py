"""All judges of one model in one table: ours, the ceiling, the ratio. Chapter 4."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from musicai.metrics.classifier import instrument_accuracy, instrument_classifier, timbre
from musicai.metrics.copies import novelty
from musicai.metrics.embeddings import log_mel_statistics
from musicai.metrics.frechet import Embedding, embed, frechet_audio_distance
from musicai.metrics.neighbours import density_coverage
from musicai.metrics.pitch import PitchEstimator, estimate_pitch, pitch_accuracy


class Sounds(NamedTuple):
    """Sounds (count, time) with what was asked for (count,): MIDI pitch and instrument; None where nothing was."""

    audio: Tensor
    pitch: Tensor | None = None
    instrument: Tensor | None = None

    @classmethod
    def from_dataset(cls, dataset: Dataset, indices: Sequence[int] | None = None) -> "Sounds":
        """All, or some, of a dataset of notes such as `MusicAINotes`."""
        items = [dataset[i] for i in (range(len(dataset)) if indices is None else indices)]
        labels = (torch.tensor([item[name] for item in items]) for name in ("pitch", "instrument"))
        return cls(torch.stack([item["audio"] for item in items]), *labels)


class MetricScore(NamedTuple):
    """What a judge says of a model (`value`) and of real sounds (`ceiling`)."""

    name: str
    value: float
    ceiling: float
    higher_is_better: bool = True

    @property
    def ratio(self) -> float:
        return self.value / self.ceiling if self.ceiling else float("nan") if not self.value else float("inf")


def judge(
    generated: Sounds,
    held_out: Sounds,
    training: Sounds,
    sr: int = 16_000,
    *,
    pitch: Mapping[str, PitchEstimator] | None = None,
    classifiers: Mapping[str, nn.Module | Callable[[Tensor], Tensor]] | None = None,
    embeddings: Mapping[str, Embedding] | None = None,
) -> list[MetricScore]:
    """Every metric of this module, for a model and for real sounds that it never heard.

    >>> held_out = Sounds.from_dataset(MusicAINotes("test"))  # doctest: +SKIP
    >>> generated = Sounds(model(z, *asked), held_out.pitch, held_out.instrument)  # doctest: +SKIP
    >>> print(report(judge(generated, held_out, Sounds.from_dataset(MusicAINotes("train")))))  # doctest: +SKIP

    Args:
        generated: what the model played, best with the labels of `held_out`; without labels no judge asks for them.
        held_out: real sounds that were not in training. They give each ceiling.
        training: what the model learned from.
        sr: sample rate in Hz.
        pitch, classifiers, embeddings: judges by name; None for those of this module. `{}` leaves a kind out; the
            first embedding also measures density and coverage.

    The Frechet distances are to the training sounds; the ceiling is that of the held-out ones. The ceiling of density
    and coverage is what as many training sounds reach. Chapter 4.
    """
    pitch = {"ours": estimate_pitch} if pitch is None else pitch
    classifiers = {"ours": instrument_classifier()} if classifiers is None else classifiers
    embeddings = {"timbre": timbre, "log-mel": log_mel_statistics} if embeddings is None else embeddings
    scores = _pitch_scores(generated, held_out, sr, pitch)
    if generated.instrument is not None:
        for name, model in classifiers.items():
            both = (instrument_accuracy(s.audio, s.instrument, sr, model) for s in (generated, held_out))
            scores.append(MetricScore(f"instrument accuracy, {name}", *both))
    for i, (name, embedding) in enumerate(embeddings.items()):
        scores += _feature_scores(generated, held_out, training, sr, name, embedding, varied=i == 0)
    new = novelty(generated.audio, training.audio, held_out.audio, sr)
    medians = (part.distance.median().item() for part in (new.generated, new.real))
    return [
        *scores,
        MetricScore("distance to nearest training sound", *medians),
        MetricScore("copied", new.copied, 0.01, False),
    ]


def _pitch_scores(generated: Sounds, held_out: Sounds, sr: int, estimators: Mapping) -> list[MetricScore]:
    if generated.pitch is None:
        return []
    return [
        MetricScore(
            f"pitch accuracy, {name}", *(pitch_accuracy(s.audio, s.pitch, sr, f) for s in (generated, held_out))
        )
        for name, f in estimators.items()
    ]


def _feature_scores(generated, held_out, training, sr, name, embedding, varied: bool) -> list[MetricScore]:
    fake, real, known = (embed(s.audio, sr, embedding) for s in (generated, held_out, training))
    distances = (frechet_audio_distance(known, x, features=True) for x in (fake, real))
    scores = [MetricScore(f"Frechet audio distance, {name}", *distances, higher_is_better=False)]
    if varied:
        some = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[: len(fake)]]
        pair = zip(("density", "coverage"), density_coverage(real, fake), density_coverage(real, some), strict=True)
        scores += [MetricScore(f"{what}, {name}", *values) for what, *values in pair]
    return scores


def report(scores: Sequence[MetricScore]) -> str:
    """The scores as a table: ours, ceiling (real held-out sounds), ratio; an arrow says which way is better.

    >>> print(report([MetricScore("pitch accuracy, ours", 0.91, 0.98)]))
    judge                       ours  ceiling    ratio
    pitch accuracy, ours  ↑    0.910    0.980    0.929
    """
    width = max([5, *(len(score.name) for score in scores)])
    lines = [f"{'judge':{width}}  {'':1}  {'ours':>7}  {'ceiling':>7}  {'ratio':>7}"]
    for name, value, ceiling, higher in scores:
        ratio = MetricScore(name, value, ceiling).ratio
        arrow = "↑" if higher else "↓"
        lines.append(f"{name:{width}}  {arrow}  {_number(value)}  {_number(ceiling)}  {_number(ratio)}")
    return "\n".join(lines)


def _number(x: float) -> str:
    return f"{x:7.3f}" if abs(x) < 100 else f"{x:7.1f}"
