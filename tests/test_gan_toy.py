"""The small game learns known densities, and a mode that it lost is seen."""

import pytest
import torch

from musicai import gan
from musicai.train import fit


def play(data, steps, seed=0, **options):
    """A game over `data(n)`, and 4,000 points of its averaged generator. Beta 1 of 0 stops the players' circling."""
    torch.manual_seed(seed)
    features = data(1).shape[1]
    generator, discriminator = gan.ToyGenerator(features), gan.ToyDiscriminator(features)
    adam = [torch.optim.Adam(m.parameters(), 2e-3, (0.0, 0.99)) for m in (generator, discriminator)]
    game = gan.GAN(generator, discriminator, *adam, **options)
    run = fit(game.step, lambda n: data(256), steps=steps, state=game.state, ema=0.99, progress=False)
    torch.manual_seed(9)
    with torch.no_grad():
        return run.ema["generator"](generator.latent(4000))


def test_shapes():
    for features in (1, 2):
        generator, discriminator = gan.ToyGenerator(features, z_size=3, depth=1), gan.ToyDiscriminator(features)
        assert generator(generator.latent(5)).shape == (5, features)
        assert discriminator(torch.zeros(5, features)).shape == (5, 1)


@pytest.mark.parametrize(("loss", "penalty"), [(gan.non_saturating, gan.r1), (gan.relativistic, gan.r1_r2)])
def test_it_learns_a_gaussian(loss, penalty):
    """Mean 3 and deviation 0.5, each within 0.1, from a start near 0."""
    points = play(lambda n: 3 + 0.5 * torch.randn(n, 1), 500, loss=loss, penalty=penalty, weight=0.05, every=4)
    assert points.mean().item() == pytest.approx(3, abs=0.1)
    assert points.std().item() == pytest.approx(0.5, abs=0.1)


MODES = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def mixture(n):
    return MODES[torch.randint(3, (n,))] + 0.2 * torch.randn(n, 2)


def test_it_learns_all_modes_of_a_mixture():
    """Three equal modes: each has between half and one and a half times its share."""
    points = play(mixture, 500, loss=gan.relativistic, penalty=gan.r1_r2, weight=0.05, every=2)
    shares = gan.mode_shares(points, MODES, radius=0.6)
    assert shares.min() > 1 / 6
    assert shares.max() < 1 / 2
    assert shares.sum() > 0.8


def test_a_collapse_is_seen():
    torch.manual_seed(0)
    collapsed = MODES[1] + 0.2 * torch.randn(1000, 2)
    shares = gan.mode_shares(collapsed, MODES, radius=0.6)
    assert shares[1] > 0.98
    assert shares[[0, 2]].tolist() == [0, 0]
    real = gan.mode_shares(mixture(3000), MODES, radius=0.6)
    assert real.min() > 0.3
    assert gan.mode_shares(collapsed + 10, MODES, radius=0.6).tolist() == [0, 0, 0]
