"""One step of each player, the game under `fit` (who moves, resume, NaN, several critics), and toys that learn."""

import math

import pytest
import torch
from torch import nn

from musicai import gan
from musicai.gan import game as game_module
from musicai.gan.game import frozen
from musicai.metrics import mode_coverage
from musicai.train import Batches, DivergedError, fit, seed_all
from musicai.train.checkpoint import read_checkpoint


def toy(seed=0, **options):
    torch.manual_seed(seed)
    generator, discriminator = gan.ToyGenerator(), gan.ToyDiscriminator()
    g_optimizer = torch.optim.Adam(generator.parameters(), 1e-3)
    return gan.GAN(generator, discriminator, g_optimizer, torch.optim.Adam(discriminator.parameters(), 1e-3), **options)


def copy_of(model):
    return [p.detach().clone() for p in model.parameters()]


def moved(model, before):
    return [not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True)]


# ---- one step


def test_the_discriminators_turn_by_hand():
    """D(x) = w x: one SGD step of the logistic loss is a sum that can be done on paper."""
    critic = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(critic.weight)
    real, fake = torch.tensor([[2.0], [4.0]]), torch.tensor([[1.0], [-5.0]])
    losses = gan.discriminator_step(critic, torch.optim.SGD(critic.parameters(), 0.1), real, fake)
    assert losses["discriminator"].item() == pytest.approx(math.log(4))
    assert critic.weight.item() == pytest.approx(0.1 * (0.5 * 3 - 0.5 * -2))  # lr (E x - E G) / 2


def test_the_penalty_is_weighted_in_the_step_and_told_without_its_weight():
    critic = nn.Linear(1, 1, bias=False)
    nn.init.constant_(critic.weight, 3.0)
    x = torch.ones(2, 1)  # real = fake: the Wasserstein loss has no slope
    step = gan.discriminator_step
    losses = step(
        critic, torch.optim.SGD(critic.parameters(), 0.1), x, x, loss=gan.wasserstein, penalty=gan.r1, weight=2
    )
    assert losses["penalty"].item() == pytest.approx(9 / 2)
    assert critic.weight.item() == pytest.approx(3 - 0.1 * 2 * 3)


def test_each_turn_moves_its_own_player_only():
    game, x = toy(), torch.randn(4, 1)
    z = game.generator.latent(4)
    g, d = copy_of(game.generator), copy_of(game.discriminator)
    gan.discriminator_step(game.discriminator, game.d_optimizer, x, game.generator(z))
    assert not any(moved(game.generator, g))
    assert all(moved(game.discriminator, d))
    assert all(p.grad is None for p in game.generator.parameters())
    d = copy_of(game.discriminator)
    gan.generator_step(game.generator, game.discriminator, game.g_optimizer, z)
    assert all(moved(game.generator, g)[:-1])
    assert not any(moved(game.discriminator, d))
    assert all(p.requires_grad for p in game.discriminator.parameters())


def test_the_generators_turn_raises_its_logits():
    game = toy()
    z = game.generator.latent(256)
    before = game.discriminator(game.generator(z)).mean()
    for _ in range(20):
        gan.generator_step(game.generator, game.discriminator, game.g_optimizer, z)
    assert game.discriminator(game.generator(z)).mean() > before


def test_frozen_thaws_after_an_error_and_leaves_frozen_weights_frozen():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    with frozen(model):
        assert not model.weight.requires_grad
    assert model.weight.requires_grad
    with pytest.raises(RuntimeError, match="shapes"), frozen(model):
        model(torch.zeros(1, 3))
    assert model.weight.requires_grad
    assert not model.bias.requires_grad


def test_conditions_go_to_both_players():
    class Generator(nn.Linear):
        def forward(self, z, pitch, loud):
            return super().forward(z) + pitch + loud

        def latent(self, n):
            return torch.zeros(n, 1)

    class Critic(nn.Linear):
        seen = []  # noqa: RUF012

        def forward(self, x, pitch, loud):
            self.seen.append((pitch.tolist(), loud.tolist()))
            return super().forward(x)

    generator, critic = Generator(1, 1), Critic(1, 1)
    optimizers = torch.optim.SGD(generator.parameters(), 0.1), torch.optim.SGD(critic.parameters(), 0.1)
    game = gan.GAN(generator, critic, *optimizers, n_critic=2)
    game.step((torch.zeros(4, 1), torch.arange(4.0)[:, None], torch.ones(4, 1)))
    first, second = ([[0.0], [1.0]], [[1.0], [1.0]]), ([[2.0], [3.0]], [[1.0], [1.0]])
    assert Critic.seen == [first, first, second, second, second]


