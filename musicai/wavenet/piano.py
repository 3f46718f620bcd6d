"""The joint distribution of the 88 keys of a frame: one key after another, from the highest down. Chapter 5."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicai.wavenet.heads import keep_top_p

REACH = 40  # how many of the keys above, already decided, a key sees
MOST = 15  # keys down above are counted up to here
BALANCE = 4  # and compared with the previous frame's up to here


@dataclass(frozen=True)
class Points:
    """Some of the keys of some frames: `rows` (M,) says in which frame, `keys` (M,) which key."""

    rows: Tensor
    keys: Tensor

    @classmethod
    def all(cls, rows: Tensor, keys: int) -> "Points":
        """Every key of these frames, frame by frame."""
        return cls(rows.repeat_interleave(keys), torch.arange(keys, device=rows.device).repeat(len(rows)))

    def of(self, x: Tensor) -> Tensor:
        """x (frames, keys, ...) at the points: (M, ...)."""
        return x[self.rows, self.keys]

    def around(self, x: Tensor, before: int, after: int) -> Tensor:
        """x (frames, keys) at the points' neighbours, keys n - before .. n + after: (M, before + after + 1).

        Beyond the keyboard there are zeros.
        """
        view = F.pad(x, (before, max(after, 0))).unfold(-1, before + after + 1, 1)
        return view[self.rows, self.keys]


class PianoRollHead(nn.Module):
    """Is each key down, given what the past says about it and the keys above it? Features in, logits out.

    p(frame) = product over the keys n of p(key n | past, keys above n): the chain rule once more, over pitch. All keys
    share the same weights, for a third is a third anywhere. A key sees the REACH keys above it, how many of all the
    keys above it are down, and how that compares with the previous frame: together, which voice it would be.

    Args:
        channels: H, of the features and the hidden layers. layers: how many hidden layers. dropout: of hidden units.

    Source: NADE (Larochelle and Murray 2011), as over an RNN in Boulanger-Lewandowski et al. 2012. Chapter 5.
    """

    def __init__(self, channels: int = 96, layers: int = 2, dropout: float = 0.0):
        super().__init__()
        self.above = nn.Linear(REACH, channels, bias=False)
        self.count = nn.Embedding(MOST + 1, channels)
        self.balance = nn.Embedding(2 * BALANCE + 1, channels)
        self.hidden = nn.ModuleList(nn.Linear(channels, channels) for _ in range(layers))
        self.out = nn.Linear(channels, 1)
        self.dropout = nn.Dropout(dropout)
        for table in (self.count, self.balance):
            nn.init.zeros_(table.weight)

    def forward(self, features: Tensor, frames: Tensor, previous: Tensor, points: Points) -> Tensor:
        """Logits (M,) that the keys at the points are down.

        Args:
            features: (M, H), what the past says about the points.
            frames, previous: (F, K), the frames and those before them, the highest key first. The logit of a key
                depends on the entries of its frame before it only.
        """
        above = frames.cumsum(-1) - frames  # how many are down above each key
        fewer = (previous.cumsum(-1) - previous - above).clamp(-BALANCE, BALANCE) + BALANCE
        count, balance = (points.of(x).round().long() for x in (above.clamp(max=MOST), fewer))
        h = features + self.above(points.around(frames, REACH, -1)) + self.count(count) + self.balance(balance)
        h = F.relu(h)
        for layer in self.hidden:
            h = h + F.relu(layer(self.dropout(h)))
        return self.out(self.dropout(h))[:, 0]

    def sample(
        self,
        features: Tensor,
        previous: Tensor,
        u: Tensor,
        clamp: Tensor | None = None,
        bias: Tensor | float = 0.0,
        temperature: float = 1.0,
        top_p: float | None = None,
    ) -> Tensor:
        """Draw frames (F, K), the highest key first, from uniforms u (F, K).

        Args:
            features: (F, K, H). previous: (F, K).
            clamp: (F, K): 1 and 0 are fixed, NaN is free.
            bias: added to the logits, one number or (K,).
            temperature, top_p: see CategoricalHead.sample; here the two choices are up and down.
        """
        frames, rows = torch.zeros_like(previous), torch.arange(len(previous), device=previous.device)
        bias = torch.as_tensor(bias, dtype=features.dtype, device=features.device).expand(frames.shape[-1])
        for n in range(frames.shape[-1]):
            logits = self(features[:, n], frames, previous, Points(rows, torch.full_like(rows, n))) + bias[n]
            drawn = (u[:, n] < down_probability(logits, temperature, top_p)).to(frames.dtype)
            frames[:, n] = drawn if clamp is None else torch.where(clamp[:, n].isnan(), drawn, clamp[:, n])
        return frames


def down_probability(logits: Tensor, temperature: float = 1.0, top_p: float | None = None) -> Tensor:
    """The probability of down that logits (...) stand for, sharpened by temperature and top_p."""
    if not temperature >= 0:
        raise ValueError(f"temperature must be 0 or more; got {temperature}")
    if temperature == 0:
        return (logits > 0).to(logits.dtype)
    down = torch.sigmoid(logits / temperature)
    if top_p is None:
        return down
    kept = keep_top_p(torch.stack([1 - down, down], -1), top_p)
    return kept[..., 1] / kept.sum(-1)
