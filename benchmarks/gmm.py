"""Gaussian mixtures: seconds per EM step and to convergence, musicai.gmm against its peers, in the same run.

    python benchmarks/gmm.py [--quick] [--repeat 3] [--steps 8]

The peers are scikit-learn on NumPy and in its array-API mode on torch, and torchgmm and pomegranate if they are
installed. All start from the same weights, means and precisions (torchgmm and pomegranate from the same means) and get
the same float32 rows. The time per step is that of a fit of `--steps` steps, with everything around them, divided by
their number. The rounds of all contenders are interleaved, and the table shows the median seconds and the median of
each round's ratio to ours: on a busy machine, trust the ratios. A contender that has used up its share of time sits out
the later rounds.
"error" is the relative difference between the likelihood and scikit-learn's in float64. "MB" is what the fit adds to
the peak memory of a separate process. The floor is the time of a step's two matrix products and its exponentials alone,
in blocks that stay in the cache, on the same threads. On a machine with CUDA, GPU steps are timed too, and compared
with the time to read the rows and to multiply; `--gpu` runs only that part, and `--gpu-code-on-cpu` runs its code
without CUDA, on small data. Its "error" is that of the likelihood of at most a million rows, against our float64.
"""

import argparse
import logging
import math
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.mixture import GaussianMixture as Reference

from musicai.gmm import GaussianMixture
from musicai.gmm._scale.blocks import e_step_over
from musicai.gmm._scale.rows import Data
from musicai.gmm.em import Parameters, m_step
from musicai.threads import Workers

SHAPES = [(200_000, 20, 64, "diag"), (100_000, 20, 32, "full"), (1_000_000, 40, 128, "diag"), (50_000, 128, 16, "full")]
GPU_SHAPES = [(1_000_000, 64, 64, "diag"), (1_000_000, 128, 1024, "diag"), (10_000_000, 64, 64, "diag")]
GPU_SHAPES += [(100_000_000, 16, 64, "diag"), (10_000_000, 20, 32, "full")]
SMALL_SHAPES = [(100_000, 16, 8, "diag"), (50_000, 8, 4, "full")]
SHARE = 40  # seconds for the rounds of one contender


