"""The losses against closed forms: best discriminators on known densities, gradients by hand, penalties of known D."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from musicai import gan

LOSSES = {name: getattr(gan, name) for name in ("minimax", "non_saturating", "hinge", "wasserstein", "relativistic")}
Z = torch.zeros(4, 1)


def test_the_best_discriminator_gives_log_4_minus_twice_jensen_shannon():
    """Two densities over five symbols: at D = log(p / q), the loss is log 4 - 2 JSD, and any other D does worse."""
    p = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1], dtype=torch.float64)
    q = torch.tensor([0.1, 0.1, 0.2, 0.3, 0.3], dtype=torch.float64)
    middle = (p + q) / 2
    jsd = ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2
    counts = 10  # every share is a multiple of 0.1: ten samples of each are the density itself
    real, fake = ((share * counts).round().long() for share in (p, q))
    logits = (p / q).log()

    def loss(d):
        return gan.minimax.discriminator(d.repeat_interleave(real), d.repeat_interleave(fake))

    assert loss(logits).item() == pytest.approx(math.log(4) - 2 * jsd.item(), abs=1e-12)
    for seed in range(20):
        torch.manual_seed(seed)
        assert loss(logits + 0.1 * torch.randn(5, dtype=torch.float64)) > loss(logits)


def test_generated_as_real_leaves_log_4():
    """p = q: the best D is 1/2 everywhere, and V = -log 4."""
    assert gan.minimax.discriminator(Z, Z).item() == pytest.approx(math.log(4))
    assert gan.minimax.generator(Z, Z).item() == pytest.approx(-math.log(2))
    assert gan.non_saturating.generator(Z, Z).item() == pytest.approx(math.log(2))
    assert gan.relativistic.discriminator(Z, Z).item() == pytest.approx(math.log(2))
    assert gan.hinge.discriminator(Z, Z).item() == 2
    assert gan.wasserstein.discriminator(Z, Z).item() == 0


@pytest.mark.parametrize(
    ("name", "real_slope", "fake_slope", "generator_slope"),
    [
        ("minimax", -0.5, 0.5, -0.5),
        ("non_saturating", -0.5, 0.5, -0.5),
        ("hinge", -1, 1, -1),
        ("wasserstein", -1, 1, -1),
        ("relativistic", -0.5, 0.5, -0.5),
    ],
)
def test_gradients_where_the_discriminator_says_one_half(name, real_slope, fake_slope, generator_slope):
    real, fake = Z.clone().requires_grad_(), Z.clone().requires_grad_()
    loss = LOSSES[name]
    slopes = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    for slope, wanted in zip(slopes, (real_slope, fake_slope), strict=True):
        torch.testing.assert_close(slope, torch.full((4, 1), wanted / 4))  # a mean over four
    (slope,) = torch.autograd.grad(loss.generator(Z, fake), fake)
    torch.testing.assert_close(slope, torch.full((4, 1), generator_slope / 4))


def test_the_minimax_generator_stalls_where_the_discriminator_is_sure_and_the_other_does_not():
    fake = torch.tensor([-20.0], requires_grad=True)
    (stalled,) = torch.autograd.grad(gan.minimax.generator(Z, fake), fake)
    (strong,) = torch.autograd.grad(gan.non_saturating.generator(Z, fake), fake)
    assert stalled.item() == pytest.approx(-math.exp(-20), rel=1e-3)
    assert strong.item() == pytest.approx(-1, rel=1e-3)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8), st.lists(st.floats(-50, 50), min_size=1, max_size=8))
def test_the_logistic_losses_are_cross_entropy(real, fake):
    real, fake = torch.tensor(real, dtype=torch.float64), torch.tensor(fake, dtype=torch.float64)
    entropy = binary_cross_entropy_with_logits
    wanted = entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))
    torch.testing.assert_close(gan.minimax.discriminator(real, fake), wanted)
    torch.testing.assert_close(gan.non_saturating.generator(real, fake), entropy(fake, torch.ones_like(fake)))
    torch.testing.assert_close(gan.minimax.generator(real, fake), -entropy(fake, torch.zeros_like(fake)))


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=8))
def test_the_relativistic_game_knows_only_differences_and_is_symmetric(pairs):
    real, fake = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    loss = gan.relativistic.discriminator(real, fake)
    torch.testing.assert_close(gan.relativistic.discriminator(real + 3, fake + 3), loss)
    torch.testing.assert_close(gan.relativistic.generator(fake, real), loss)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_finite_and_falls_in_the_right_direction(name):
    loss, sure = LOSSES[name], torch.full((3, 1), 1e4)
    for real in (-sure, sure):
        for fake in (-sure, sure):
            assert loss.discriminator(real, fake).isfinite()
            assert loss.generator(real, fake).isfinite()
    assert loss.discriminator(Z + 1, Z - 1) < loss.discriminator(Z, Z)
    assert loss.generator(Z, Z + 1) < loss.generator(Z, Z)


# ---- penalties


class Linear(nn.Module):
    """D(x) = w . x + 7, whose slope is w wherever one looks."""

    def __init__(self, weights):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, x):
        return (x.flatten(1) * self.w).sum(1, keepdim=True) + 7


REAL, FAKE = torch.randn(2, 5, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_penalties_of_a_linear_critic_are_known():
    critic = Linear([3.0, 4.0])
    assert gan.gradient_penalty(critic, REAL, FAKE).item() == pytest.approx((5 - 1) ** 2)
    assert gan.r1(critic, REAL, FAKE).item() == pytest.approx(25 / 2)
    assert gan.r1_r2(critic, REAL, FAKE).item() == pytest.approx(25)
    assert gan.gradient_penalty(Linear([0.6, 0.8]), REAL, FAKE).item() == pytest.approx(0, abs=1e-10)


def test_penalties_reach_the_weights():
    """d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|, and d/dw |w|^2 / 2 = w."""
    critic = Linear([3.0, 4.0])
    (slope,) = torch.autograd.grad(gan.gradient_penalty(critic, REAL, FAKE), critic.w)
    torch.testing.assert_close(slope, torch.tensor([4.8, 6.4], dtype=torch.float64), rtol=1e-5, atol=0)
    (slope,) = torch.autograd.grad(gan.r1(critic, REAL, FAKE), critic.w)
    torch.testing.assert_close(slope, torch.tensor([3.0, 4.0], dtype=torch.float64))


def test_a_flat_critic_has_a_finite_penalty_and_slope():
    critic = Linear([0.0, 0.0])
    penalty = gan.gradient_penalty(critic, REAL, FAKE)
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    (slope,) = torch.autograd.grad(penalty, critic.w)
    assert slope.isfinite().all()


def test_r1_looks_at_real_and_r1_r2_at_generated_too_and_the_gradient_penalty_between():
    class Square(nn.Module):
        def forward(self, x):
            return x.flatten(1).square().sum(1, keepdim=True) / 2  # its slope at x is x

    assert gan.r1(Square(), REAL, FAKE).item() == pytest.approx(REAL.square().sum((1, 2)).mean().item() / 2, rel=1e-6)
    both = (REAL.square() + FAKE.square()).sum((1, 2)).mean().item() / 2
    assert gan.r1_r2(Square(), REAL, FAKE).item() == pytest.approx(both, rel=1e-6)
    one, three = torch.ones(4000, 1, 1), 3 * torch.ones(4000, 1, 1)  # slopes uniform in [1, 3]: E (u - 1)^2 = 4 / 3
    torch.manual_seed(0)
    assert gan.gradient_penalty(Square(), one, three).item() == pytest.approx(4 / 3, rel=0.05)


def test_conditions_reach_the_discriminator_and_inputs_get_no_gradient():
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()

    def critic(x, scale):
        return x.flatten(1).sum(1, keepdim=True) * scale[:, None]

    scale = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64, requires_grad=True)
    gan.r1(critic, real, fake, scale).backward()
    assert real.grad is None
    assert fake.grad is None
    torch.testing.assert_close(scale.grad, 2 * scale.detach() / 5)  # |slope|^2 = 2 s^2, halved, over five
