"""The whole table on models whose faults are known: real notes that were spoilt in one way each."""

import pytest
import torch

from musicai.audio import resample
from musicai.data import MusicAIDrums, MusicAINotes
from musicai.metrics import MetricScore, Sounds, judge, log_mel_statistics, report


@pytest.fixture(scope="module")
def sets() -> tuple[Sounds, Sounds]:
    train = MusicAINotes("train")
    return Sounds.from_dataset(train, range(0, len(train), 10)), Sounds.from_dataset(
        MusicAINotes("test"), range(0, 225, 6)
    )


def verdict(generated: Sounds, sets: tuple[Sounds, Sounds], **judges) -> dict[str, MetricScore]:
    train, test = sets
    return {score.name: score for score in judge(generated, test, train, **judges)}


def test_held_out_notes_reach_their_own_ceiling(sets):
    scores = verdict(sets[1], sets)
    for name, score in scores.items():
        if name != "copied" and "density" not in name and "coverage" not in name:
            assert score.ratio == pytest.approx(1), name
    assert scores["coverage, timbre"].value == 1
    assert scores["copied"].value <= 0.06


def test_each_fault_is_seen_by_its_judge(sets):
    train, test = sets
    octave = resample(test.audio, 16_000, 8_000)
    octave = verdict(
        test._replace(audio=torch.nn.functional.pad(octave, (0, 8000))), sets, classifiers={}, embeddings={}
    )
    assert octave["pitch accuracy, ours"].ratio < 0.1

    log_mel = {"log-mel": log_mel_statistics}
    wrong = verdict(test._replace(audio=test.audio.roll(8, 0)), sets, embeddings=log_mel)
    assert wrong["instrument accuracy, ours"].ratio < 0.5
    assert wrong["Frechet audio distance, log-mel"].ratio == pytest.approx(1)  # it does not know what was asked

    copies = verdict(Sounds(0.5 * train.audio[::4]), sets, embeddings={})
    assert copies["copied"].value > 0.9
    assert copies["distance to nearest training sound"].ratio < 0.2
    assert "pitch accuracy, ours" not in copies

    collapsed = verdict(Sounds(test.audio[:1].expand(38, -1)), sets)
    assert collapsed["coverage, timbre"].value < 0.35
    assert collapsed["Frechet audio distance, timbre"].ratio > 3


def test_drums_need_no_labels():
    train, test = (
        Sounds.from_dataset(MusicAIDrums("train"), range(0, 540, 6)),
        Sounds.from_dataset(MusicAIDrums("test")),
    )
    test = Sounds(test.audio)
    scores = judge(test, test, train, embeddings={"log-mel": log_mel_statistics})
    assert [score.name.split(",")[0] for score in scores] == [
        "Frechet audio distance", "density", "coverage", "distance to nearest training sound", "copied",
    ]  # fmt: skip


def test_the_table():
    table = report(
        [MetricScore("a", 0.5, 1.0), MetricScore("a longer name", 300.0, 100.0, False), MetricScore("none", 1.0, 0.0)]
    )
    assert [line.split()[-1] for line in table.splitlines()] == ["ratio", "0.500", "3.000", "inf"]
    assert len({len(line) for line in table.splitlines()}) == 1


def test_without_labels_of_the_held_out_sounds_no_label_is_judged(sets):
    scores = judge(sets[1], Sounds(sets[1].audio), sets[0], embeddings={})
    assert [score.name for score in scores] == ["distance to nearest training sound", "copied"]