def rows_and_start(n: int, d: int, k: int, kind: str) -> tuple[np.ndarray, dict]:
    """Rows of k clusters, float32, and where every contender starts."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d), np.float32) + 2 * rng.standard_normal((k, d), np.float32)[rng.integers(k, size=n)]
    if kind == "full":
        x = x @ (np.eye(d, dtype=np.float32) + 0.3 * rng.standard_normal((d, d), np.float32))
    precisions = np.ones((k, d), np.float32) if kind == "diag" else np.tile(np.eye(d, dtype=np.float32), (k, 1, 1))
    start = {"weights_init": np.full(k, 1 / k, np.float32), "means_init": x[:k].copy(), "precisions_init": precisions}
    return x, start


def estimators(x: np.ndarray, start: dict, kind: str) -> dict[str, Callable[[int, float], object]]:
    """name -> fit(most steps, tolerance)."""
    settings = {"n_components": len(start["means_init"]), "covariance_type": kind, **start}
    found = {
        "musicai": lambda steps, tol: GaussianMixture(max_iter=steps, tol=tol, **settings).fit(x),
        "scikit-learn": lambda steps, tol: Reference(max_iter=steps, tol=tol, **settings).fit(x),
    }
    found["scikit-learn, array API"] = lambda steps, tol: array_api(x, settings, steps, tol)
    if find_spec("torchgmm"):
        found["torchgmm"] = lambda steps, tol: torchgmm(x, settings, steps, tol)
    if find_spec("pomegranate"):
        found["pomegranate"] = lambda steps, tol: pomegranate(x, settings, steps, tol)
    return found


def array_api(x: np.ndarray, settings: dict, steps: int, tol: float) -> object:
    tensors = {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in settings.items()}
    with sklearn.config_context(array_api_dispatch=True):
        return Reference(max_iter=steps, tol=tol, init_params="random", **tensors).fit(torch.from_numpy(x))


def torchgmm(x: np.ndarray, settings: dict, steps: int, tol: float) -> object:
    from torchgmm.bayes import GaussianMixture as Peer

    quiet = {"max_epochs": steps, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    peer = Peer(
        settings["n_components"],
        covariance_type=settings["covariance_type"],
        init_means=torch.from_numpy(settings["means_init"]),
        convergence_tolerance=tol,
        trainer_params=quiet | {"logger": False},
    )
    return peer.fit(torch.from_numpy(x))


def pomegranate(x: np.ndarray, settings: dict, steps: int, tol: float) -> object:
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel

    kind, means = settings["covariance_type"], torch.from_numpy(settings["means_init"])
    shape = torch.ones(means.shape[1]) if kind == "diag" else torch.eye(means.shape[1])
    parts = [Normal(mean, shape.clone(), covariance_type=kind) for mean in means]
    return GeneralMixtureModel(parts, max_iter=steps, tol=tol * len(x)).fit(torch.from_numpy(x))


def seconds(call: Callable) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def floor(n: int, d: int, k: int, kind: str) -> float:
    """Seconds for the products and exponentials of a step, which no implementation can avoid."""
    p, wide, _ = work(n, d, k, kind)
    block = max(64, 2**20 // (p + wide))
    seen, matrix = torch.rand(p, block), torch.rand(wide, p) / 1000
    count = max(64, min(n // block, 400))

    def piece(_: int) -> None:
        joint = matrix @ seen[-matrix.shape[1] :]
        _ = seen @ joint[:k].exp().T

    with Workers(torch.device("cpu")) as workers:
        rounds = [seconds(lambda: list(workers.map(piece, range(count)))) for _ in range(4)]
        return min(rounds) * n / block / count


def work(n: int, d: int, k: int, kind: str) -> tuple[int, int, float]:
    """(features, rows of the E step's matrix, multiplications and additions of a step)."""
    p = 2 * d + 1 if kind == "diag" else d * (d + 1) // 2 + d + 1
    return p, k, 4.0 * n * k * p


def error(fit: Callable, x: np.ndarray, start: dict, kind: str, steps: int) -> float:
    settings = {"n_components": len(start["means_init"]), "covariance_type": kind, "max_iter": steps, "tol": 0}
    wide = {name: value.astype(np.float64) for name, value in start.items()}
    truth = Reference(**settings, **wide).fit(x.astype(np.float64)).lower_bound_
    return abs(fit(steps, 0).lower_bound_ / truth - 1)


def memory(name: str, shape: tuple) -> float:
    """MB that a fit adds to the peak memory of a separate process."""
    command = [sys.executable, __file__, "--peak", name, *map(str, shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else math.nan


def peak(name: str, n: int, d: int, k: int, kind: str) -> None:
    x, start = rows_and_start(n, d, k, kind)
    small, small_start = rows_and_start(1000, 2, 2, kind)
    estimators(small, small_start, kind)[name](1, 0)  # what imports and thread pools need
    before = high_water()
    estimators(x, start, kind)[name](2, 0)
    print((high_water() - before) / 1024)


def high_water() -> int:
    """The most memory, in KB, that this process has held; ru_maxrss would count what its parent held before."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def compare(shape: tuple, repeat: int, steps: int, with_memory: bool) -> None:
    x, start = rows_and_start(*shape)
    fits, times, failed = estimators(x, start, shape[3]), {}, {}
    for _ in range(repeat):
        for name, fit in fits.items():
            try:
                if name not in failed and steps * sum(times.get(name, [])) < SHARE:
                    spent = seconds(lambda fit=fit: fit(steps, 0)) / steps
                    times.setdefault(name, []).append(spent)
            except Exception as problem:  # a peer's failure is a result
                failed[name] = f"{type(problem).__name__}: {str(problem)[:60]}"
    ours, least = times["musicai"], floor(*shape)
    n, d, k, kind = shape
    print(
        f"\n(N, D, K) = {n, d, k}, {kind}: {1e-9 * work(*shape)[2]:.1f} Gflop, {n * k / 1e6:.1f} million exponentials",
        end="",
    )
    print(f" and {n * d * 4e-6:.0f} MB/step; floor {1e3 * least:.0f} ms, {least / statistics.median(ours):.0%} of ours")
    print(f"{'':26}{'ms/step':>10}{'ratio':>8}{'MB':>8}   to convergence")
    for name, spent in times.items():
        ratio = statistics.median(a / b for a, b in zip(spent, ours, strict=False))
        megabytes = f"{memory(name, shape):8.0f}" if with_memory else f"{'':8}"
        slow = failed.get(name) or convergence(fits[name], statistics.median(spent))
        print(f"{name:26}{1e3 * statistics.median(spent):10.1f}{ratio:8.1f}{megabytes}   {slow}", flush=True)
    for name in failed.keys() - times.keys():
        print(f"{name:26}   failed: {failed[name]}")
    print(f"error of musicai after {steps} steps: {error(fits['musicai'], x, start, shape[3], steps):.1e}", flush=True)


def convergence(fit: Callable[[int, float], object], step: float) -> str:
    if step > 1:
        return "not tried: too slow"
    begin = time.perf_counter()
    steps = vars(fit(50, 1e-3)).get("n_iter_", "?")
    return f"{time.perf_counter() - begin:.2f} s, {steps} steps"


def compare_gpu(device: torch.device, shapes: list[tuple]) -> None:
    """Time steps on a GPU against reading the rows once, and against the products at the speed of one large one."""
    side = 8192 if device.type == "cuda" else 512
    a = torch.rand(side, side, device=device)
    per_flop = timed(lambda: a @ a, device) / (2 * side**3)
    per_byte = timed(lambda: a.clone(), device) / (2 * a.numel() * 4)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "the CPU, to try this code"
    print(f"\n{name}: {1e-12 / per_flop:.2f} TFLOP/s (float32), {1e-12 / per_byte:.2f} TB/s")
    for shape in shapes:
        n, d, k, kind = shape
        centres = 2 * torch.randn(k, d, device=device)
        x = torch.randn(n, d, device=device).add_(centres[torch.randint(k, (n,), device=device)])
        precisions = torch.ones(k, d) if kind == "diag" else torch.eye(d).expand(k, d, d)
        start = {"weights_init": torch.full((k,), 1 / k), "means_init": centres, "precisions_init": precisions}
        parameters = GaussianMixture(k, covariance_type=kind, max_iter=1, **start).fit(x)._parameters()
        with Data(x, kind == "full") as data, torch.no_grad():
            parameters = m_step(e_step_over(data, parameters, 1e-6), kind, 1e-6)  # where they are in a fit
            before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
            spent = timed(lambda data=data, now=parameters: e_step_over(data, now, 1e-6), device)
        read, multiply = per_byte * n * d * 4, per_flop * work(*shape)[2]
        peak = f"{(torch.cuda.max_memory_allocated() - before) / 1e6:.0f} MB" if device.type == "cuda" else "?"
        wrong = likelihood(x[:1_000_000], parameters) / likelihood(x[:1_000_000].double(), parameters) - 1
        print(f"{n, d, k} {kind}: {1e3 * spent:.2f} ms per step, {peak} besides the data; error {wrong:+.0e}; ", end="")
        print(f"floor {1e3 * read:.2f} ms to read, {1e3 * multiply:.2f} ms to multiply", flush=True)
        del x, data


def likelihood(x: torch.Tensor, parameters: Parameters) -> float:
    with Data(x, parameters.full) as data, torch.no_grad():
        return float(e_step_over(data, parameters, 1e-6).log_likelihood)


def timed(call: Callable, device: torch.device) -> float:
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    call()
    wait()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    return statistics.median(seconds(lambda: (call(), wait())) for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only the first two shapes, without memory")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--gpu", action="store_true", help="only the GPU steps")
    parser.add_argument("--gpu-code-on-cpu", action="store_true")
    parser.add_argument("--peak", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        name, *numbers, kind = arguments.peak
        peak(name, *map(int, numbers), kind)
        return
    absent = [name for name in ("torchgmm", "pomegranate") if not find_spec(name)]
    print(f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, {torch.get_num_threads()} threads, float32")
    print(f"not installed: {', '.join(absent) or 'none'}")
    if arguments.gpu_code_on_cpu:
        compare_gpu(torch.device("cpu"), SMALL_SHAPES)
        return
    for shape in [] if arguments.gpu else SHAPES[:2] if arguments.quick else SHAPES:
        large = shape not in SHAPES[:2]
        compare(shape, arguments.repeat, min(2, arguments.steps) if large else arguments.steps, not arguments.quick)
    if torch.cuda.is_available():
        compare_gpu(torch.device("cuda"), GPU_SHAPES)


if __name__ == "__main__":
    if os.environ.get("SCIPY_ARRAY_API") != "1":  # read when SciPy is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"SCIPY_ARRAY_API": "1"})
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main()
