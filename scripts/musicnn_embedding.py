"""An independent judge: musicnn's embedding of sounds, from its wheel's TensorFlow checkpoint, without TensorFlow.

    python -m pip install --no-deps --target judges musicnn
    python scripts/evaluate_gan.py instrument-gan --musicnn judges

The network of Pons and Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging" (2019), ISC
licence, trained on MagnaTagATune. Nothing of it is shipped here. `musicnn(folder)` returns an embedding for
`musicai.metrics.frechet_audio_distance`: 200 numbers per sound, the input of the final, tagging layer.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from musicai.audio import melspectrogram

SR, EPSILON = 16_000, 1e-3  # the sample rate it hears; Keras's constant in batch normalisation


# ---- the checkpoint: an index in LevelDB's table format, and the tensors one after another


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a whole number stored as seven bits per byte; returns it and where the next item begins."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def entries(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of one block; a key is stored as the length it shares with the last one, plus the rest."""
    block, key, at = data[offset : offset + size], b"", 0
    if data[offset + size]:
        raise ValueError("a compressed block: this reader has no Snappy")
    (restarts,) = struct.unpack("<I", block[-4:])
    while at < len(block) - 4 - 4 * restarts:
        shared, at = varint(block, at)
        rest, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at : at + rest]
        yield key, block[at + rest : at + rest + length]
        at += rest + length


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The numbered fields of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        if tag & 7 == 0:
            value, at = varint(message, at)
        else:
            length, at = (4, at) if tag & 7 == 5 else varint(message, at)
            value, at = message[at : at + length], at + length
        yield tag >> 3, value


def read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """Every float32 tensor in a checkpoint by name, except for the optimiser's."""
    index, data = (folder / ".index").read_bytes(), (folder / ".data-00000-of-00001").read_bytes()
    footer, at = index[-48:], 0
    handle = []
    for _ in range(4):  # offset and size of the meta index, then of the index
        value, at = varint(footer, at)
        handle.append(value)
    tensors = {}
    for _, block in entries(index, *handle[2:]):
        offset, at = varint(block, 0)
        for key, value in entries(index, offset, varint(block, at)[0]):
            entry = dict(fields(value))
            if not key or b"Adam" in key or entry.get(1) != 1:  # 1: float32
                continue
            shape = [dict(fields(size)).get(1, 0) for number, size in fields(entry.get(2, b"")) if number == 2]
            start = entry.get(4, 0)
            array = np.frombuffer(data[start : start + entry[5]], "<f4").reshape(shape)
            tensors[key.decode()] = torch.from_numpy(array.copy())
    return tensors


# ---- the network, named as in musicnn/models.py


def musicnn(folder: str | Path, model: str = "MTT_musicnn") -> Callable[[Tensor, int], Tensor]:
    """The embedding (batch, time), 16,000 -> (batch, 200), from a folder into which pip has installed musicnn."""
    weights = read_checkpoint(Path(folder) / "musicnn" / model)

    def norm(x: Tensor, n: int) -> Tensor:  # (B, C, ...)
        name = "batch_normalization" + (f"_{n}" if n else "")
        part = (weights[f"{name}/{key}"] for key in ("moving_mean", "moving_variance", "gamma", "beta"))
        return F.batch_norm(x, *part, eps=EPSILON)

    def convolve(x: Tensor, n: int, before: int, after: int) -> Tensor:  # (B, 1, time, features)
        name = "conv2d" + (f"_{n}" if n else "")
        x = F.pad(x, (0, 0, before, after))
        return F.conv2d(x, weights[f"{name}/kernel"].permute(3, 2, 0, 1), weights[f"{name}/bias"]).relu()

    def embedding(audio: Tensor, sr: int = SR) -> Tensor:
        if sr != SR:
            raise ValueError(f"musicnn hears {SR} Hz, not {sr}")
        S = melspectrogram(audio, sr, n_fft=512, hop_length=256, n_mels=96)
        x = norm((1 + 10_000 * S).log10().mT[:, None], 0)  # (B, 1, frames, 96)
        reach = [(3, 3), (3, 3), (63, 64), (31, 32), (15, 16)]
        front = [norm(convolve(x, n, *pad), n + 1).amax(3).mT for n, pad in enumerate(reach)]
        layers = [torch.cat(front, 2)]  # (B, frames, 561)
        for n in (5, 6, 7):
            y = norm(convolve(layers[-1][:, None], n, 3, 3), n + 1)[..., 0].mT  # (B, frames, 64)
            layers.append(y if n == 5 else y + layers[-1])
        x = torch.cat(layers, 2)
        x = torch.stack([x.amax(1), x.mean(1)], 2).flatten(1)
        x = (norm(x, 9) @ weights["dense/kernel"] + weights["dense/bias"]).relu()
        return norm(x, 10)

    return embedding
