"""Fit a renderer's partials in minutes: solve for each recording's curves, then teach them to the network.

    python scripts/fit_partials.py curves.pt                                   # least squares, note by note
    python scripts/fit_partials.py curves.pt --out partials.pt --seconds 600   # regression on the curves

To compare waveforms would take 160 samples for each answer of the network. But a sampled note is one recording, and if
the drift is known, the levels that fit it best are linear unknowns: 24 to 40 curves for their sines and cosines,
straight lines between points 10 ms apart. So we solve for them once, and the network learns the curves themselves, at
any time of any note, held or let go. `musicai train renderer` takes the partials that this script gave the shipped
model. Chapter 5.
"""

import argparse
import itertools
import math
import time
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, lsqr
from torch import Tensor

from musicai.notes import Note, Score, Track, midi_to_hz
from musicai.performance import PROGRAMS, render
from musicai.performance.sampled import BEHAVIOUR, END, layers, loop_of, nearest
from musicai.recipes.renderer import HOP, INSTRUMENTS, SKETCH
from musicai.recipes.shared import SR
from musicai.wavenet import Partials
from musicai.wavenet.lookup import KEYS, LOWEST

EDGES = END // HOP + 2  # points 10 ms apart, up to the first behind the loop's end
STIFF = 3.0  # what a bend in a curve costs, beside an error in the sound


def wave(instrument: str, pitch: int, velocity: int) -> np.ndarray:
    """A note held for three seconds."""
    note = Note(pitch, 0.0, 6.0, velocity)
    return (render(Score((Track((note,), program=PROGRAMS.index(instrument)),))).mean(0) * 2**0.5).double().numpy()


def loops() -> Tensor:
    """Where the sampler's loops end, and their lengths, in seconds, for each instrument and key: (176, 2)."""
    found = []
    for name, key in itertools.product(INSTRUMENTS, range(LOWEST, LOWEST + KEYS)):
        sampled = nearest(layers(name), key)
        faster, entry = 2 ** ((key - sampled) / 12), layers(name)[sampled][75]
        found.append((END / SR / faster, loop_of(entry.file, entry.slot)[1] / SR / faster))
    return torch.tensor(found)


