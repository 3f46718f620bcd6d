"""A small WaveGAN that `torchrun` trains in two processes (all_ranks.py), or a test in one."""

import os
from pathlib import Path

import torch

from musicai import gan
from musicai.train import Batches, fit, seed_all

STEPS = 4


class Items(torch.utils.data.Dataset):
    """A sound and its z: drawn here, where each item has its own seed on any rank."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return torch.randn(1, 16_384) / 4, torch.rand(4) * 2 - 1


class Generator(gan.WaveGANGenerator):
    """Takes the z that comes with the batch, as a condition."""

    def forward(self, nothing, z):
        return super().forward(z)


class Discriminator(gan.WaveGANDiscriminator):
    def forward(self, x, z):
        return super().forward(x)


def train(path: Path):
    torch.set_num_threads(1)
    seed_all(int(os.environ.get("RANK", 0)))  # ranks begin with different weights
    generator, discriminator = Generator(1, z_size=4), Discriminator(1, shuffle=0)
    adam = [torch.optim.Adam(model.parameters(), 1e-3, (0.5, 0.9)) for model in (generator, discriminator)]
    game = gan.GAN(
        generator, discriminator, *adam, loss=gan.relativistic, penalty=gan.r1_r2, every=2, weight=0.1, n_critic=2
    )
    options = {"ema": {"generator": 0.9}, "checkpoint": path, "save_every": 2, "progress": False}
    return fit(game.step, Batches(Items(), 8, seed=3), steps=STEPS, state=game.state, **options)
