"""Kills a training run with SIGKILL again and again, lets it finish, and leaves its last checkpoint beside that of a
run nobody touched: `kill_and_resume.py FOLDER SEED`. Prints how often it killed, as JSON.

torch is imported once; each life of the run is a fork, so a kill costs milliseconds.
"""

import json
import os
import random
import signal
import stat
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from musicai.train import Batches, fit, seed_all, update

STEPS, SAVE_EVERY, KILLS = 120, 4, 6


class NoisyItems(torch.utils.data.Dataset):
    def __len__(self):
        return 50

    def __getitem__(self, index):
        return torch.full((6,), index / 50) + 0.1 * torch.randn(6)


def train(path: Path) -> None:
    """A GAN-like run whose every random draw matters: dropout, noise from three generators, a schedule."""
    seed_all(0)
    generator = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 6))
    critic = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    g_optimizer = torch.optim.AdamW(generator.parameters(), 3e-3)
    c_optimizer = torch.optim.SGD(critic.parameters(), 1e-2, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(g_optimizer, 1e-2, total_steps=STEPS + 1)

    def step(real):
        fake = generator(torch.randn(len(real), 3) + random.random() + np.random.rand())  # noqa: NPY002
        critic_loss = update(critic(fake.detach()).mean() - critic(real).mean(), c_optimizer, max_norm=1.0)
        generator_loss = -critic(fake).mean()
        g_optimizer.zero_grad()
        generator_loss.backward()
        g_optimizer.step()
        schedule.step()
        return {"critic": critic_loss, "generator": generator_loss}

    def listen(run):  # draws from the global generators, and forgets model.train()
        with torch.no_grad():
            return {"listened": generator.eval()(torch.randn(4, 3)).std()}

    fit(
        step,
        Batches(NoisyItems(), 8, seed=7),
        steps=STEPS,
        state={
            "generator": generator,
            "critic": critic,
            "g_optimizer": g_optimizer,
            "c_optimizer": c_optimizer,
            "schedule": schedule,
        },
        checkpoint=path,
        save_every=SAVE_EVERY,
        ema=0.99,
        callbacks=[(10, listen)],
        config={"lr": 3e-3},
        seed=1,
        progress=False,
    )


def fork(work) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def train_and_die_while_saving(path: Path, where: str, after: int) -> None:
    """Die in the `after`-th save: with the file half written, whole but not in place, or just in place."""
    real_fsync, real_replace, saves = os.fsync, os.replace, Counter()

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def fsync(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            saves["n"] += 1
            if saves["n"] == after and where == "half":
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
                die()
        real_fsync(descriptor)

    def replace(source, target):
        if saves["n"] == after and where == "before":
            die()
        real_replace(source, target)
        if saves["n"] == after and where == "after":
            die()

    os.fsync, os.replace = fsync, replace
    train(path)


def main(folder: Path, seed: int) -> None:
    torch.set_num_threads(1)
    rng, kills = random.Random(seed), Counter()
    start = time.monotonic()
    os.waitpid(fork(lambda: train(folder / "untouched.safetensors")), 0)
    whole = time.monotonic() - start
    killed = folder / "killed.safetensors"
    for where in ["half", "before", "after"] * 2:
        _, status = os.waitpid(fork(partial(train_and_die_while_saving, killed, where, rng.randint(2, 4))), 0)
        kills[f"saving: {where}"] += os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    while True:
        child = fork(lambda: train(killed))
        if kills["anywhere"] < KILLS:
            time.sleep(rng.uniform(0, whole / 6))
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0 and kills["anywhere"] >= KILLS:
            break
        if code == 0:
            killed.rename(folder / f"finished-{kills['anywhere']}.safetensors")  # fast machine: begin another run
        elif code != -signal.SIGKILL:
            sys.exit(f"the run failed with exit code {code}")
        kills["anywhere"] += code == -signal.SIGKILL
    print(json.dumps(kills))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
