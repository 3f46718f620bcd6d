"""One run in several processes: `torchrun --nproc-per-node 2 train.py`, with no change to the script.

Each process takes its share of every batch; gradients are averaged before each optimizer step, so all processes have
the same weights at all times. Only rank 0 prints and writes.
"""

import atexit
import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


def rank_and_world() -> tuple[int, int]:
    """The number of this process and of processes in all; (0, 1) outside `torchrun`."""
    if dist.is_available() and (dist.is_initialized() or dist.is_torchelastic_launched()):
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1


def join() -> None:
    """Under `torchrun`, connect to the other processes (once); otherwise, do nothing."""
    if not dist.is_available() or dist.is_initialized() or not dist.is_torchelastic_launched():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=timedelta(hours=1))  # the others wait while rank 0 runs a callback
    atexit.register(dist.destroy_process_group)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace the gradients of one optimizer's parameters by their mean over the processes, in one message."""
    _, world = rank_and_world()
    if world == 1:
        return
    group = [p for p in parameters if p.requires_grad]
    # A parameter without a gradient here may have one elsewhere; a flag for each says whether any process has one.
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in group]
    flags = torch.tensor([p.grad is not None for p in group]).to(gradients[0])
    flat = torch.cat([*(g.reshape(-1) for g in gradients), flags])
    dist.all_reduce(flat)
    *means, flags = flat.split([*(g.numel() for g in gradients), len(group)])
    for parameter, mean, flag in zip(group, means, flags.tolist(), strict=True):
        if flag:
            parameter.grad = mean.div_(world).view_as(parameter).to(parameter.dtype)


def average(values: Tensor) -> Tensor:
    """Average values over the processes; with several, `values` is overwritten by the sum."""
    _, world = rank_and_world()
    if world > 1:
        dist.all_reduce(values)
    return values / world


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every process rank 0's values."""
    for tensor in tensors if rank_and_world()[1] > 1 else ():
        dist.broadcast(tensor, src=0)


def any_process(flag: bool) -> bool:
    """Return True in every process if `flag` is true in any; all processes wait for each other."""
    return average(torch.tensor(float(flag))).item() > 0
