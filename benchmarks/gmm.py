"""Gaussian mixtures: seconds for a step of EM and to convergence, musicai.gmm against its peers, in the same run.

    python benchmarks/gmm.py [--quick] [--repeat 3] [--steps 5]

Peers: scikit-learn on NumPy and in its array-API mode on torch (set SCIPY_ARRAY_API=1), torchgmm and pomegranate where
they are installed. All begin at the same weights, means and precisions (torchgmm and pomegranate at the same means)
and take the same float32 rows. A step is the time of a fit of `--steps` steps, with all that surrounds them, over
their number; the rounds of all contenders are interleaved, and told are the median seconds and the median of each
round's ratio to ours: on a busy machine, believe the ratios. "error": how far the likelihood lies from scikit-learn's
in float64, relatively.
"memory": what the fit adds to the process's peak. The floor: the two matrix products of a step and its exponentials
alone, in blocks that stay in the cache, on the same threads. On a machine with CUDA, GPU steps are timed too, against
the time to read the rows and to multiply.
"""

import argparse
import logging
import math
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import sklearn
import torch
from sklearn.mixture import GaussianMixture as Reference

from musicai.gmm import GaussianMixture
from musicai.gmm.data import as_tensor
from musicai.threads import Workers

SHAPES = [(200_000, 20, 64, "diag"), (100_000, 20, 32, "full"), (1_000_000, 40, 128, "diag"), (50_000, 128, 16, "full")]
GPU_SHAPES = [(1_000_000, 64, 64, "diag"), (1_000_000, 128, 1024, "diag"), (10_000_000, 64, 64, "diag")]
GPU_SHAPES += [(100_000_000, 16, 64, "diag")]


