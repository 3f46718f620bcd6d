"""The renderers' recipe: renderings and crops, bits per sample, partials, and the start of a model."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from musicai.audio import mu_law_decode
from musicai.data import FolkCorpus, melody_key
from musicai.notes import Melody, Note
from musicai.performance import render
from musicai.recipes import renderer
from musicai.wavenet import ScoreConfig, ScoreWaveNet, score_frames

SMALL = {"layers": 4, "stacks": 2, "residual_channels": 8, "skip_channels": 8, "end_channels": 8}


@pytest.fixture
def small_set():
    """Renderings of three made-up tunes, of 1 to 3 seconds."""
    tunes = [
        Melody.from_pitches([60, 64, None, 67], 0.5, name="short"),
        Melody.from_pitches([72, 71, 69, 67, 65, 64], 1.0, name="long"),
        Melody.from_pitches([62], 0.25, name="one note"),
    ]
    names = renderer.INSTRUMENTS
    return [renderer.as_piece(f"train {tune.name}", tune.to_score(), names[i % 2]) for i, tune in enumerate(tunes)]


# ---- crops


def test_crops_are_a_function_of_seed_and_number(small_set):
    crops, again = (renderer.Crops(small_set, 200, seed=5, batch=3) for _ in range(2))
    other = renderer.Crops(small_set, 200, seed=6, batch=3)
    for n in (7, 0, 7):
        assert all(torch.equal(a, b) for a, b in zip(crops(n), again(n), strict=True))
    assert not np.array_equal(crops.places(0), crops.places(1))
    assert not np.array_equal([crops.places(n) for n in range(9)], [other.places(n) for n in range(9)])


def test_crops_cut_codes_and_frames_alike(small_set):
    crops = renderer.Crops(small_set, 200, batch=4)
    codes, local, instrument = crops(3)
    for row, (i, first) in enumerate(zip(*crops.places(3), strict=True)):
        piece = small_set[i]
        whole = piece.codes
        wanted = whole[first * 160 : (first + 20) * 160]
        assert codes[row, crops.valid][: len(wanted)].tolist() == wanted.tolist()
        frames = score_frames(piece.score, length=len(whole) // 160 * 160)
        ours = local[row, :, crops.context : crops.context + 20]
        assert torch.equal(ours[:, : frames.shape[1] - first], frames[:, first : first + 20])
        assert instrument[row] == renderer.INSTRUMENTS.index(piece.instrument)


@pytest.mark.parametrize(("mixtures", "residual"), [(0, False), (3, False), (3, True)])
def test_the_loss_counts_only_what_the_network_sees_wholly(small_set, mixtures, residual):
    torch.manual_seed(0)
    shape = SMALL | {"layers": 14, "mixtures": mixtures, "residual": residual}
    config = ScoreConfig(**shape, instruments=renderer.INSTRUMENTS)
    model = ScoreWaveNet(config).eval()
    crops = renderer.Crops(small_set, model.receptive_field, batch=3)
    ours = renderer.log_prob(model, crops, 2)
    for row, (i, first) in enumerate(zip(*crops.places(2), strict=True)):
        frames = -(-len(small_set[i].codes) // 160)
        whole = renderer.Crops([small_set[i]], model.receptive_field, batch=1, frames=frames)
        wanted = renderer.log_prob(model, whole, 0)[0, first * 160 : (first + 20) * 160]
        torch.testing.assert_close(ours[row, : len(wanted)], wanted, atol=2e-4, rtol=1e-4)


def test_the_codes_of_a_piece_are_its_audio(small_set):
    audio = (render(small_set[1].score).mean(0) * 2**0.5).clamp(-1, 1)
    heard = mu_law_decode(torch.from_numpy(small_set[1].codes).long())
    assert (audio - heard).abs().max() < 0.02
    assert torch.corrcoef(torch.stack([audio, heard]))[0, 1] > 0.999


def test_no_held_out_piece_is_trained_on(monkeypatch):
    """No tune, however transposed."""
    monkeypatch.setattr(renderer, "FolkCorpus", lambda split, **_: FolkCorpus(split, limit=192))
    sets = {}
    for split in ("train", "valid", "test"):
        tunes = renderer.tune_pieces(split, 60)
        sets[split] = {melody_key(p.score.melody()) for p in tunes}
        assert len(tunes) > 5
    assert not sets["train"] & (sets["valid"] | sets["test"])
    assert not sets["valid"] & sets["test"]


# ---- bits per sample


def test_bits_of_a_model_that_knows_nothing_and_one_that_knows_all(small_set):
    model = ScoreWaveNet(ScoreConfig(**SMALL, instruments=renderer.INSTRUMENTS)).eval()
    crops = renderer.Crops(small_set, model.receptive_field)
    with torch.no_grad():
        model.head.linear.weight.zero_()
        model.head.linear.bias.zero_()
    assert renderer.bits(model, crops, 3) == pytest.approx(8, abs=1e-6)
    counts = np.bincount(torch.cat([crops(n)[0][:, crops.valid].flatten() for n in range(3)]).numpy(), minlength=256)
    p = (counts + 1e-9) / counts.sum()
    model.head.linear.bias.data = torch.from_numpy(np.log(p)).float()
    assert renderer.bits(model, crops, 3) == pytest.approx(-(p * np.log2(p)).sum(), abs=1e-3)


def test_a_disturbed_past_keeps_what_it_should(small_set):
    """Some crops stay clean, the others have noise and an echo, from loud to soft."""
    torch.manual_seed(7)
    wave = 0.2 * torch.sin(0.05 * torch.arange(8000.0)).expand(400, -1)
    disturbed = renderer.disturbed(wave, 0.75)
    assert torch.equal(renderer.disturbed(wave, 0.0), wave)
    apart = disturbed - wave
    spectra = torch.fft.rfft(apart * torch.hann_window(8000)).abs().square()
    line = round(0.05 / (2 * math.pi) * 8000)
    echo, noise = spectra[:, line - 4 : line + 5].sum(1), spectra[:, 10 * line :].sum(1)
    chosen = (disturbed != wave).any(1)
    assert 270 <= chosen.sum() <= 330
    for part, whole in ((echo, 1.0), (noise, 1 - 20 * line / 8000)):  # of the power of a wave of the same loudness
        power = torch.fft.rfft(wave[0] * torch.hann_window(8000)).abs().square().sum()
        level = 10 * (part[chosen] / power / whole).log10()
        assert -3 < level.max() < 2
        assert -40 < level.min() < -25


# ---- learning


def test_a_held_note_goes_round_in_the_samplers_loop():
    """After the loop's end, a rendering repeats with the length that the partials are told."""
    partials = ScoreWaveNet.from_pretrained("wavenet-renderer").upsample.partials
    loops = partials.loops.unflatten(0, (2, 88)).double() * 16_000
    for piece in renderer.held_pieces("test", 8):
        (note,) = piece.score.notes
        held = Note(note.pitch, 0.0, 8.0, note.velocity)  # four seconds
        score = replace(piece.score, tracks=(replace(piece.score.tracks[0], notes=(held,)),))
        x = render(score).mean(0)
        end, length = loops[renderer.INSTRUMENTS.index(piece.instrument), note.pitch - 21].round().int().tolist()
        assert 0.1 <= piece.score.seconds(note.duration) <= 4
        assert torch.equal(x[end:40_000], x[end + length : 40_000 + length])


@pytest.mark.parametrize("name", ["renderer", "unconditional"])
def test_a_model_begins_with_the_shape_of_the_shipped_one(name, small_set):
    shipped = {"unconditional": "wavenet-unconditional"}.get(name, f"wavenet-{name}")
    model = renderer.build(name, small_set)
    assert model.config == type(model).from_pretrained(shipped).config
    if not model.config.mixtures:  # the most frequent code, silence, is the likeliest from the start
        codes = np.concatenate([piece.codes for piece in small_set])
        assert model.head.linear.bias.argmax() == np.bincount(codes).argmax()
