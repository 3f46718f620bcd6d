"""What the two players of a GAN minimise, as functions of the discriminator's logits. Chapter 4.

D returns a logit: sigmoid(D) is the probability that a sound is real, and a Wasserstein critic's score is the logit
itself. A `Loss` is a pair of functions, `loss.discriminator(real, fake)` and `loss.generator(real, fake)`, of logits
(B, 1) or (B,). A penalty is a function ``(discriminator, real, fake, *condition)`` of sounds; its value is weighted and
added to the discriminator's loss.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus


class Loss(NamedTuple):
    """The two losses of one game, each a function of the logits (real, fake).

    >>> loss = Loss(hinge_discriminator, wasserstein_generator)
    >>> loss.discriminator(torch.ones(4, 1), -torch.ones(4, 1))
    tensor(0.)

    Attributes:
        discriminator: what the discriminator minimises.
        generator: what the generator minimises.
        paired: whether the generator's loss also depends on the real logits.

    Chapter 4.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    paired: bool = False


def logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log s(D(x)) - E log(1 - s(D(G(z)))), with s the sigmoid: the cross-entropy of "real or generated?".

    For the best discriminator, s(D) = p / (p + q), it equals log 4 - 2 JSD(p, q) (Goodfellow et al. 2014, equation 1
    and theorem 1). With u = D, -log s(u) = softplus(-u), which never overflows.
    """
    return softplus(-real).mean() + softplus(fake).mean()


def minimax_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E log(1 - s(D(G(z)))): the same game with the opposite sign (Goodfellow et al. 2014, equation 1).

    Its gradient in the logit u is -s(u), which vanishes when the discriminator is sure, as it is early in training.
    """
    return -softplus(fake).mean()


def non_saturating_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log s(D(G(z))) (Goodfellow et al. 2014, section 3): its gradient in the logit u is s(u) - 1.

    It has the same fixed point as the minimax game, and a strong gradient when the discriminator is sure.
    """
    return softplus(-fake).mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) (Lim and Ye 2017; Miyato et al. 2018, equation 16)."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E D(G(z)) - E D(x) (Arjovsky et al. 2017, equation 2): minus the Wasserstein distance, if D is 1-Lipschitz.

    `gradient_penalty` keeps D close to that.
    """
    return fake.mean() - real.mean()


def wasserstein_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E D(G(z)): the generator's loss in both the Wasserstein and the hinge game."""
    return -fake.mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(D(G(z)) - D(x)) over pairs: does the real sound of each pair get the higher logit?

    The relativistic pairing GAN (RSGAN in Jolicoeur-Martineau 2018; R3GAN, Huang et al. 2024, equation 2). Use it with
    `r1_r2`.
    """
    return softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(D(x) - D(G(z))): the same pairs, reversed (for sources, see `relativistic_discriminator`)."""
    return softplus(real - fake).mean()


#: Goodfellow et al. 2014, equation 1: the game as it is derived. Its generator stalls.
minimax = Loss(logistic_discriminator, minimax_generator)
#: Goodfellow et al. 2014, section 3: the game as it is played in practice.
non_saturating = Loss(logistic_discriminator, non_saturating_generator)
#: Lim and Ye 2017; Miyato et al. 2018.
hinge = Loss(hinge_discriminator, wasserstein_generator)
#: Arjovsky et al. 2017; with `gradient_penalty` at weight 10, Gulrajani et al. 2017 (WGAN-GP).
wasserstein = Loss(wasserstein_discriminator, wasserstein_generator)
#: Jolicoeur-Martineau 2018; with `r1_r2`, Huang et al. 2024 (R3GAN).
relativistic = Loss(relativistic_discriminator, relativistic_generator, paired=True)


def gradient_penalty(discriminator: Callable[..., Tensor], real: Tensor, fake: Tensor, *condition: Tensor) -> Tensor:
    """The penalty of WGAN-GP: ``E (|grad D(x')| - 1)^2`` at random points x' between real and generated sounds.

    >>> gradient_penalty(lambda x: 3 * x.sum(1, keepdim=True), torch.ones(4, 1), torch.zeros(4, 1)).item()
    4.0

    ``x' = e x + (1 - e) G(z)`` with e uniform in [0, 1] for each pair; the norm is taken over each whole example.

    Args:
        discriminator: from sounds (B, ...) and the condition to logits (B, 1).
        real: (B, ...) recorded sounds.
        fake: (B, ...) generated sounds.
        condition: what both were made for, if anything.

    Returns:
        A scalar, differentiable in the discriminator's weights; the paper weights it by 10.

    Source: Gulrajani et al. 2017, equation 3.
    Chapter 4.
    """
    e = torch.rand(len(real), *[1] * (real.ndim - 1), dtype=real.dtype, device=real.device)  # (B, 1, ...)
    squared_norm = squared_gradient_norm(discriminator, torch.lerp(fake, real, e), *condition)
    return (squared_norm.clamp_min(1e-12).sqrt() - 1).square().mean()  # the root has no finite slope at 0


def r1(discriminator: Callable[..., Tensor], real: Tensor, fake: Tensor, *condition: Tensor) -> Tensor:
    """The R1 penalty: ``1/2 E |grad D(x)|^2`` at the real sounds.

    >>> r1(lambda x: 3 * x.sum(1, keepdim=True), torch.ones(4, 1), torch.zeros(4, 1)).item()
    4.5

    Args:
        discriminator, real, fake, condition: as for `gradient_penalty`; `fake` is not used.

    Returns:
        A scalar, differentiable in the discriminator's weights; its weight is the paper's gamma.

    Source: Mescheder et al. 2018, equation 9.
    Chapter 4.
    """
    return squared_gradient_norm(discriminator, real, *condition).mean() / 2


def r1_r2(discriminator: Callable[..., Tensor], real: Tensor, fake: Tensor, *condition: Tensor) -> Tensor:
    """R1 at the real and at the generated sounds (there it is called R2); the relativistic game needs both.

    >>> r1_r2(lambda x: 3 * x.sum(1, keepdim=True), torch.ones(4, 1), torch.zeros(4, 1)).item()
    9.0

    Args:
        discriminator, real, fake, condition: as for `gradient_penalty`.

    Returns:
        A scalar, differentiable in the discriminator's weights; its weight is the paper's gamma.

    Source: Mescheder et al. 2018, equations 9 and 10; Huang et al. 2024, section 2.2.
    Chapter 4.
    """
    return r1(discriminator, real, fake, *condition) + r1(discriminator, fake, real, *condition)


def squared_gradient_norm(discriminator: Callable[..., Tensor], x: Tensor, *condition: Tensor) -> Tensor:
    """``|grad_x D(x)|^2`` of each example, shape (B,), with a graph so that it can be minimised over D's weights."""
    x = x.detach().requires_grad_()
    uncompiled = getattr(discriminator, "forward", discriminator)  # torch.compile has no second derivative
    logits = uncompiled(x, *condition)
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    gradient = gradient.to(torch.promote_types(gradient.dtype, torch.float32))  # squares overflow in fp16
    return gradient.flatten(1).square().sum(1)