def drift_of(x: np.ndarray, hertz: float) -> np.ndarray:
    """The drift of the fundamental in turns, at the edges of the frames: its smoothed phase."""
    t = np.arange(len(x))
    turned = x * np.exp(-2j * np.pi * hertz * t / SR)
    window = np.hanning(max(4 * HOP, int(4 * SR / hertz)) | 1)
    slow = np.convolve(turned, window, mode="same")[: EDGES * HOP : HOP]
    for _ in range(2):  # smooth the curve where it turns, not where it is loud
        slow = np.convolve(np.pad(slow, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    phase = np.unwrap(np.angle(slow))
    loud = np.abs(slow) > 0.1 * np.abs(slow).max()
    first = int(loud.argmax())
    phase[:first] = phase[first]  # before it speaks, its phase is noise
    return (phase - phase[EDGES // 2]) / (2 * np.pi)


def levels_of(x: np.ndarray, hertz: float, drift: np.ndarray, first: int, count: int) -> np.ndarray:
    """Levels (2 x count, frames + 1) from the frame `first` on that fit x best, if they bend as little as possible."""
    frames, some = len(x) // HOP, min(count, math.ceil(SR / 2 / hertz) - 1)
    n = np.arange(frames * HOP)
    frame, within = n // HOP, n % HOP / HOP
    turns = hertz * (first * HOP + n) / SR + (1 - within) * drift[first + frame] + within * drift[first + frame + 1]
    angles = 2 * np.pi * np.arange(1, some + 1)[:, None] * turns
    waves = np.concatenate([np.sin(angles), np.cos(angles)])

    def sound(c):
        c = c.reshape(2 * some, frames + 1)
        made = (waves * ((1 - within) * c[:, frame] + within * c[:, frame + 1])).sum(0)
        return np.concatenate([made, STIFF * np.diff(c, 2, axis=1).ravel()])

    def back(y):
        both = (waves * y[: len(n)]).reshape(2 * some, frames, HOP)
        out = np.zeros((2 * some, frames + 1))
        out[:, :-1] += both @ (1 - within[:HOP])
        out[:, 1:] += both @ within[:HOP]
        bends = STIFF * y[len(n) :].reshape(2 * some, frames - 1)
        out[:, :-2], out[:, 1:-1], out[:, 2:] = out[:, :-2] + bends, out[:, 1:-1] - 2 * bends, out[:, 2:] + bends
        return out.ravel()

    shape = (len(n) + 2 * some * (frames - 1), 2 * some * (frames + 1))
    solved = lsqr(LinearOperator(shape, sound, back), np.append(x[: len(n)], np.zeros(shape[0] - len(n))), iter_lim=50)
    c, levels = solved[0].reshape(2, some, frames + 1), np.zeros((2, count, frames + 1))
    levels[:, :some] = c
    return levels.reshape(2 * count, frames + 1)


def curves_of(name: str, pitch: int, velocity: int, count: int = SKETCH["partials"]) -> dict[str, np.ndarray]:
    """The curves (2 x count + 1, edges) of a recording's first pass, and of all later ones, for velocity 127."""
    x = wave(name, pitch, velocity) * (127 / velocity) ** 2
    entry, hertz = layers(name)[pitch][velocity], midi_to_hz(pitch)
    period, drift = loop_of(entry.file, entry.slot)[1], drift_of(x, hertz)
    begin = (END - period) // HOP
    once = levels_of(x[: (EDGES - 1) * HOP], hertz, drift, 0, count)
    later = x[begin * HOP + period :][: (EDGES - 1 - begin) * HOP]
    again = np.concatenate([once[:, :begin], levels_of(later, hertz, drift, begin, count)], axis=1)
    known = {"curves": np.vstack([once, drift]), "again": np.vstack([again, drift])}
    who = INSTRUMENTS.index(name) * KEYS + pitch - LOWEST
    return known | {"who": np.array(who), "power": np.square(x[: 2 * SR]).mean()}


def solve(processes: int) -> dict[str, Tensor]:
    """The curves of all recordings, stacked. A flute's recordings of one pitch are one, at three gains."""
    velocities = {name: (75,) if name == "flute" else (50, 75, 100) for name in INSTRUMENTS}
    jobs = [(name, pitch, v) for name in INSTRUMENTS for pitch in sorted(layers(name)) for v in velocities[name]]
    with Pool(processes) as pool:
        found = pool.starmap(curves_of, jobs, chunksize=1)
    return {key: torch.tensor(np.array([one[key] for one in found])).float() for key in found[0]}


class Questions:
    """Random questions to the network, with the right answers: any key, velocity, age, and time since the end."""

    def __init__(self, curves: dict[str, Tensor], ends: Tensor, device: str):
        both = torch.stack([curves["curves"], curves["again"]]).transpose(2, 3)  # (2, notes, edges, 2 x count + 1)
        self.table, self.power, self.ends = both.contiguous().to(device), curves["power"].to(device), ends
        notes, faster, often = [], [], []
        for i, name in enumerate(INSTRUMENTS):
            for key in range(LOWEST, LOWEST + KEYS):
                pitch = nearest(layers(name), key)
                mine = (curves["who"] == i * KEYS + pitch - LOWEST).nonzero()[:, 0].tolist()
                notes.append(mine * (3 // len(mine)))
                faster.append(2 ** ((key - pitch) / 12))  # a key without a recording plays a neighbour's faster
                often.append(1.0 if key == pitch else 0.1)
        self.notes, self.faster = torch.tensor(notes, device=device), torch.tensor(faster, device=device)
        self.often = torch.tensor(often, device=device)
        falls = [BEHAVIOUR[name]["release"] for name in INSTRUMENTS]
        self.falls, self.layers = torch.tensor(falls, device=device), torch.tensor([62.5, 87.5], device=device)

    def ask(self, n: int) -> tuple[tuple, Tensor, Tensor]:
        """n questions, their answers (n, 2 x count + 1) for velocity 127, and the answers' weights (n,)."""
        who = torch.multinomial(self.often, n, replacement=True)
        some = torch.rand(5, n, device=who.device)
        velocity = 1 + (127 * some[0]).floor()
        end, length = self.ends[who].unbind(1)
        rounds = (some[1] < 0.35).float()
        start = (end - length) * rounds
        age = start + some[2] * torch.where(some[3] < 0.15, 0.06 * torch.ones_like(end), end + 0.01 - start)
        ended = torch.where(some[4] < 0.3, 0.25 * (some[4] / 0.3).square(), -1.0)
        note = self.notes[who, torch.bucketize(velocity, self.layers)]
        place = (age * self.faster[who] * SR / HOP).clamp(max=EDGES - 1.001)
        edge = place.long()
        known = torch.lerp(
            self.table[rounds.long(), note, edge], self.table[rounds.long(), note, edge + 1], (place - edge)[:, None]
        )
        fall = torch.cos(0.5 * math.pi * (ended / self.falls[who // KEYS]).clamp(0, 1)) ** 4
        known = torch.cat([known[:, :-1] * fall[:, None], known[:, -1:]], dim=1)
        return (who, velocity / 127, age, ended, rounds), known, 1 / self.power[note]


def learn(partials: Partials, curves: dict[str, Tensor], seconds: float, batch: int, peak: float, save: Path):
    """Regression for so many seconds: the error in power of each answer's sound, as a share of its note's."""
    device = next(partials.parameters()).device
    questions = Questions(curves, partials.loops, device)
    optimizer = torch.optim.Adam(partials.parameters(), peak, betas=(0.9, 0.98))
    begin, n, average = time.perf_counter(), 0, [p.detach().clone() for p in partials.parameters()]
    orders = torch.arange(1, partials.count + 1, device=device).repeat(2)
    while (gone := (time.perf_counter() - begin) / seconds) < 1:
        optimizer.param_groups[0]["lr"] = peak * min(1, (n + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * gone)))
        asked, known, weight = questions.ask(batch)
        said = partials.predict(*asked)[1]
        velocity = asked[1][:, None] ** 2
        off = (said[:, :-1] / velocity - known[:, :-1]).square().sum(1) / 2
        bent = 2 * math.pi * (said[:, -1] - known[:, -1])  # a drift moves every partial by its order
        off = off + 0.5 * (bent[:, None] * orders * known[:, :-1]).square().sum(1)
        loss = (off * weight).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(partials.parameters(), 1.0)
        optimizer.step()
        n += 1
        with torch.no_grad():
            torch._foreach_lerp_(average, list(partials.parameters()), 0.002 if n > 500 else 0.05)
        if n % 500 == 0:
            decibels = 10 * math.log10(loss.item())
            print(f"{n} steps, {gone * seconds:.0f} s: {decibels:.2f} dB left", flush=True)
            torch.save(partials.state_dict(), save)
    with torch.no_grad():
        for p, mean in zip(partials.parameters(), average, strict=True):
            p.copy_(mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("curves", type=Path, help="the curves of all recordings; solved for if there is no such file")
    parser.add_argument("--out", type=Path, help="where the fitted partials go")
    parser.add_argument("--start", type=Path, help="partials to begin with")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--processes", type=int, default=1, help="to solve with")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--peak", type=float, default=3e-3, help="the peak learning rate")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if not args.curves.exists():
        torch.save(solve(args.processes), args.curves)
    if args.out:
        torch.manual_seed(0)
        keys = range(LOWEST, LOWEST + KEYS)
        shape = len(INSTRUMENTS), SR, HOP, SKETCH["partials"], SKETCH["partial_channels"]
        partials = Partials(keys, *shape)
        partials.loops.copy_(loops())
        if args.start:
            partials.load_state_dict(torch.load(args.start))
        learn(partials.to(args.device), torch.load(args.curves), args.seconds, args.batch, args.peak, args.out)
        torch.save({name: value.cpu() for name, value in partials.state_dict().items()}, args.out)


if __name__ == "__main__":
    main()
