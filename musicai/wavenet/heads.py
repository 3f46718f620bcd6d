"""Output heads: the last layer of a WaveNet and the distribution it parametrises. Chapter 5."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicai.audio.signal import mu_law_edges
from musicai.gmm import ConditionalMixture, MixtureHead

TINY = 1e-12  # uniform numbers stay this far from 0 and 1, where a Gaussian's quantile is infinite
FAR = 1e6  # farther away than any component reaches: an infinite end would have no gradient
KEYS_SEEN = 40  # how many of the keys above it, already decided, a key sees
COUNT_CAP = 15  # the count of keys down above is capped here
DIFFERENCE_CAP = 4  # its difference from the previous frame's count is capped here, either way


def categorical_from_uniform(logits: Tensor, u: Tensor, temperature: float = 1.0, top_p: float | None = None) -> Tensor:
    """Draw int64 (...) from logits (..., K) by inverting the cumulative distribution at u (...)."""
    if temperature == 0:
        return logits.argmax(-1)
    probs = (logits / temperature).softmax(-1)
    if top_p is not None:
        probs = keep_top_p(probs, top_p)
    cumulative = probs.cumsum(-1)
    above = cumulative > u[..., None] * cumulative[..., -1:]
    return above.to(torch.uint8).argmax(-1)  # the first True


def keep_top_p(probs: Tensor, top_p: float) -> Tensor:
    """Zero all probabilities (..., K) except the fewest that sum to at least top_p, without renormalising.

    This is nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751). Among equal probabilities, the first are kept.
    """
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered  # the mass of everything more likely
    return probs * torch.zeros_like(probs).scatter(-1, order, (before < top_p).to(probs.dtype))


class CategoricalHead(nn.Module):
    """One probability for each of `classes` codes: features (..., in_features) -> logits (..., classes).

    >>> head = CategoricalHead(in_features=32, classes=256)
    >>> head(torch.zeros(2, 100, 32)).shape
    torch.Size([2, 100, 256])

    Args:
        in_features: channels of the features.
        classes: the number of codes.

    Source: van den Oord et al. 2016 (arXiv:1609.03499), section 2.2. Chapter 5.
    """

    uniforms = 1  # how many uniform numbers one draw takes

    def __init__(self, in_features: int, classes: int = 256):
        super().__init__()
        self.linear = nn.Linear(in_features, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (..., classes), in float32 even under autocast."""
        raw = self.linear(features)
        return raw if raw.dtype == torch.float64 else raw.float()

    def log_prob(self, features: Tensor, codes: Tensor) -> Tensor:
        """Natural log probability of int64 codes (...) given features (..., in_features)."""
        return self(features).log_softmax(-1).gather(-1, codes[..., None])[..., 0]

    def sample(self, features: Tensor, u: Tensor, temperature: float = 1.0, top_p: float | None = None) -> Tensor:
        """One code (...) for each u (..., 1) in [0, 1): the first whose cumulative probability exceeds u.

        The draw depends only on u, so every sampler draws the same codes from the same numbers. A temperature below 1
        favours likely codes, and 0 takes the most likely one. `top_p` keeps the fewest codes whose probabilities sum to
        at least `top_p`.
        """
        return categorical_from_uniform(self(features), u[..., 0], temperature, top_p)


class GaussianHead(MixtureHead):
    """A mixture of Gaussians over a sample's value: features (..., in_features) -> ConditionalMixture (chapter 3).

    >>> head = GaussianHead(in_features=32, n_components=10)
    >>> head.log_prob(torch.zeros(2, 100, 32), torch.zeros(2, 100)).shape  # nats
    torch.Size([2, 100])

    The same mixture gives a continuous likelihood (`log_prob`) and the probability of each mu-law code
    (`log_prob_of_codes`), which can be compared bit for bit with that of a `CategoricalHead`. The narrowest component
    has a standard deviation of 1e-4, about three 16-bit steps.

    Args:
        in_features: channels of the features.
        n_components: K, the number of Gaussians.

    Source: Bishop 1994, "Mixture density networks". Chapter 5.
    """

    uniforms = 2

    def __init__(self, in_features: int, n_components: int = 10):
        super().__init__(in_features, n_components, min_scale=1e-4, max_scale=10.0)

    def log_prob(self, features: Tensor, values: Tensor) -> Tensor:
        """Log density, in nats, of values (...)."""
        return self(features).log_prob(values[..., None])

    def log_prob_of_codes(self, features: Tensor, codes: Tensor, channels: int = 256) -> Tensor:
        """Log probability, in nats, that a value falls in the mu-law interval of each of these codes (...)."""
        return log_mass(self(features), *mu_law_edges(codes, channels))

    def sample(self, features: Tensor, u: Tensor, temperature: float = 1.0, top_p: float | None = None) -> Tensor:
        """A value (...) in [-1, 1] for each u (..., 2): u[0] picks the component, u[1] the position within it.

        The temperature also narrows the components; `top_p` chooses among the components.
        """
        mixture = self(features)
        k = categorical_from_uniform(mixture.log_weights, u[..., 0], temperature, top_p)[..., None]
        mean, scale = (x[..., 0].gather(-1, k)[..., 0] for x in (mixture.means, mixture.scales))
        normal = torch.special.ndtri(u[..., 1].double().clamp(TINY, 1 - TINY)).to(mean.dtype)
        return (mean + temperature * scale * normal).clamp(-1, 1)


