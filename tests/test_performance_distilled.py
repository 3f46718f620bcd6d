"""The distilled instrument: close to the GAN that it learned from, and used in the same way."""

import pytest
import torch

from musicai.audio import stft
from musicai.gan import InstrumentGenerator
from musicai.gan.curves import regularise
from musicai.notes import Melody
from musicai.performance import DistilledInstrument, GANPerformer
from musicai.performance.distilled import ACROSS, ALONG, LowRankCurves


@pytest.fixture(scope="module")
def student() -> DistilledInstrument:
    return DistilledInstrument.from_pretrained("distilled-instrument")


def spectral_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    x, y = (20 * torch.log10(stft(sound, 1024, 256).abs() + 1e-3) for sound in (x, y))
    return (x - y).square().mean().sqrt().item()


def test_it_plays_what_the_gan_plays(student):
    """For the same z it is closer to the GAN than another take of the GAN is, for every instrument."""
    teacher = InstrumentGenerator.from_pretrained("instrument-gan")
    for name in student.instruments:
        pitches = torch.tensor([60.0, 67.0, 74.0, 81.0])
        same, other = teacher.play(pitches, name, 80, seed=7), teacher.play(pitches, name, 80, seed=8)
        distance = spectral_distance(student.play(pitches, name, 80, seed=7), same)
        assert distance < 0.85 * spectral_distance(other, same), name


def test_the_shapes_are_principal_components():
    """Curves that are a product of few shapes are given back exactly by the shapes that are fitted to them."""
    rng = torch.Generator().manual_seed(0)
    rows, times = torch.randn(256, ACROSS, generator=rng), torch.randn(ALONG, 128, generator=rng)
    curves = rows @ torch.randn(40, ACROSS, ALONG, generator=rng) @ times
    model = LowRankCurves(2, 8, 4)
    model.fit_shapes(curves)
    weights = model.rows.T @ curves @ model.times.T
    torch.testing.assert_close(model.rows @ weights @ model.times, curves, rtol=1e-3, atol=1e-2)


def test_curves_are_the_product_of_three_matrices(student):
    note = torch.randn(1, 16), torch.tensor([70.0]), torch.tensor([1]), torch.tensor([90.0])
    net = student.curves
    product = torch.einsum("rk,kl,lt->rt", net.rows, net.weigh(*note)[0], net.times)
    torch.testing.assert_close(net(*note), regularise(product[None], note[1]))


def test_a_score_is_played_like_the_gan_plays_it(student):
    tune = Melody.from_pitches([67, 69, 71])
    audio, gan = (GANPerformer(model, "violin")(tune) for model in (student, "instrument-gan"))
    assert audio.samples.shape == gan.samples.shape
    assert audio.samples.abs().max() > 0.01
    torch.testing.assert_close(GANPerformer(student, "violin")(tune).samples, audio.samples)


def test_unknown_instruments_and_pitches_are_refused(student):
    with pytest.raises(ValueError, match="no instrument 'trumpet'; choose from flute, violin"):
        student.play(70, "trumpet")
    with pytest.raises(ValueError, match="pitch 40 is outside the range of flute"):
        student.play(40, "flute")
