"""`fit`: the one training loop. Read it from top to bottom; each helper is defined below its first use."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from numbers import Real
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from musicai.train import distributed
from musicai.train.batches import numbered, seed_all
from musicai.train.run import Losses, TrainingRun

Callback = Callable[[TrainingRun], Losses | None]


def fit(
    step: Callable[..., Losses], batches: Iterable | Callable, *, steps: int, state: Mapping,
    checkpoint: str | Path | None = None, save_every: int = 1000, precision: str | None = None,
    ema: float | Mapping[str, float] | None = None, callbacks: Sequence[tuple[int, Callback]] = (),
    config=None, seed: int = 0, progress: bool = True,
) -> TrainingRun:  # fmt: skip
    """Call `step(batch)` for `steps` batches and take care of everything else.

    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
    >>> def step(x):
    ...     loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return {"loss": loss}
    >>> state = {"model": model, "optimizer": optimizer}
    >>> run = fit(step, lambda n: torch.randn(8, 3), steps=100, state=state, progress=False)
    >>> run.history["loss"][-1] < run.history["loss"][0]
    True

    With `checkpoint=`, a run is safe to interrupt; rerun to resume. The first Ctrl-C finishes the step, saves and
    raises KeyboardInterrupt; the second stops at once. A resumed run ends with the same bits as an unbroken one (on a
    GPU, as far as its kernels are deterministic). Under `torchrun`, gradients are averaged at each optimizer step (use
    `update` to clip after the averaging), and rank 0 saves, prints and runs the callbacks; BatchNorm statistics are
    those of rank 0.

    Args:
        step: one training step in plain PyTorch, with any number of models and optimizers; returns its losses by name.
            `update(loss, optimizer, max_norm)` is short for zero_grad, backward, clip and step.
        batches: `Batches`, a function n -> batch n, or an iterable (a DataLoader, a list) that is restarted when it
            ends. The first two resume at once; an iterable is reread up to the point that the run had reached.
        steps: the step to train to, counted from the very beginning of the run.
        state: name -> model, optimizer, schedule, ...: everything that `step` changes and that has state_dict() and
            load_state_dict().
        checkpoint: the file to resume from, if it exists, and to save to at the start, every `save_every` steps and at
            the end.
        save_every: steps between checkpoints.
        precision: None (float32), "bf16", "fp16" (needs `update`) or "auto" (the best that the device has in
            hardware), for the autocast around `step`.
        ema: decay of an exponential moving average of the weights, for all models or as name -> decay; see
            `TrainingRun.ema`.
        callbacks: pairs (every, function): each function is called with the `TrainingRun` after that many steps and
            after the last. Any numbers that it returns by name go into the history. It cannot disturb training:
            random generators and train/eval modes are restored.
        config: hyperparameters (a dict of plain data) to keep in the checkpoint; resuming with others is an error.
        seed: torch, numpy and random are seeded from (seed, n, rank) before step n.
        progress: whether to show a bar with the losses and the time left.

    Returns: the `TrainingRun`, with its history and averaged models.

    Raises:
        DivergedError: if a loss, gradient norm or weight is not finite; the checkpoint keeps finite weights.
        CheckpointError: if the checkpoint cannot be read or written, or was made with other settings.
        ValueError: if an argument is invalid; raised before the first step.
        TypeError: if a part of `state` cannot be saved, or `step` does not return its losses by name.
        KeyboardInterrupt: after Ctrl-C, once the step is done and saved.

    Chapters 3 to 5 and 7.
    """
    intervals = [("a callback's interval", every, 1) for every, _ in callbacks]
    for name, value, least in (("steps", steps, 0), ("seed", seed, 0), ("save_every", save_every, 1), *intervals):
        if not isinstance(value, Real) or value % 1 or value < least:
            raise ValueError(f"{name} must be a whole number, {least} or more, not {value!r}")
    distributed.join()
    settings = {"config": config, "seed": seed, "batches": getattr(batches, "settings", None)}
    run = TrainingRun(steps, state, checkpoint, precision, ema, settings)
    if not run.resume():
        run.save()  # so that a bad path or a full disk shows up now, not in an hour
    hidden, interrupted = not progress or run.rank != 0, False
    bar = tqdm(total=steps, initial=run.step, disable=hidden, desc="train", unit="step", mininterval=0.2)
    with bar, closing(numbered(batches, run.step, seed)) as source, run.watched(), _ctrl_c() as presses:
        while not run.finished and not interrupted:
            batch = next(source)
            seed_all(seed, run.step, run.rank, 1)
            with torch.autocast(run.device.type, run.dtype, enabled=run.dtype is not None):
                run.record(step(batch))
            due = [function for every, function in callbacks if run.is_due(every)]
            if due or run.is_due(save_every) or run.is_due(run.read_every):
                losses = run.read()
                if bar.update(run.step - bar.n) or run.finished:
                    bar.set_postfix(losses)
                interrupted = distributed.any_process(bool(presses))
            for function in due if run.rank == 0 else ():
                _call(function, run)
            if run.is_due(save_every) or interrupted:
                run.save()
    seed_all(seed, run.step, run.rank, 1)  # so that what is drawn after `fit` is the same, resumed or not
    distributed.any_process(False)  # wait until every process can see the last checkpoint
    if interrupted and not run.finished:
        raise KeyboardInterrupt(f"stopped after step {run.step:,}; rerun to resume from {checkpoint or 'the start'}")
    return run


def _call(function: Callback, run: TrainingRun) -> None:
    """Run a callback, without letting one that forgets `model.train()` affect the training."""
    with modes_kept(*(part for part in run.state.values() if isinstance(part, nn.Module))):
        values = function(run) or {}
    run.add(run.step, {name: float(value) for name, value in values.items()})


@contextmanager
def modes_kept(*models: nn.Module) -> Iterator[None]:
    """Restore the train or eval mode of every part of the models afterwards, even after an error or Ctrl-C."""
    modes = {module: module.training for model in models for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _ctrl_c() -> Iterator[list[int]]:
    """Collect the first Ctrl-C in a list, so that the step and its checkpoint can finish; obey the second."""
    presses: list[int] = []
    default, main = signal.default_int_handler, threading.current_thread() is threading.main_thread()

    def handle(number: int, _frame: object) -> None:
        presses.append(number)
        signal.signal(signal.SIGINT, default)

    with ExitStack() as stack:
        if main and signal.getsignal(signal.SIGINT) is default:
            signal.signal(signal.SIGINT, handle)
            stack.callback(signal.signal, signal.SIGINT, default)
        yield presses
