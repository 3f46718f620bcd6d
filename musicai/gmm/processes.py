"""Several processes, one fit: under `torchrun`, sums are taken over all of them."""

import atexit
import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


def join() -> tuple[int, int]:
    """(this process's number, how many there are): (0, 1) alone; under `torchrun`, the others are met first."""
    if not dist.is_available():
        return 0, 1
    if not dist.is_initialized() and dist.is_torchelastic_launched():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=timedelta(hours=1)
        )
        atexit.register(dist.destroy_process_group)
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def gather(tensors: list[Tensor]) -> list[list[Tensor]]:
    """These tensors of every process, in the order of the processes; shapes and types must agree."""
    flat = torch.cat([tensor.reshape(-1).double() for tensor in tensors])
    everywhere = [torch.empty_like(flat) for _ in range(dist.get_world_size())]
    dist.all_gather(everywhere, flat)
    sizes = [tensor.numel() for tensor in tensors]
    return [
        [part.view_as(tensor) for part, tensor in zip(one.split(sizes), tensors, strict=True)] for one in everywhere
    ]


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (rows, ...) of every process, one below the other; processes may have different numbers of them."""
    counts = [int(count) for (count,) in gather([torch.tensor(len(rows), device=rows.device)])]
    padded = rows.new_zeros(max(counts), *rows.shape[1:], dtype=torch.float64)
    padded[: len(rows)] = rows
    return torch.cat([part[:count] for (part,), count in zip(gather([padded]), counts, strict=True)])


def from_first(tensor: Tensor) -> Tensor:
    """Process 0's values, in every process."""
    dist.broadcast(tensor, src=0)
    return tensor