def log_mass(mixture: ConditionalMixture, low: Tensor, high: Tensor) -> Tensor:
    """Log of the probability that a mixture gives to an interval, exact even where differencing the CDF is not.

    >>> standard = ConditionalMixture(torch.zeros(1), torch.zeros(1, 1), torch.ones(1, 1))
    >>> log_mass(standard, torch.tensor(-1.96), torch.tensor(1.96)).exp()
    tensor(0.9500)

    It stays exact far out in a tail, and for an interval much narrower than the component.

    Args:
        mixture: a mixture over one feature.
        low: (...), the lower ends; -inf is allowed.
        high: (...), the upper ends; inf is allowed.

    Returns: natural logs (...).

    Source: the likelihood of PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517, section 2.1), here for Gaussians.
    Chapter 5.
    """
    means, scales = mixture.means[..., 0].double(), mixture.scales[..., 0].double()
    a, b = ((end.double().clamp(-FAR, FAR)[..., None] - means) / scales for end in (low, high))
    a, b = torch.where(a + b > 0, -b, a), torch.where(a + b > 0, -a, b)  # by symmetry, move to the left tail
    upper, lower = torch.special.log_ndtr(b), torch.special.log_ndtr(a.clamp(min=-1e4))  # further out, nothing is left
    mass = upper + torch.log(-torch.expm1((lower - upper).clamp(max=-1e-15)))  # log(Phi(b) - Phi(a))
    return (mixture.log_weights + mass).logsumexp(-1).to(low.dtype)


