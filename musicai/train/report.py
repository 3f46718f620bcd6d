"""What a person sees of a run: the expected time, a bar with the losses, TensorBoard."""

import time
from collections.abc import Mapping
from typing import Any

from tqdm.auto import tqdm


class Report:
    """A progress bar for steps `start` to `steps`, and TensorBoard's log where `log_dir` is given."""

    def __init__(self, start: int, steps: int, show: bool, log_dir: Any = None, where: str = ""):
        self.bar = tqdm(
            total=steps, initial=start, disable=not show, desc="train", unit="step", dynamic_ncols=True, mininterval=0.2
        )
        self.writer = _summary_writer(log_dir, start) if log_dir else None
        self.where, self._said, self._mark, self._drawn = where, not show, None, 0.0

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Tell the values of this step; steps since the last call are counted."""
        if self._due(step):
            self.bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
        self.bar.update(step - self.bar.n)
        if self.writer and step % 10 == 0:
            self.log(step, values)
        if not self._said:
            self._estimate(step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values to TensorBoard."""
        for name, value in values.items() if self.writer else ():
            self.writer.add_scalar(name, value, step)

    def say(self, text: str) -> None:
        if not self.bar.disable:
            tqdm.write(text)

    def close(self) -> None:
        self.bar.close()
        if self.writer:
            self.writer.close()

    def _due(self, step: int) -> bool:
        """Whether the bar is about to be drawn: the rest of the time, its text need not be made."""
        now = time.perf_counter()
        if self.bar.disable or (now - self._drawn < self.bar.mininterval and step < self.bar.total):
            return False
        self._drawn = now
        return True

    def _estimate(self, step: int) -> None:
        """Once, early: how long all of it will take. The first steps are left out; they warm up."""
        now = time.perf_counter()
        if self._mark is None:
            self._mark = step, now
        elif step - self._mark[0] >= 3 and now - self._mark[1] >= 0.5:
            each = (now - self._mark[1]) / (step - self._mark[0])
            left = self.bar.total - step
            self.say(f"{left:,} steps to go at {each * 1e3:.3g} ms each: about {_duration(left * each)} {self.where}")
            self._said = True


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"


def _summary_writer(log_dir: Any, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(f"log_dir={str(log_dir)!r} needs TensorBoard: pip install tensorboard") from error
    return SummaryWriter(str(log_dir), purge_step=start + 1)
