"""What the two players of a GAN minimise, as functions of the discriminator's logits.

D gives a logit: sigmoid(D) is its probability that a sound is real, and a Wasserstein critic's score is the logit as it
is. Every loss is a pair, `loss.discriminator(real, fake)` and `loss.generator(real, fake)`, of logits (B, 1) or (B,).
Every penalty is a function ``(discriminator, real, fake, *condition)`` of sounds, to be weighted and added to the
discriminator's loss. Chapter 4.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

Critic = Callable[..., Tensor]


class Loss(NamedTuple):
    """One game: what the discriminator and what the generator minimises, each from the logits (real, fake)."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    paired: bool = False  # whether the generator's loss looks at the real logits


def logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log s(D(x)) - E log(1 - s(D(G(z)))), s the sigmoid: cross-entropy, real against generated.

    At the best discriminator, s(D) = p / (p + q), it is log 4 - 2 JSD(p, q) (Goodfellow et al. 2014, equation 1 and
    theorem 1). With u = D, -log s(u) = softplus(-u), which never overflows.
    """
    return softplus(-real).mean() + softplus(fake).mean()


def minimax_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E log(1 - s(D(G(z)))): the same game, other sign (Goodfellow et al. 2014, equation 1).

    Its gradient in the logit u is -s(u): it vanishes where the discriminator is sure, which is how training begins.
    """
    return -softplus(fake).mean()


def non_saturating_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log s(D(G(z))) (Goodfellow et al. 2014, section 3): its gradient in the logit u is s(u) - 1.

    The same fixed point as the minimax game, and a strong gradient where the discriminator is sure.
    """
    return softplus(-fake).mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) (Lim and Ye 2017; Miyato et al. 2018, equation 16)."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E D(G(z)) - E D(x) (Arjovsky et al. 2017, equation 2): minus the distance, if D is 1-Lipschitz.

    `gradient_penalty` holds D there.
    """
    return fake.mean() - real.mean()


def score_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E D(G(z)): the generator of the hinge and of the Wasserstein game."""
    return -fake.mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(D(G(z)) - D(x)) over pairs: is the real one of the two the more real?

    The relativistic pairing GAN (RSGAN in Jolicoeur-Martineau 2018; R3GAN, Huang et al. 2024, equation 2). It is used
    with `r1_r2`.
    """
    return softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(D(x) - D(G(z))): the same pairs, other way round (sources as `relativistic_discriminator`)."""
    return softplus(real - fake).mean()


#: Goodfellow et al. 2014, equation 1: the game as it is derived. Its generator stalls.
minimax = Loss(logistic_discriminator, minimax_generator)
#: Goodfellow et al. 2014, section 3: the game as it is played.
non_saturating = Loss(logistic_discriminator, non_saturating_generator)
#: Lim and Ye 2017; Miyato et al. 2018.
hinge = Loss(hinge_discriminator, score_generator)
#: Arjovsky et al. 2017; with `gradient_penalty` weighted 10, Gulrajani et al. 2017.
wasserstein = Loss(wasserstein_discriminator, score_generator)
#: Jolicoeur-Martineau 2018; with `r1_r2`, Huang et al. 2024.
relativistic = Loss(relativistic_discriminator, relativistic_generator, paired=True)


def gradient_penalty(discriminator: Critic, real: Tensor, fake: Tensor, *condition: Tensor) -> Tensor:
    """``E (|grad D(x')| - 1)^2`` at ``x' = e x + (1 - e) G(z)``, e uniform in [0, 1] for each pair.

    Source: Gulrajani et al. 2017, equation 3 ("WGAN-GP"; weight 10). The norm is over all of one example.
    """
    e = torch.rand(len(real), *[1] * (real.ndim - 1), dtype=real.dtype, device=real.device)  # (B, 1, ...)
    slopes = squared_slopes(discriminator, torch.lerp(fake, real, e), *condition)
    return (slopes.clamp_min(1e-12).sqrt() - 1).square().mean()  # the root's slope at 0 is infinite


def r1(discriminator: Critic, real: Tensor, fake: Tensor, *condition: Tensor) -> Tensor:
    """``1/2 E |grad D(x)|^2`` over real x; its weight is gamma (Mescheder et al. 2018, equation 9)."""
    return squared_slopes(discriminator, real, *condition).mean() / 2


def r2(discriminator: Critic, real: Tensor, fake: Tensor, *condition: Tensor) -> Tensor:
    """``1/2 E |grad D(G(z))|^2`` over generated ones; its weight is gamma (Mescheder et al. 2018, equation 10)."""
    return squared_slopes(discriminator, fake, *condition).mean() / 2


def r1_r2(discriminator: Critic, real: Tensor, fake: Tensor, *condition: Tensor) -> Tensor:
    """R1 + R2, which the relativistic game needs to converge (Huang et al. 2024, section 2.2)."""
    return r1(discriminator, real, fake, *condition) + r2(discriminator, real, fake, *condition)


def squared_slopes(discriminator: Critic, x: Tensor, *condition: Tensor) -> Tensor:
    """``|grad_x D(x)|^2`` of each example, shape (B,), with a graph, so that it can be minimised in D's weights."""
    x = x.detach().requires_grad_()
    plain = getattr(discriminator, "forward", discriminator)  # what torch.compile makes has no second derivative
    logits = plain(x, *condition)
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    slope = slope.to(torch.promote_types(slope.dtype, torch.float32))  # a sum of squares overflows in fp16
    return slope.flatten(1).square().sum(1)
