"""How the instrument GAN is trained: the relativistic game, and beside it each recording's own z. Chapter 4."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from musicai.gan.instrument import InstrumentDiscriminator, InstrumentGenerator
from musicai.gan.losses import r1_r2, relativistic
from musicai.gan.steps import GAN, frozen
from musicai.train import update

SLOW = 9  # frames, 72 ms


class InstrumentGAN(GAN):
    """The game on curves, warm-started: `step` is what `musicai.train.fit` wants.

    For the first `warm` steps there is no discriminator. Each recording has a z of its own, which is learned with the
    generator so that G(z of the recording, note) is the recording: generative latent optimisation (Bojanowski et al.
    2018). As a recording also stands for its neighbours' pitches, one pitch has several z with several takes. Then the
    game begins, with z drawn afresh; that of the recordings goes on beside it as an anchor, `anchor` times the mean
    absolute difference. Adversarial is what makes every z sound like a note, and not like the mean of several.

    Args:
        generator: its `curves` are trained.
        discriminator: of curves.
        codes: z of the recordings, `nn.Embedding(recordings, z_size)`.
        g_optimizer: of generator and codes; d_optimizer: of the discriminator.
        warm: steps without a game.
        anchor: weight of the recordings' own z, during the game.
        weight: gamma of R1 + R2, taken at every fourth step.
        jitter: standard deviation of the noise added to a recording's z of length sqrt(z_size).
    """

    def __init__(
        self,
        generator: InstrumentGenerator,
        discriminator: InstrumentDiscriminator,
        codes: nn.Embedding,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        *,
        warm: int = 2000,
        anchor: float = 10.0,
        weight: float = 0.5,
        every: int = 4,
        jitter: float = 0.3,
    ):
        super().__init__(
            generator.curves,
            discriminator,
            g_optimizer,
            d_optimizer,
            loss=relativistic,
            penalty=r1_r2,
            weight=weight,
            every=every,
        )
        self.instrument, self.codes, self.warm, self.anchor, self.jitter = generator, codes, warm, anchor, jitter
        self.steps = 0

    def step(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """One step, of batch (curves, pitch, instrument, velocity, recording) as `CurveNotes` gives it."""
        real, *condition, recording = (part.to(self.codes.weight.device) for part in batch)
        losses, playing = {}, self.steps >= self.warm
        self.steps += 1
        if playing:
            losses |= self._discriminator_step(real, condition)
        with frozen(self.discriminator):
            total = 0.0
            if playing:
                fake = self.discriminator(self.generator(self.generator.latent(len(real)), *condition), *condition)
                losses["generator"] = total = self.loss.generator(self.discriminator(real, *condition), fake)
            if self.anchor or not playing:
                share = slice(0, len(real) // 2 if playing else len(real))
                distance = self.distance(real[share], recording[share], *(part[share] for part in condition))
                losses["distance"] = distance
                total = total + (self.anchor if playing else 10.0) * distance
            update(total, self.g_optimizer)
        return {name: value.detach() for name, value in losses.items()}

    def distance(self, real: Tensor, recording: Tensor, *condition: Tensor) -> Tensor:
        """Mean absolute difference between recordings and what the generator makes of their z; slow, in the game."""
        z = F.normalize(self.codes(recording), dim=1) * self.codes.embedding_dim**0.5
        z = z + self.jitter * torch.randn_like(z)
        difference = real - self.generator(z, *condition)
        if self.steps > self.warm:
            difference = F.avg_pool1d(difference, SLOW, 1, SLOW // 2, count_include_pad=False)
        return difference.abs().mean()

    @property
    def state(self) -> dict[str, object]:
        """What changes in a step, by name: the `state=` of `fit`."""
        return super().state | {"generator": self.instrument, "codes": self.codes}

    def state_dict(self) -> dict[str, int]:
        return super().state_dict() | {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        super().load_state_dict(state)
        self.steps = int(state["steps"])
