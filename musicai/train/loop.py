"""`fit`: the one training loop. Read it from top to bottom; each helper is defined below its first use."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from musicai.train import distributed
from musicai.train.batches import numbered
from musicai.train.report import Report
from musicai.train.run import Losses, Run
from musicai.train.seeds import seed_all


def fit(
    step: Callable[[Any], Losses],
    batches: Iterable | Callable[[int], Any],
    *,
    steps: int,
    state: Mapping[str, Any],
    checkpoint: str | Path | None = None,
    save_every: int = 1000,
    minutes: float | None = None,
    precision: str | None = None,
    ema: float | Mapping[str, float] | None = None,
    callbacks: Sequence[tuple[int, Callable[[Run], Losses | None]]] = (),
    log_dir: str | Path | None = None,
    config: Any = None,
    seed: int = 0,
    progress: bool = True,
) -> Run:
    """Call `step(batch)` for `steps` batches, and look after all that surrounds it.

    >>> def step(batch):
    ...     loss = model(batch["audio"].to(device)).square().mean()
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return {"loss": loss}
    >>> run = fit(step, Batches(notes, 64), steps=20_000, state={"model": model, "optimizer": optimizer},
    ...           checkpoint="runs/notes.safetensors")  # doctest: +SKIP

    Args:
        step: one training step in plain PyTorch, with as many models and optimizers as it likes; it returns its losses
            by name. `update(loss, optimizer, max_norm)` is short for zero_grad, backward, clip, step.
        batches: `Batches`, a function n -> batch n, or an iterable (a DataLoader, a list), read again when it ends. The
            first two resume at once; an iterable is read from its beginning up to where the run was.
        steps: the step number to train to, counted from the very first run of this checkpoint.
        state: name -> model, optimizer, schedule, ...: whatever `step` changes and has state_dict / load_state_dict.
        checkpoint: resumed from if the file exists, and saved to: at the start, every `save_every` steps, at the end.
        minutes: stop after this time, saved; the same call later goes on from there.
        precision: None (float32), "bf16", "fp16" (use `update`) or "auto": autocast around `step`.
        ema: decay of a moving average of the weights, one for all models or name -> decay; see `Run.ema`.
        callbacks: (every, function): called with the `Run` after every so many steps and after the last. Numbers that
            it returns by name go into the history. What it does to random generators and train/eval modes is undone.
        log_dir: a folder for TensorBoard.
        config: hyperparameters (dict or dataclass), kept in the checkpoint; to resume with others is an error.
        seed: before step n, torch, numpy and random are seeded from (seed, n, rank).

    The first Ctrl-C ends the step, saves, and raises KeyboardInterrupt; the second stops at once. Under `torchrun`,
    gradients are averaged at each optimizer step (clip with `update`, after the averaging) and rank 0 saves, prints and
    runs the callbacks; BatchNorm statistics stay those of rank 0.

    Raises:
        DivergedError: a loss, gradient norm or weight is not finite; the checkpoint keeps finite weights.
        CheckpointError: the checkpoint cannot be read, does not belong to these settings, or cannot be written.
        ValueError, TypeError: an argument that cannot be meant, before the first step.
    """
    if steps != int(steps):
        raise ValueError(f"steps is {steps!r}: give a whole number")
    _check(save_every, callbacks)
    distributed.join()
    run = Run(steps, state, checkpoint=checkpoint, precision=precision, ema=ema, config=config, seed=seed, data=batches)
    resumed = run.resume()
    report = Report(run.step, steps, progress and run.rank == 0, log_dir if run.rank == 0 else None, f"on {run.device}")
    if resumed:
        report.say(f"going on from step {run.step:,} of {steps:,} in {checkpoint}")
    else:
        run.save()  # a bad path or a full disk shows now, not in an hour
    source = numbered(batches, run.step, seed)
    deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
    stop = False
    with closing(report), closing(source), run.gradients.watched(), _interrupts() as interrupts:
        while run.step < steps and not stop:
            batch = next(source)
            seed_all(seed, run.step, run.rank, 1)
            with torch.autocast(run.device.type, run.dtype, enabled=run.dtype is not None):
                run.took(step(batch))
            save = run.is_due(save_every)
            due = [function for every, function in callbacks if run.is_due(every)]
            if save or due or run.is_due(run.read_every):
                report.show(run.step, run.read())
                stop = distributed.anybody(bool(interrupts) or time.monotonic() >= deadline)
            for function in due if run.rank == 0 else ():
                report.log(run.step, _call(function, run))
            if save or stop:
                run.save()
    seed_all(seed, run.step, run.rank, 1)  # what is drawn next is the same, resumed or not
    distributed.barrier()  # the last checkpoint is there for every process
    if interrupts and run.step < steps:
        raise KeyboardInterrupt(f"stopped after step {run.step:,}; the same call goes on from {checkpoint or 'zero'}")
    return run


def _check(save_every: int, callbacks: Sequence[tuple[int, Callable[[Run], Losses | None]]]) -> None:
    for pair in callbacks:
        if not (isinstance(pair, Sequence) and len(pair) == 2 and callable(pair[1])):
            raise TypeError(f"callbacks holds {pair!r}: give pairs (every, function), as in [(1000, listen)]")
    for name, every in [("save_every", save_every), *(("a callback's every", every) for every, _ in callbacks)]:
        if not every >= 1:
            raise ValueError(f"{name} is {every!r}: give a number of steps of 1 or more")


def _call(function: Callable[[Run], Losses | None], run: Run) -> Losses:
    """Call back, without letting an evaluation that forgets `model.train()` change the training."""
    modes = {m: m.training for part in run.state.values() if isinstance(part, nn.Module) for m in part.modules()}
    try:
        values = dict(function(run) or {})
    finally:
        for module, training in modes.items():
            module.training = training
    run.history.add(run.step, {name: float(value) for name, value in values.items()})
    return values


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C in a list, so that a step and its checkpoint end in good order; the second one is obeyed."""
    seen: list[int] = []

    def note(number: int, _frame: object) -> None:
        seen.append(number)
        if len(seen) > 1:
            raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield seen
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
