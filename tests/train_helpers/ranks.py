"""A GAN-like run to be started by `torchrun` or called in one process: `ranks.py FOLDER [kill]`."""

import io
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from musicai.train import Batches, fit, seed_all, update

STEPS = 12


class Items(torch.utils.data.Dataset):
    """Real things and the noise to fake them from: drawn here, where each item has its own seed on any rank."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return {"real": torch.full((4,), index / 40) + 0.1 * torch.randn(4), "noise": torch.randn(3)}


def train(path: Path, steps: int = STEPS, die_at: int = 0, called=lambda run: None):
    seed_all(0 if path.exists() else int(os.environ.get("RANK", 0)))  # ranks begin with different weights
    generator = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 4))
    critic = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(), nn.Linear(16, 1))
    critic.register_parameter("unused", nn.Parameter(torch.randn(2)))  # never has a gradient
    g_optimizer = torch.optim.Adam(generator.parameters(), 1e-2)
    c_optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    taken = []

    def step(batch):
        taken.append(batch)
        if len(taken) == die_at and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        fake = generator(batch["noise"])
        critic_loss = nn.functional.softplus(critic(fake.detach())) + nn.functional.softplus(-critic(batch["real"]))
        critic_loss = update(critic_loss.mean(), c_optimizer, max_norm=0.5)
        generator_loss = nn.functional.softplus(-critic(fake)).mean()
        g_optimizer.zero_grad()
        generator_loss.backward()
        g_optimizer.step()
        return {"critic": critic_loss, "generator": generator_loss}

    state = {"generator": generator, "critic": critic, "g_optimizer": g_optimizer, "c_optimizer": c_optimizer}
    batches = Batches(Items(), 8, seed=3)
    return fit(step, batches, steps=steps, state=state, checkpoint=path, save_every=3, ema=0.9, callbacks=[(5, called)])


def main(folder: Path, kill: bool) -> None:
    torch.set_num_threads(1)
    rank = os.environ["RANK"]
    sys.stderr = io.StringIO()  # where the progress bar goes
    if kill:
        train(folder / "killed", die_at=8)
        return
    called = []
    train(folder / "two", called=lambda run: called.append(run.step))
    train(folder / "one_then_two")
    (folder / f"said-{rank}").write_text(f"{called} {sys.stderr.getvalue()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "kill" in sys.argv)
