"""One turn of each player, and the game of both: plain functions, read from top to bottom. Chapter 4.

A generator is called as `generator(z, *condition)` and draws its own z with `generator.latent(n)`; a discriminator is
called as `discriminator(audio, *condition)` and gives logits. A condition is any number of tensors (pitch, instrument,
...), the same for both. The optimizer steps are `musicai.train.update`'s: under `fit`, averaged over processes and safe
in fp16.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from musicai.gan.losses import Loss, non_saturating
from musicai.train import update


def discriminator_step(
    discriminator: nn.Module,
    optimizer: Optimizer,
    real: Tensor,
    fake: Tensor,
    *condition: Tensor,
    loss: Loss = non_saturating,
    penalty: Callable[..., Tensor] | None = None,
    weight: float = 1.0,
) -> dict[str, Tensor]:
    """One step of the discriminator: tell `real` from `fake`, whose generator is left alone.

    >>> fake = generator(generator.latent(len(real)))  # doctest: +SKIP
    >>> losses = discriminator_step(discriminator, optimizer, real, fake, loss=hinge)  # doctest: +SKIP

    Args:
        discriminator: from audio (B, channels, T) and the condition to logits (B, 1).
        optimizer: the discriminator's.
        real, fake: (B, channels, T) each.
        condition: what both were made for.
        loss: a pair from `musicai.gan`.
        penalty: added to the loss times `weight`: `gradient_penalty`, `r1`, `r2` or `r1_r2`.
        weight: of the penalty.
    Returns:
        "discriminator": the loss without the penalty; "penalty", where there is one, without its weight.
    """
    fake = fake.detach().to(real.dtype)  # in autocast, a generator may give bf16
    total = loss.discriminator(discriminator(real, *condition), discriminator(fake, *condition))
    losses = {"discriminator": total.detach()}
    if penalty is not None:
        extra = penalty(discriminator, real, fake, *condition)
        losses["penalty"] = extra.detach()
        total = total + weight * extra
    update(total, optimizer)
    return losses


def generator_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizer: Optimizer,
    z: Tensor,
    *condition: Tensor,
    loss: Loss = non_saturating,
    real: Tensor | None = None,
) -> dict[str, Tensor]:
    """One step of the generator: make the discriminator, which is left alone, take its sounds for real.

    >>> losses = generator_step(generator, discriminator, optimizer, generator.latent(64))  # doctest: +SKIP

    Args:
        generator: from z (B, Z) and the condition to audio (B, channels, T).
        discriminator: as in `discriminator_step`.
        optimizer: the generator's.
        z: (B, Z), as `generator.latent(B)` draws it.
        condition: what the sounds are to be.
        loss: a pair from `musicai.gan`.
        real: (B, channels, T), which only the relativistic loss looks at.
    Returns:
        "generator": the loss.
    """
    with frozen(discriminator):
        fake = discriminator(generator(z, *condition), *condition)
        value = loss.generator(discriminator(real, *condition) if loss.paired else fake, fake)
        return {"generator": update(value, optimizer)}


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """While this lasts, gradients flow through the model but not into its weights, which saves a third of the work."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


class GAN:
    """The game: two players, their optimizers, a loss. `step` is what `musicai.train.fit` wants.

    >>> gan = GAN(generator, discriminator, g_optimizer, d_optimizer, loss=wasserstein,
    ...           penalty=gradient_penalty, weight=10, n_critic=5)  # doctest: +SKIP
    >>> fit(gan.step, Batches(audio, 5 * 64), steps=20_000, state=gan.state,
    ...     ema={"generator": 0.999}, checkpoint="runs/wavegan.safetensors")  # doctest: +SKIP

    Args:
        generator: from z and the condition to audio; has `latent(n)`.
        discriminator: from audio and the condition to logits.
        g_optimizer, d_optimizer: of the one and of the other.
        loss: a pair from `musicai.gan`.
        penalty, weight: as in `discriminator_step`.
        every: the penalty is taken at every so many steps of the discriminator, times as heavy ("lazy
            regularisation", Karras et al. 2020, section 4.1).
        n_critic: steps of the discriminator for one of the generator. A batch holds the real sounds of all of them.
    Raises:
        ValueError: `every` or `n_critic` below 1, or a batch that n_critic does not divide.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        *,
        loss: Loss = non_saturating,
        penalty: Callable[..., Tensor] | None = None,
        weight: float = 1.0,
        every: int = 1,
        n_critic: int = 1,
    ):
        if every < 1 or n_critic < 1:
            raise ValueError(f"every={every} and n_critic={n_critic}: give whole numbers of 1 or more")
        self.generator, self.discriminator = generator, discriminator
        self.g_optimizer, self.d_optimizer = g_optimizer, d_optimizer
        self.loss, self.penalty, self.weight, self.every, self.n_critic = loss, penalty, weight, every, n_critic
        self.turns = 0  # steps of the discriminator so far

    def step(self, batch: Tensor | tuple[Tensor, ...] | list[Tensor]) -> dict[str, Tensor]:
        """`n_critic` steps of the discriminator, each on its share of the batch, then one of the generator.

        batch: real sounds (n_critic * B, channels, T), or a tuple of them and their condition.
        """
        real, *_ = batch = [batch] if isinstance(batch, Tensor) else list(batch)
        if len(real) % self.n_critic:
            raise ValueError(f"a batch of {len(real)} cannot be shared by n_critic={self.n_critic} steps")
        losses = {}
        for real, *condition in zip(*(part.chunk(self.n_critic) for part in batch), strict=True):
            losses |= self._discriminator_step(real, condition)
        z = self.generator.latent(len(real))
        return losses | generator_step(
            self.generator, self.discriminator, self.g_optimizer, z, *condition, loss=self.loss, real=real
        )

    def _discriminator_step(self, real: Tensor, condition: list[Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = self.generator(self.generator.latent(len(real)), *condition)
        penalty = self.penalty if self.turns % self.every == 0 else None
        self.turns += 1
        return discriminator_step(
            self.discriminator,
            self.d_optimizer,
            real,
            fake,
            *condition,
            loss=self.loss,
            penalty=penalty,
            weight=self.weight * self.every,
        )

    @property
    def state(self) -> dict[str, object]:
        """What changes in a step, by name: the `state=` of `fit`."""
        players = {"generator": self.generator, "discriminator": self.discriminator}
        return players | {"g_optimizer": self.g_optimizer, "d_optimizer": self.d_optimizer, "gan": self}

    def state_dict(self) -> dict[str, int]:
        return {"turns": self.turns}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.turns = int(state["turns"])