def rows_and_start(n: int, d: int, k: int, kind: str) -> tuple[np.ndarray, dict]:
    """Rows of k clusters, float32, and where every contender begins."""
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
    if os.environ.get("SCIPY_ARRAY_API") == "1":
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
    """Seconds for the products and exponentials of a step, however little else is done."""
    p, block = d * (d + 1) // 2 + d + 1 if kind == "full" else 2 * d + 1, 1024
    wide = k * d if kind == "full" else k
    seen, matrix = torch.rand(p, block), torch.rand(wide, d + 1 if kind == "full" else p) / 1000

    def piece(_: int) -> None:
        joint = (matrix @ seen[-matrix.shape[1] :])[:k]
        _ = seen @ torch.softmax(joint, 0).T

    with Workers(torch.device("cpu")) as workers:
        list(workers.map(piece, range(64)))
        count = max(64, min(n // block, 400))
        return seconds(lambda: list(workers.map(piece, range(count)))) * n / block / count


def error(fit: Callable, x: np.ndarray, start: dict, kind: str, steps: int) -> float:
    settings = {"n_components": len(start["means_init"]), "covariance_type": kind, "max_iter": steps, "tol": 0}
    wide = {name: value.astype(np.float64) for name, value in start.items()}
    truth = Reference(**settings, **wide).fit(x.astype(np.float64)).lower_bound_
    return abs(fit(steps, 0).lower_bound_ / truth - 1)


def memory(name: str, shape: tuple) -> float:
    """MB that a fit adds to the peak of a process of its own."""
    command = [sys.executable, __file__, "--peak", name, *map(str, shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else math.nan


def peak(name: str, n: int, d: int, k: int, kind: str) -> None:
    x, start = rows_and_start(n, d, k, kind)
    small, small_start = rows_and_start(1000, 2, 2, kind)
    estimators(small, small_start, kind)[name](1, 0)  # what imports and thread pools need
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    estimators(x, start, kind)[name](2, 0)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def compare(shape: tuple, repeat: int, steps: int, with_memory: bool) -> None:
    x, start = rows_and_start(*shape)
    fits, times, failed = estimators(x, start, shape[3]), {}, {}
    for turn in range(repeat):
        for name, fit in fits.items():
            try:
                # One round is enough for those that are very slow.
                if turn == 0 or statistics.median(times[name]) < 3 * statistics.median(times["scikit-learn"]):
                    times.setdefault(name, []).append(seconds(lambda fit=fit: fit(steps, 0)) / steps)
            except Exception as problem:  # a peer's failure is a result
                failed[name] = f"{type(problem).__name__}: {str(problem)[:60]}"
    print(f"\n(N, D, K) = {shape[:3]}, {shape[3]}; floor {1e3 * floor(*shape):.0f} ms a step")
    print(f"{'':26}{'ms a step':>10}{'ratio':>8}{'MB':>8}   to convergence")
    ours = times["musicai"]
    for name, spent in times.items():
        ratio = statistics.median(a / b for a, b in zip(spent, ours, strict=False))
        megabytes = f"{memory(name, shape):8.0f}" if with_memory else f"{'':8}"
        slow = failed.get(name) or convergence(fits[name], statistics.median(spent))
        print(f"{name:26}{1e3 * statistics.median(spent):10.1f}{ratio:8.1f}{megabytes}   {slow}", flush=True)
    for name in failed.keys() - times.keys():
        print(f"{name:26}   failed: {failed[name]}")
    print(f"error of musicai after {steps} steps: {error(fits['musicai'], x, start, shape[3], steps):.1e}", flush=True)


def convergence(fit: Callable[[int, float], object], step: float) -> str:
    if step > 3:
        return "-"
    begin = time.perf_counter()
    steps = vars(fit(50, 1e-3)).get("n_iter_", "?")
    return f"{time.perf_counter() - begin:.2f} s, {steps} steps"


def compare_gpu() -> None:
    """Steps on a GPU against reading the rows once, and against the two products at the speed of one large one."""
    from musicai.gmm.data import Data
    from musicai.gmm.em import em_step

    device = torch.device("cuda")
    a = torch.rand(8192, 8192, device=device)
    per_flop = timed_gpu(lambda: a @ a) / (2 * 8192**3)
    per_byte = timed_gpu(lambda: a.clone()) / (2 * a.numel() * 4)
    print(f"\n{torch.cuda.get_device_name()}: {1e-12 / per_flop:.0f} TFLOP/s (float32), {1e-12 / per_byte:.1f} TB/s")
    for n, d, k, kind in GPU_SHAPES:
        x = torch.randn(n, d, device=device)
        settings = {"covariance_type": kind, "max_iter": 1, "init_params": "random_from_data", "random_state": 0}
        mixture = GaussianMixture(k, **settings).fit(x)
        with Data(as_tensor(x)) as data, torch.no_grad():
            parameters = mixture._parameters()
            spent = timed_gpu(lambda data=data, now=parameters: em_step(data, now, 1e-6))
        least = max(per_byte * n * d * 4, per_flop * 4 * n * k * (2 * d + 1))
        print(f"({n}, {d}, {k}) {kind}: {1e3 * spent:.2f} ms a step; floor {1e3 * least:.2f} ms", flush=True)
        del x, mixture


def timed_gpu(call: Callable) -> float:
    call()
    torch.cuda.synchronize()
    spent = []
    for _ in range(5):
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first two shapes, no memory")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--peak", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        name, *numbers, kind = arguments.peak
        peak(name, *map(int, numbers), kind)
        return
    absent = [name for name in ("torchgmm", "pomegranate") if not find_spec(name)]
    absent += [] if os.environ.get("SCIPY_ARRAY_API") == "1" else ["scikit-learn's array API (SCIPY_ARRAY_API=1)"]
    print(f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, {torch.get_num_threads()} threads, float32")
    print(f"absent: {', '.join(absent) or 'nobody'}")
    for shape in SHAPES[:2] if arguments.quick else SHAPES:
        compare(shape, arguments.repeat, arguments.steps, not arguments.quick)
    if torch.cuda.is_available():
        compare_gpu()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main()