# ---- the game


def test_n_critic_turns_of_the_discriminator_for_one_of_the_generator():
    game = toy(n_critic=3)
    game.step(torch.randn(12, 1))
    assert {state["step"].item() for state in game.d_optimizer.state.values()} == {3}
    assert {state["step"].item() for state in game.g_optimizer.state.values()} == {1}


def test_a_lazy_penalty_is_taken_at_every_so_many_turns_and_as_much_heavier():
    seen = []

    def penalty(discriminator, real, fake):
        seen.append(len(real))
        return gan.r1(discriminator, real, fake)

    game = toy(penalty=penalty, every=4, weight=0.5)
    names = [set(game.step(torch.randn(2, 1))) for _ in range(9)]
    assert len(seen) == 3
    assert ["penalty" in n for n in names] == [True, False, False, False] * 2 + [True]


def test_lazy_penalties_count_the_turns_of_the_critic(monkeypatch):
    """With five turns per step of the generator, every fourth turn is at turn 0, 4, 8, ... of them all."""
    weights = []

    def turn(*args, penalty=None, weight=1.0, **options):
        weights.append(weight if penalty else 0)
        return {}

    monkeypatch.setattr(game_module, "discriminator_step", turn)
    game = toy(loss=gan.wasserstein, penalty=gan.gradient_penalty, every=4, weight=10, n_critic=5)
    for _ in range(4):
        game.step(torch.randn(10, 1))
    assert weights == [40, 0, 0, 0] * 5


@pytest.mark.parametrize("name", ["minimax", "non_saturating", "hinge", "wasserstein", "relativistic"])
def test_every_loss_plays(name):
    game = toy(loss=getattr(gan, name), penalty=gan.gradient_penalty)
    losses = [game.step(torch.randn(8, 1)) for _ in range(3)][-1]
    assert losses.keys() == {"discriminator", "penalty", "generator"}
    assert all(v.isfinite() and not v.requires_grad for v in losses.values())


# ---- under fit


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_with_several_critics_and_a_penalty(precision):
    """In autocast a generator's output may be of another type, and fp16 has one scale for all steps of the critic."""
    game = toy(n_critic=3, loss=gan.relativistic, penalty=gan.r1_r2)
    before = copy_of(game.generator)
    options = {"state": game.state, "precision": precision, "progress": False}
    run = fit(game.step, lambda n: torch.randn(12, 1), steps=4, **options)
    assert all(moved(game.generator, before))
    assert all(math.isfinite(v) for v in run.history["penalty"])
    if precision == "fp16":
        assert (
            game.d_optimizer.state[game.discriminator[0].weight]["step"].item() >= 10
        )  # of 12; the first may overflow


def test_an_overflow_in_the_critics_turn_leaves_the_generators_as_it_was():
    """fp16: the critic's step is left out; the generator's still has its gradients."""
    game = toy()
    game.loss = gan.Loss(lambda real, fake: 1e9 * fake.float().mean(), gan.non_saturating.generator)
    before, critic = copy_of(game.generator), copy_of(game.discriminator)
    fit(game.step, lambda n: torch.randn(4, 1), steps=3, state=game.state, precision="fp16", progress=False)
    assert not any(moved(game.discriminator, critic))
    assert any(moved(game.generator, before))


def drums(path, steps, seed=0, **changes):
    """A tiny WaveGAN whose every random draw matters: phase shuffle, z, interpolates, lazy penalty, EMA."""
    seed_all(seed)
    generator, discriminator = gan.WaveGANGenerator(1, z_size=4), gan.WaveGANDiscriminator(1)
    g_optimizer = torch.optim.Adam(generator.parameters(), 1e-3, (0.5, 0.9))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3, (0.5, 0.9))
    options = {"loss": gan.relativistic, "penalty": gan.gradient_penalty, "every": 3, "n_critic": 2}
    game = gan.GAN(generator, discriminator, g_optimizer, d_optimizer, **options)
    audio = torch.randn(12, 1, 16_384, generator=torch.Generator().manual_seed(1)) / 4
    settings = {"ema": {"generator": 0.9}, "checkpoint": path, "save_every": 3, "progress": False}
    return game, fit(game.step, Batches(audio, 4), steps=steps, state=game.state, **settings | changes)


