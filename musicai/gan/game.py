"""The game: one step of each player, the two together, and two small players to try it with. Chapter 4.

A generator is called as `generator(z, *condition)` and draws its own z with `generator.latent(n)`; a discriminator is
called as `discriminator(audio, *condition)` and returns logits. A condition is any number of tensors (pitch,
instrument, ...), the same for both. Optimizer steps go through `musicai.train.update`: under `fit` they are averaged
over processes and safe in fp16.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from musicai.train import update

from .losses import Loss, non_saturating


def discriminator_step(
    discriminator: nn.Module, optimizer: Optimizer, real: Tensor, fake: Tensor, *condition: Tensor,
    loss: Loss = non_saturating, penalty: Callable[..., Tensor] | None = None, weight: float = 1.0,
) -> dict[str, Tensor]:  # fmt: skip
    """Take one step of the discriminator: tell `real` from `fake`, leaving the generator untouched.

    >>> fake = generator(generator.latent(len(real)))  # doctest: +SKIP
    >>> losses = discriminator_step(discriminator, optimizer, real, fake, loss=hinge)  # doctest: +SKIP

    Args:
        discriminator: from audio (B, channels, T) and the condition to logits (B, 1).
        optimizer: the discriminator's optimizer.
        real: (B, channels, T) recorded sounds.
        fake: (B, channels, T) generated sounds.
        condition: what both were made for, if anything.
        loss: a pair of losses from `musicai.gan`.
        penalty: `gradient_penalty`, `r1` or `r1_r2`, which is multiplied by `weight` and added to the loss.
        weight: the weight of the penalty.

    Returns:
        "discriminator", the loss without the penalty; and, if there is a penalty, "penalty", before weighting.

    Raises:
        ValueError: if `fake` does not have the shape of `real`.

    Chapter 4.
    """
    check_input("fake", fake, tuple(real.shape), "the shape of real")
    fake = fake.detach().to(real.dtype)  # under autocast the generator may return bf16
    total = loss.discriminator(discriminator(real, *condition), discriminator(fake, *condition))
    losses = {"discriminator": total.detach()}
    if penalty is not None:
        extra = penalty(discriminator, real, fake, *condition)
        losses["penalty"] = extra.detach()
        total = total + weight * extra
    update(total, optimizer)
    return losses


def generator_step(
    generator: nn.Module, discriminator: nn.Module, optimizer: Optimizer, z: Tensor, *condition: Tensor,
    loss: Loss = non_saturating, real: Tensor | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Take one step of the generator: make the discriminator, whose weights stay fixed, take its sounds for real.

    >>> losses = generator_step(generator, discriminator, optimizer, generator.latent(64))  # doctest: +SKIP

    Args:
        generator: from z (B, Z) and the condition to audio (B, channels, T).
        discriminator: as in `discriminator_step`.
        optimizer: the generator's optimizer.
        z: (B, Z), as drawn by `generator.latent(B)`.
        condition: what the sounds should be, if anything.
        loss: a pair of losses from `musicai.gan`.
        real: (B, channels, T), needed only by the relativistic loss.

    Returns:
        "generator": the loss.

    Raises:
        ValueError: if the loss compares pairs, and `real` is missing or doesn't match the number of z.

    Chapter 4.
    """
    if loss.paired and (real is None or len(real) != len(z)):
        raise ValueError(f"this loss compares pairs: pass real= with {len(z)} sounds, as many as z")
    with frozen(discriminator):
        fake = discriminator(generator(z, *condition), *condition)
        value = loss.generator(discriminator(real, *condition) if loss.paired else fake, fake)
        return {"generator": update(value, optimizer)}


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Within this block gradients flow through the model but not into its weights, which saves a third of the work."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@dataclass(eq=False)
class GAN:
    """The game: two players, their optimizers and a loss. `musicai.train.fit` trains its `step`.

    >>> gan = GAN(generator, discriminator, g_optimizer, d_optimizer, loss=wasserstein,
    ...           penalty=gradient_penalty, weight=10, n_critic=5)  # doctest: +SKIP
    >>> fit(gan.step, Batches(audio, 5 * 64), steps=20_000, state=gan.state,
    ...     ema={"generator": 0.999}, checkpoint="runs/wavegan.safetensors")  # doctest: +SKIP

    Args:
        generator: from z and the condition to audio; it must have `latent(n)`.
        discriminator: from audio and the condition to logits.
        g_optimizer: the generator's optimizer.
        d_optimizer: the discriminator's optimizer.
        loss: a pair of losses from `musicai.gan`.
        penalty: as in `discriminator_step`.
        weight: the weight of the penalty.
        every: compute the penalty only every so many steps of the discriminator, and multiply its weight by the same
            number ("lazy regularisation", Karras et al. 2020, section 4.1).
        n_critic: steps of the discriminator per step of the generator. A batch holds the real sounds for all of them.

    Chapter 4.
    """

    generator: nn.Module
    discriminator: nn.Module
    g_optimizer: Optimizer
    d_optimizer: Optimizer
    loss: Loss = non_saturating
    penalty: Callable[..., Tensor] | None = None
    weight: float = 1.0
    every: int = 1
    n_critic: int = 1
    steps: int = field(default=0, init=False)  # steps taken so far

    def step(self, batch: Tensor | tuple[Tensor, ...] | list[Tensor]) -> dict[str, Tensor]:
        """Take `n_critic` steps of the discriminator, each on its share of the batch, then one of the generator.

        Args:
            batch: real sounds (n_critic * B, channels, T), or a tuple of the sounds and their condition.

        Returns:
            The losses of both players by name.
        """
        parts = [batch] if isinstance(batch, Tensor) else list(batch)
        losses = {}
        for i, (real, *condition) in enumerate(zip(*(part.chunk(self.n_critic) for part in parts), strict=True)):
            losses |= self._discriminator_step(real, condition, self.steps * self.n_critic + i)
        self.steps += 1
        players, z = (self.generator, self.discriminator, self.g_optimizer), self.generator.latent(len(real))
        return losses | generator_step(*players, z, *condition, loss=self.loss, real=real)

    def _discriminator_step(self, real: Tensor, condition: list[Tensor], number: int) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = self.generator(self.generator.latent(len(real)), *condition)
        penalty = None if number % self.every else self.penalty
        options = {"loss": self.loss, "penalty": penalty, "weight": self.weight * self.every}
        return discriminator_step(self.discriminator, self.d_optimizer, real, fake, *condition, **options)

    @property
    def state(self) -> dict[str, object]:
        """Everything that a step changes, by name; pass it to `fit` as `state=`."""
        players = {"generator": self.generator, "discriminator": self.discriminator}
        return players | {"g_optimizer": self.g_optimizer, "d_optimizer": self.d_optimizer, "gan": self}

    def state_dict(self) -> dict[str, int]:
        """The number of steps, which decides when the next penalty is due."""
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from the number of steps in a checkpoint."""
        self.steps = int(state["steps"])


class ToyGenerator(nn.Sequential):
    """A small multilayer perceptron from z to points, for densities that can be plotted.

    >>> generator = ToyGenerator(features=2)
    >>> generator(generator.latent(5)).shape
    torch.Size([5, 2])

    Args:
        features: dimensions of a point.
        z_size: dimensions of z, which is standard normal.

    Chapter 4.
    """

    def __init__(self, features: int = 1, z_size: int = 2):
        super().__init__(*_perceptron(z_size, features))

    def latent(self, n: int) -> Tensor:
        """n draws of z, shape (n, z_size), standard normal."""
        return torch.randn(n, self[0].in_features, device=self[0].weight.device)  # (n, Z)


class ToyDiscriminator(nn.Sequential):
    """A small multilayer perceptron from points to logits.

    >>> ToyDiscriminator(features=2)(torch.zeros(5, 2)).shape
    torch.Size([5, 1])

    Args:
        features: dimensions of a point.

    Chapter 4.
    """

    def __init__(self, features: int = 1):
        super().__init__(*_perceptron(features, 1))


def _perceptron(inputs: int, outputs: int, width: int = 64) -> tuple[nn.Module, ...]:
    hidden = (nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2))
    return *hidden, nn.Linear(width, outputs)


def check_input(name: str, x: Tensor, shape: tuple, advice: str, limits: tuple | None = None) -> None:
    """Raise a ValueError unless x has this shape, with "B" for any number, and no value beyond the limits."""
    if x.ndim != len(shape) or any(size not in ("B", n) for size, n in zip(shape, x.shape, strict=True)):
        wanted = str(shape).replace("'", "")
        raise ValueError(f"{name} must have shape {wanted}, not {tuple(x.shape)}: {advice}")
    if limits is not None and (wrong := x[~((x >= limits[0]) & (x <= limits[1]))]).numel():  # NaN is wrong too
        raise ValueError(f"{name} must be from {limits[0]} to {limits[1]}, not {wrong[0]:g}")
