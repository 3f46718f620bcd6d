"""The instrument GAN: z, pitch, instrument and velocity in, one second of sound out. Chapter 4.

    z (B, 16) ---------------------+--> noise, one value a frame --+
    pitch, instrument, velocity ---+--> dense layers --> w --------+--> 8, 16, 32 steps, 4 frames each --> curves
    curves (B, 256, 128), pitch  -->  96 oscillators and a filtered noise  -->  (B, 1, 16000)

The adversarial game is played on the curves (see `musicai.gan.instrument_curves`), which makes it small: what is not
learned here is only how a sum of cosines sounds.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicai.gan.instrument_curves import FRAMES, HARMONICS, HOP, KNEE, LEVEL, MISTUNING, NOISE, ROWS, SR, within_reach
from musicai.gan.instrument_sound import fade_out, hold, play_curves
from musicai.pretrained import Pretrained

PACK = 4  # frames that share one step of the networks
STEPS = FRAMES // PACK
FIRST = 8  # steps of the generator's first layer
NOISES = 12  # channels of frame-by-frame noise
SLOPE = 0.2
SWINGS = (9, 37)  # frames, 72 and 296 ms: the discriminator is told how curves swing about such averages
PEAK = 0.99
RANGES = (
    ("acoustic_grand_piano", 36, 84),
    ("electric_piano", 36, 84),
    ("vibraphone", 53, 89),
    ("marimba", 45, 93),
    ("church_organ", 36, 84),
    ("nylon_guitar", 40, 84),
    ("electric_bass", 28, 67),
    ("violin", 55, 93),
    ("cello", 36, 81),
    ("harp", 36, 84),
    ("string_ensemble", 36, 84),
    ("choir", 41, 84),
    ("trumpet", 52, 86),
    ("french_horn", 41, 77),
    ("alto_sax", 49, 84),
    ("clarinet", 50, 91),
    ("flute", 59, 96),
)


class InstrumentGenerator(Pretrained, nn.Module):
    """Plays any note of the instruments it learned; another z is another take of the same note.

    >>> generator = InstrumentGenerator(size=16)
    >>> generator.play(60, "violin", seed=1).shape
    torch.Size([1, 1, 16000])

    Pitch is right by construction: the network shapes the harmonics of the note, with their small mistunings. The
    level follows (velocity / 100) squared, as in the General MIDI level 2 recommendation; the network gives the colour.
    A note lasts its second, held, and ends in the 20 ms fade of the recordings; `render_notes` makes other lengths.

    Args:
        size: channels of the convolutions.
        z_size: numbers in z, normal; only z's direction matters.
        instruments: (name, lowest pitch, highest pitch) of each.
    """

    def __init__(self, size: int = 160, z_size: int = 16, instruments: Sequence[tuple[str, int, int]] = RANGES):
        super().__init__()
        self.config = {"size": size, "z_size": z_size, "instruments": [list(row) for row in instruments]}
        self.instruments = tuple(name for name, _, _ in instruments)
        self.lowest, self.highest = ([row[i] for row in instruments] for i in (1, 2))
        self.curves = CurveGenerator(len(self.instruments), size, z_size)
        start = torch.Generator().manual_seed(1)
        phases = torch.empty(z_size, HARMONICS).normal_(0, torch.pi, generator=start)
        self.register_buffer("phases", phases, persistent=False)
        noises = torch.empty(z_size, FRAMES * HOP).normal_(generator=start)
        self.register_buffer("noises", noises, persistent=False)

    def latent(self, n: int) -> Tensor:
        """n draws of z, shape (n, z_size)."""
        return self.curves.latent(n)

    def forward(self, z: Tensor, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> Tensor:
        """Notes.

        Args:
            z: (B, z_size).
            pitch: (B,) MIDI numbers, 60 is middle C; they need not be whole.
            instrument: (B,) indices into `instruments`.
            velocity: (B,) from 1 to 127; need not be whole.
        Returns:
            (B, 1, 16000) in [-1, 1] at 16 kHz.
        Raises:
            ValueError: shapes that differ, an instrument, pitch or velocity that it does not have.
        """
        self._check(z, pitch, instrument, velocity)
        audio = self.sound(self.curves(z, pitch, instrument, velocity), z, pitch, velocity)
        return fade_out(audio, SR)[:, None]

    def sound(self, curves: Tensor, z: Tensor, pitch: Tensor, velocity: Tensor) -> Tensor:
        """Curves (B, 256, frames) at velocity 100 to audio (B, frames * 128) at these velocities; does not fade out.

        z decides where the harmonics start and mixes the noise from 16 fixed ones: so a walk in z is smooth to the
        last sample.
        """
        direction = F.normalize(z, dim=1)
        repeats = -(-curves.shape[2] // FRAMES)
        noise = (direction @ self.noises).repeat(1, repeats)[:, : curves.shape[2] * HOP]
        audio = play_curves(curves, pitch, direction @ self.phases, noise) * (velocity[:, None] / 100) ** 2
        return audio / (audio.abs().amax(1, keepdim=True) / PEAK).clamp_min(1)  # what would clip is turned down

    @torch.no_grad()
    def play(
        self,
        pitch: float | Sequence[float] | Tensor,
        instrument: str | int | Sequence[str] | Sequence[int] | Tensor = 0,
        velocity: float | Sequence[float] | Tensor = 100,
        z: Tensor | None = None,
        seed: int = 0,
    ) -> Tensor:
        """One-second notes; single values are repeated for all.

        >>> generator.play([60, 64, 67], "flute", velocity=[50, 75, 100], seed=3).shape  # doctest: +SKIP
        torch.Size([3, 1, 16000])

        Args:
            pitch: MIDI numbers.
            instrument: names, or indices into `instruments`.
            velocity: 1 to 127.
            z: (B, z_size) or (z_size,); None draws it.
            seed: of that draw: the same seed, the same takes.
        Returns:
            (B, 1, 16000).
        Raises:
            ValueError: as in `forward`.
        """
        return self(*self._arguments(pitch, instrument, velocity, z, seed))

    @torch.no_grad()
    def render_notes(
        self,
        pitches: float | Sequence[float] | Tensor,
        velocities: float | Sequence[float] | Tensor,
        instruments: str | int | Sequence[str] | Sequence[int] | Tensor,
        durations: float | Sequence[float] | Tensor = 1.0,
        z: Tensor | None = None,
        seed: int = 0,
        release: float = 0.2,
    ) -> list[Tensor]:
        """Notes of any length, for a score: each sounds for its duration in seconds, and then its release.

        Up to a second is what the network gives. Beyond, the curves swing back and forth over their second half and a
        decay goes on as it went; no waveform is cut or joined, so there is no seam. Argument by argument as `play`.

        Args:
            pitches, velocities, instruments: one value, or one for each note.
            durations: seconds, above 0 and up to 60.
            z: (B, z_size) or (z_size,); None draws it.
            seed: of that draw.
            release: seconds from the end of the duration to silence.
        Returns:
            A list of (time,): note i lasts round(16000 * (durations[i] + release)) samples.
        Raises:
            ValueError: as in `forward`; or a duration or release that cannot be meant.
        """
        notes = self._arguments(pitches, instruments, velocities, z, seed, durations)
        seconds = torch.as_tensor(durations, dtype=torch.float64).reshape(-1).expand(len(notes[0])).tolist()
        if not all(0 < s <= 60 for s in seconds) or not 0 <= release <= 10:
            raise ValueError(f"durations {durations} and release {release}: give 0 < s <= 60, and 0 to 10 seconds")
        self._check(*notes)
        curves = self.curves(*notes)
        return [
            self._held(curves[i : i + 1], s, release, *(part[i : i + 1] for part in notes))
            for i, s in enumerate(seconds)
        ]

    def render_note(self, pitch: float, velocity: float, instrument: str | int, duration: float = 1.0, **more):
        """One note of `render_notes`, shape (time,)."""
        return self.render_notes([pitch], velocity, instrument, duration, **more)[0]

    def _held(self, curves, seconds, release, z, pitch, instrument, velocity) -> Tensor:
        length, tail = round(SR * (seconds + release)), round(SR * release)
        audio = self.sound(hold(curves, -(-length // HOP)), z, pitch, velocity)
        return fade_out(audio, length, max(tail, SR // 200))[0]

    def _arguments(self, pitch, instrument, velocity, z, seed, *others) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Batches (z, pitch, instrument, velocity) of one length, on this model's device."""
        where = self.phases.device
        numbers = [torch.as_tensor(v, dtype=torch.float32, device=where).reshape(-1) for v in (pitch, velocity)]
        index = torch.as_tensor(self.index(instrument), device=where).reshape(-1)
        sizes = {*(len(v) for v in (*numbers, index)), *(torch.as_tensor(v).numel() for v in others)}
        sizes |= {len(z)} if z is not None and z.ndim == 2 else set()
        count = max(sizes)
        if 0 in sizes or sizes - {1, count}:
            raise ValueError(f"{sorted(sizes)} values for the notes: give one for all, or one for each note")
        if z is None:
            z = torch.randn(count, self.config["z_size"], generator=torch.Generator().manual_seed(seed))
        z = z.to(where, torch.float32).expand(count, -1)
        return z, numbers[0].expand(count), index.expand(count), numbers[1].expand(count)

    def index(self, instrument: str | int | Sequence | Tensor):
        """The index of an instrument by name, or of each of several. Raises ValueError for an unknown name."""
        if isinstance(instrument, str):
            if instrument not in self.instruments:
                raise ValueError(f"no instrument {instrument!r}; choose from {', '.join(self.instruments)}")
            return self.instruments.index(instrument)
        if isinstance(instrument, Sequence):
            return [self.index(one) for one in instrument]
        return instrument

    def _check(self, z: Tensor, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> None:
        shapes = [tuple(value.shape) for value in (z, pitch, instrument, velocity)]
        n = len(z) if z.ndim else 0
        if shapes != [(n, self.config["z_size"]), (n,), (n,), (n,)] or n == 0:
            names = f"z {shapes[0]}, pitch {shapes[1]}, instrument {shapes[2]}, velocity {shapes[3]}"
            raise ValueError(f"{names}: give z (B, {self.config['z_size']}) and (B,) of the others")
        if not (z.isfinite().all() and z.any(1).all()):
            raise ValueError("z holds numbers that are not finite, or zeros only, which point nowhere: use latent(n)")
        for p, i, v in zip(pitch.tolist(), instrument.tolist(), velocity.tolist(), strict=True):
            if i != int(i) or not 0 <= i < len(self.instruments):
                raise ValueError(f"no instrument {i}: give 0 to {len(self.instruments) - 1}, as in .instruments")
            low, high, name = self.lowest[int(i)], self.highest[int(i)], self.instruments[int(i)]
            if not low <= p <= high:
                raise ValueError(f"pitch {p:g} is outside the range of {name}, {low} to {high}: transpose by octaves")
            if not 1 <= v <= 127:
                raise ValueError(f"velocity {v:g}: give 1 to 127")


class CurveGenerator(nn.Module):
    """The part that learns: z and what to play, to curves (B, 256, 128) at the level of velocity 100."""

    def __init__(self, instruments: int, size: int = 160, z_size: int = 16, width: int = 256):
        super().__init__()
        self.z_size, self.size = z_size, size
        self.condition = Condition(instruments, 128)
        widths = [128 + z_size, width, width, width]
        self.dense = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(widths)])
        self.first = nn.Linear(width, size * FIRST)
        self.stages = nn.ModuleList([Stage(size, width) for _ in range(3)])
        self.last = nn.Conv1d(size, PACK * ROWS, 1)
        self.mean = nn.Linear(width, ROWS)  # the same in every frame
        nn.init.normal_(self.last.weight, std=0.02)
        nn.init.zeros_(self.mean.weight)
        noise = torch.empty(z_size, NOISES, STEPS).normal_(generator=torch.Generator().manual_seed(1))
        self.register_buffer("noise", noise)

    def latent(self, n: int) -> Tensor:
        """n draws of z, shape (n, z_size), normal."""
        return torch.randn(n, self.z_size, device=self.noise.device)

    def forward(self, z: Tensor, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> Tensor:
        direction = F.normalize(z, dim=1)
        noise = torch.einsum("bz,znt->bnt", direction, self.noise)  # (B, 12, 32): as if drawn, but smooth in z
        w = torch.cat([self.condition(pitch, instrument, velocity), 4 * direction], 1)
        for layer in self.dense:
            w = F.leaky_relu(layer(w), SLOPE)  # (B, 256)
        x = self.first(w).unflatten(1, (-1, FIRST))  # (B, size, 8)
        for stage in self.stages:  # (B, size, 8), (B, size, 16), (B, size, 32)
            x = F.interpolate(x, scale_factor=2, mode="linear") if stage is not self.stages[0] else x
            x = stage(x, w, noise[..., : x.shape[2]])
        x = unpacked(self.last(F.leaky_relu(x, SLOPE))) + self.mean(w)[..., None]  # (B, 256, 128)
        return within_reach(_in_bounds(x), pitch)


class Stage(nn.Module):
    """Scaled, shifted and stirred with noise, each as w says; then two convolutions beside a straight connection."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.style = nn.Linear(width, 2 * size)
        self.stir = nn.Conv1d(NOISES, size, 1, bias=False)
        self.amount = nn.Linear(width, size)
        self.one = nn.Conv1d(size, size, 5, padding=2)
        self.two = nn.Conv1d(size, size, 3, padding=1)
        nn.init.normal_(self.stir.weight, std=0.05)
        nn.init.zeros_(self.amount.weight)
        nn.init.zeros_(self.amount.bias)
        nn.init.normal_(self.two.weight, std=0.001)  # at first, a stage changes next to nothing

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        scale, shift = self.style(w)[..., None].chunk(2, 1)
        h = x * (1 + scale) + shift + self.stir(noise) * (1 + self.amount(w)[..., None])
        return x + self.two(F.leaky_relu(self.one(F.leaky_relu(h, SLOPE)), SLOPE))


class InstrumentDiscriminator(Pretrained, nn.Module):
    """Curves, and what they should be, to one logit: the projection discriminator (Miyato and Koyama 2018).

    >>> discriminator = InstrumentDiscriminator(size=16)
    >>> note = torch.tensor([60]), torch.tensor([7]), torch.tensor([100])
    >>> discriminator(torch.zeros(1, 256, 128), *note).shape
    torch.Size([1, 1])

    Args:
        size: channels of the convolutions.
        instruments: how many.
    """

    def __init__(self, size: int = 192, instruments: int = len(RANGES)):
        super().__init__()
        self.config = {"size": size, "instruments": instruments}
        self.first = nn.Conv1d((PACK + len(SWINGS)) * ROWS, size, 1)
        self.down = nn.ModuleList([nn.Conv1d(size, size, 5, stride=2, padding=2) for _ in range(2)])
        self.side = nn.ModuleList([nn.Conv1d(size, size, 3, padding=1) for _ in range(2)])
        self.dense = nn.Linear(STEPS // 4 * size, size)
        self.condition = Condition(instruments, size)
        self.logit = nn.Linear(size, 1)

    def forward(self, curves: Tensor, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> Tensor:
        """Logits (B, 1) of curves (B, 256, 128), which `note_curves` makes of sound at the level of velocity 100."""
        if curves.ndim != 3 or curves.shape[1:] != (ROWS, FRAMES):
            raise ValueError(f"curves {tuple(curves.shape)}: give (B, {ROWS}, {FRAMES}), as from note_curves(audio)")
        x = self.first(torch.cat([packed(curves), roughness(curves)], 1))  # (B, size, 32)
        for down, side in zip(self.down, self.side, strict=True):
            x = down(F.leaky_relu(x, SLOPE))  # (B, size, 16), (B, size, 8)
            x = x + side(F.leaky_relu(x, SLOPE))
        h = F.leaky_relu(self.dense(F.leaky_relu(x, SLOPE).flatten(1)), SLOPE)  # (B, size)
        match = (h * self.condition(pitch, instrument, velocity)).sum(1, keepdim=True)
        return self.logit(h) + match / self.config["size"] ** 0.5


class Condition(nn.Module):
    """What to play as one vector: the instrument's own, smooth bumps along the pitch, and the velocity."""

    def __init__(self, instruments: int, size: int):
        super().__init__()
        self.instrument = nn.Embedding(instruments, 48)
        self.register_buffer("centres", torch.arange(24.0, 108.0, 3.0))
        self.mix = nn.Linear(48 + len(self.centres) + 3, size)

    def forward(self, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> Tensor:
        pitch, loud = pitch.float()[:, None], velocity.float()[:, None] / 127
        bumps = 2 * torch.exp(-((pitch - self.centres) ** 2) / 18)  # a width of three semitones
        extra = [(pitch - 60) / 24, 2 * loud - 1, (2 * loud - 1) ** 2]
        return self.mix(torch.cat([self.instrument(instrument.long()), bumps, *extra], 1))  # (B, size)


def packed(curves: Tensor) -> Tensor:
    """(B, 256, 128) to (B, 1024, 32): neighbouring frames side by side."""
    return curves.unflatten(2, (STEPS, PACK)).permute(0, 3, 1, 2).flatten(1, 2)


def roughness(curves: Tensor) -> Tensor:
    """How curves (B, 256, 128) swing about their own averages of 72 and 296 ms: rms of every 12 frames, (B, 512, 32).

    A string swings by 3 dB, a trumpet by less than 1. A discriminator whose slopes are held down (R1 + R2) hardly sees
    that in the curves themselves, and a generator then has too little of it everywhere, or too much.
    """
    swings = [curves - F.avg_pool1d(curves, n, 1, n // 2, count_include_pad=False) for n in SWINGS]
    power = F.avg_pool1d(torch.cat(swings, 1).square(), 3 * PACK, PACK, PACK, count_include_pad=False)
    return 10 * (power + 1e-4).sqrt()


def unpacked(x: Tensor) -> Tensor:
    """And back."""
    return x.unflatten(1, (PACK, ROWS)).permute(0, 2, 3, 1).flatten(2)


def _in_bounds(x: Tensor) -> Tensor:
    return torch.cat([x[:, LEVEL] - KNEE, 0.9 * torch.tanh(x[:, MISTUNING]), x[:, NOISE] - KNEE], 1)