def test_resume_is_exact_to_the_bit(tmp_path):
    drums(tmp_path / "whole", 7)
    drums(tmp_path / "parts", 2)
    drums(tmp_path / "parts", 5, seed=3)  # a new process would begin with other weights
    drums(tmp_path / "parts", 7, seed=4)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()
    state, _ = read_checkpoint(tmp_path / "whole")
    assert state["gan"] == {"steps": 7}
    assert {"generator", "ema.generator", "g_optimizer", "d_optimizer"} <= state.keys()


def test_a_nan_in_the_generator_stops_with_the_step_and_leaves_a_finite_checkpoint(tmp_path):
    game, _ = drums(tmp_path / "run", 3)

    def step(batch):
        if game.steps == 4:
            with torch.no_grad():
                game.generator.dense.weight[0, 0] = math.nan
        return game.step(batch)

    audio = torch.zeros(12, 1, 16_384)
    options = {"checkpoint": tmp_path / "run", "ema": {"generator": 0.9}, "progress": False}
    with pytest.raises(DivergedError, match=r"discriminator is nan at step 5; .* still holds finite weights"):
        fit(step, Batches(audio, 4), steps=9, state=game.state, **options)
    state, info = read_checkpoint(tmp_path / "run")
    assert info["step"] == 3
    for part in ("generator", "ema.generator", "discriminator"):
        assert all(torch.isfinite(t).all() for t in state[part].values())


def test_the_history_has_both_players_and_a_nan_where_the_lazy_penalty_was_not_taken(tmp_path):
    _, run = drums(tmp_path / "run", 4)
    assert {"discriminator", "generator", "penalty", "grad/g_optimizer", "grad/d_optimizer"} <= run.history.keys()
    assert [math.isnan(v) for v in run.history["penalty"]] == [
        False,
        False,
        True,
        False,
    ]  # the discriminator's steps 0, 3 and 6


# ---- toys


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


@pytest.mark.parametrize(("loss", "penalty"), [(gan.non_saturating, gan.r1), (gan.relativistic, gan.r1_r2)])
def test_it_learns_a_gaussian(loss, penalty):
    """Mean 3 and deviation 0.5, each within 0.1, from a start near 0."""
    points = play(lambda n: 3 + 0.5 * torch.randn(n, 1), 400, loss=loss, penalty=penalty, weight=0.05, every=4)
    assert points.mean().item() == pytest.approx(3, abs=0.1)
    assert points.std().item() == pytest.approx(0.5, abs=0.1)


MODES = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def mixture(n):
    return MODES[torch.randint(3, (n,))] + 0.2 * torch.randn(n, 2)


def test_it_learns_all_modes_of_a_mixture():
    """Three equal modes, and a generator that lost two of them is seen."""
    points = play(mixture, 400, loss=gan.relativistic, penalty=gan.r1_r2, weight=0.05, every=2)
    modes, quality, imbalance = mode_coverage(points, MODES, 0.04 * torch.eye(2).expand(3, 2, 2))
    assert modes == 1
    assert quality > 0.8
    assert imbalance < 1 / 6
    assert mode_coverage(MODES[1:2].expand(100, 2), MODES, 0.04 * torch.eye(2).expand(3, 2, 2)) == pytest.approx(
        (1 / 3, 1, 2 / 3)
    )


def test_toys_have_the_sizes_that_were_asked_for():
    generator, discriminator = gan.ToyGenerator(features=2, z_size=3), gan.ToyDiscriminator(features=2)
    assert generator.latent(5).shape == (5, 3)
    assert discriminator(generator(generator.latent(5))).shape == (5, 1)


# ---- what does not fit together


def test_real_and_generated_sounds_must_have_one_shape():
    """Torch would broadcast a single generated sound against all real ones."""
    game = toy()
    with pytest.raises(ValueError, match=r"fake must have shape \(4, 1\), not \(1, 1\): the shape of real"):
        gan.discriminator_step(game.discriminator, game.d_optimizer, torch.zeros(4, 1), torch.zeros(1, 1))


@pytest.mark.parametrize("real", [None, torch.zeros(1, 1)])
def test_the_relativistic_generator_needs_a_real_sound_for_each_of_its_own(real):
    game = toy()
    players = (game.generator, game.discriminator, game.g_optimizer)
    with pytest.raises(ValueError, match="pass real= with 4 sounds"):
        gan.generator_step(*players, game.generator.latent(4), loss=gan.relativistic, real=real)