class PianoRollHead(nn.Module):
    """Is each key down, given what the past says about it and given the keys above it? Features in, logits out.

    >>> head = PianoRollHead(channels=96)
    >>> frames, previous = torch.eye(88)[[60, 64]], torch.zeros(2, 88)
    >>> head(torch.zeros(2, 96), frames, previous, points=torch.where(frames > 0)).shape  # one key is down in each
    torch.Size([2])

    p(frame) = product over the keys n of p(key n | past, keys above n): the chain rule once more, over pitch. All keys
    share the same weights, because a third is a third anywhere. A key sees the 40 keys above it, how many of all the
    keys above it are down, and how that compares with the previous frame; together, these suggest which voice it is.

    Args:
        channels: H, the width of the features and the hidden layers.
        layers: the number of hidden layers.
        dropout: the dropout rate of hidden units.

    Source: NADE (Larochelle and Murray 2011), used over an RNN in Boulanger-Lewandowski et al. 2012. Chapter 5.
    """

    def __init__(self, channels: int = 96, layers: int = 2, dropout: float = 0.0):
        super().__init__()
        self.above = nn.Linear(KEYS_SEEN, channels, bias=False)
        self.count = nn.Embedding(COUNT_CAP + 1, channels)
        self.balance = nn.Embedding(2 * DIFFERENCE_CAP + 1, channels)
        self.hidden = nn.ModuleList(nn.Linear(channels, channels) for _ in range(layers))
        self.out = nn.Linear(channels, 1)
        self.dropout = nn.Dropout(dropout)
        for table in (self.count, self.balance):
            nn.init.zeros_(table.weight)

    def forward(self, features: Tensor, frames: Tensor, previous: Tensor, points: tuple[Tensor, Tensor]) -> Tensor:
        """Logits (M,) of the keys at the points being down.

        Args:
            features: (M, H), what the past says about the points.
            frames: (F, K), the highest key first. The logit of a key depends only on the entries before it.
            previous: (F, K), the frame before each.
            points: rows and keys, int64 (M,) each, as `torch.where` gives them.
        """
        above, before = (x.cumsum(-1) - x for x in (frames, previous))  # how many are down above each key
        window = F.pad(frames, (KEYS_SEEN, 0)).unfold(-1, KEYS_SEEN, 1)  # (F, K + 1, KEYS_SEEN): the keys above each
        return self.logits(features, window[points], above[points], before[points])

    def logits(self, features: Tensor, window: Tensor, above: Tensor, before: Tensor) -> Tensor:
        """The network: logits (M,) from features (M, H), the keys above (M, KEYS_SEEN), and both counts (M,)."""
        count = above.clamp(max=COUNT_CAP).long()
        balance = (before - above).clamp(-DIFFERENCE_CAP, DIFFERENCE_CAP).long() + DIFFERENCE_CAP
        h = F.relu(features + self.above(window) + self.count(count) + self.balance(balance))
        for layer in self.hidden:
            h = h + F.relu(layer(self.dropout(h)))
        return self.out(self.dropout(h))[:, 0]

    def sample(
        self, features: Tensor, previous: Tensor, u: Tensor, bias: Tensor, kept: Tensor | None = None,
        temperature: float = 1.0, top_p: float = 1.0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Draw frames (F, K), the highest key first, and say how likely the keys were that had to be kept: nats (F,).

        Deciding key by key is choosing which key is the next one down, or that none is. One call of the network gives
        the chances of all these choices, so a frame takes one call per note and one more. The temperature sharpens the
        choice among keys; if each key were sharpened alone, "up" would win too often, and the music would stand still.

        Args:
            features: (F, K, H).
            previous: (F, K), the frame before each.
            u: (F, K), uniform in [0, 1); u[:, n] chooses note n of the frame.
            bias: (K,) or (F, K), added to the logits.
            kept: (F, K), 1 for keys that must be down, 0 for keys that must be up, NaN for free ones; None for none.
            temperature: what log probabilities are divided by; 0 takes the likeliest choice.
            top_p: the choice is among the fewest keys that together are at least this likely.
        """
        kept = torch.full_like(previous, torch.nan) if kept is None else kept
        must = F.pad((kept == 1).cumsum(1), (1, 0))  # how many keys before each must be down; column K is "no more"
        may = F.pad(kept != 0, (0, 1), value=True)
        keys, before = torch.arange(previous.shape[1] + 1, device=u.device), previous.cumsum(1) - previous
        frames, log_mass = torch.zeros_like(previous), torch.zeros_like(u[:, 0])
        last = torch.full_like(must[:, :1], -1)  # the lowest key so far
        for n in range(previous.shape[1]):
            log_p = self.next_key(features, frames, before, bias, last)
            allowed = may & (keys > last) & (must == must.gather(1, (last + 1).clamp(max=keys[-1])))
            allowed |= (last == keys[-1]) & (keys == last)  # what is finished stays so
            sharp = (log_p / (temperature or 1.0)).log_softmax(1)
            log_mass += sharp.masked_fill(~allowed, -torch.inf).logsumexp(1)
            log_p = log_p.masked_fill(~allowed, -torch.inf)
            last = categorical_from_uniform(log_p, u[:, n], temperature, top_p)[:, None]
            frames = frames + (keys[:-1] == last)
            if (last == keys[-1]).all():
                break
        return frames, log_mass

    def next_key(self, features: Tensor, frames: Tensor, before: Tensor, bias: Tensor, last: Tensor) -> Tensor:
        """Log probability of each key (F, K + 1) being the next one down after `last` (F, 1); column K is "no more"."""
        window = F.pad(frames, (KEYS_SEEN, 0)).unfold(-1, KEYS_SEEN, 1)[:, :-1].flatten(0, 1)
        above = frames.sum(1, keepdim=True).expand_as(frames).flatten()
        logits = self.logits(features.flatten(0, 1), window, above, before.flatten()).view_as(frames) + bias
        passed = torch.arange(frames.shape[1], device=last.device) <= last
        up = F.logsigmoid(-logits).masked_fill(passed, 0.0).cumsum(1)  # all keys from `last` down to this one are up
        down = F.pad(up[:, :-1], (1, 0)) + F.logsigmoid(logits).masked_fill(passed, -torch.inf)
        return torch.cat([down, up[:, -1:]], 1)
