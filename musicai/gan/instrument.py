"""The instrument GAN: z, pitch, instrument and velocity in, one second of sound out. Chapter 4.

    z (B, 16) ---------------------+--> noise, one value per frame --+
    pitch, instrument, velocity ---+--> dense layers --> w ----------+--> 8, 16, 32 steps of 4 frames
    32 steps  -->  a slow part, interpolated, and a fast one with its own depth  --+--> curves
    w  -->  a constant and four exponentials per row, for the attack  -------------+
    curves (B, 256, 128), pitch  -->  96 oscillators and filtered noise  -->  (B, 1, 16000)

A harmonic that trembles by 0.3 dB from frame to frame puts noise between the partials, 20 dB too much for a clarinet.
So what is fast is a part of its own, which an instrument can turn down to nothing.

The adversarial game is played on the curves (see `musicai.gan.curves`), which keeps it small: the only thing that
needn't be learned is how a sum of cosines sounds.
"""

import json
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicai.pretrained import CONFIG, SHIPPED, Pretrained

from .curves import FRAMES, HARMONICS, HOP, ROWS, SR, average, extend, fade_out, loudness, play_curves, regularise
from .game import check_input

PACK = 4  # frames that share one time step of the networks
STEPS = FRAMES // PACK
FIRST = 8  # time steps of the generator's first layer
ONSETS = (1.0, 2.5, 6.0, 15.0)  # frames, 8 to 120 ms: how fast parts of an attack die away
WIDTH, NOISE_CHANNELS = 256, 12  # of the generator's w, and of its noise
SLOPE = 0.2  # of the leaky ReLUs
WINDOWS = (9, 37)  # frames, 72 and 296 ms: the discriminator also sees how curves fluctuate about these averages
RANGES = json.loads((SHIPPED / "instrument-gan" / CONFIG).read_text())["instruments"]  # name, lowest, highest pitch
Values = float | Sequence[float] | Tensor
Instruments = str | int | Sequence[str] | Sequence[int] | Tensor


class InstrumentGenerator(Pretrained, nn.Module):
    """Plays any note of the instruments it was trained on; a different z gives another take of the same note.

    >>> generator = InstrumentGenerator(size=16)
    >>> generator.play(60, "violin", seed=1).shape
    torch.Size([1, 1, 16000])

    Pitch is right by construction: the network shapes the harmonics of the note, including small mistunings. The level
    follows (velocity / 100) squared, as the General MIDI level 2 standard recommends; the network adds the timbre. A
    note lasts one second and ends with the recordings' 20 ms fade; `render_notes` makes other lengths.

    Args:
        size: channels of the convolutions.
        z_size: dimensions of z, which is normally distributed; only its direction matters.
        instruments: (name, lowest pitch, highest pitch) of each.

    Chapter 4.
    """

    def __init__(self, size: int = 160, z_size: int = 16, instruments: Sequence[tuple[str, int, int]] = RANGES):
        super().__init__()
        self.config = {"size": size, "z_size": z_size, "instruments": [list(row) for row in instruments]}
        self.instruments, self.lowest, self.highest = map(tuple, zip(*instruments, strict=True))
        self.curves = CurveGenerator(len(self.instruments), size, z_size)
        rng = torch.Generator().manual_seed(1)
        self.register_buffer("phases", torch.pi * torch.randn(z_size, HARMONICS, generator=rng), persistent=False)
        self.register_buffer("noises", torch.randn(z_size, FRAMES * HOP, generator=rng), persistent=False)

    def latent(self, n: int) -> Tensor:
        """n draws of z, shape (n, z_size), standard normal."""
        return self.curves.latent(n)

    def forward(self, z: Tensor, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> Tensor:
        """Generate one-second notes.

        Args:
            z: (B, z_size).
            pitch: (B,) MIDI numbers; 60 is middle C, and fractions are fine.
            instrument: (B,) indices into `instruments`.
            velocity: (B,) from 1 to 127; fractions are fine.

        Returns:
            (B, 1, 16000) in [-1, 1] at 16 kHz.

        Raises:
            ValueError: if a shape is wrong, or an instrument, pitch or velocity is out of range.
        """
        curves = self.curves(z, pitch, instrument, velocity)
        self._check_ranges(pitch, instrument)
        return fade_out(self.synthesise(curves, z, pitch, velocity), SR)[:, None]

    def synthesise(self, curves: Tensor, z: Tensor, pitch: Tensor, velocity: Tensor) -> Tensor:
        """Turn curves (B, 256, 128) into audio (B, 16384) at these velocities, without a fade at the end.

        z sets the phase of each harmonic and mixes the noise from 16 fixed ones, so a walk in z is smooth down to the
        last sample.
        """
        direction = F.normalize(z, dim=1)
        audio = play_curves(curves, pitch, direction @ self.phases, direction @ self.noises)
        audio = audio * (velocity[:, None] / 100) ** 2
        return audio / (audio.abs().amax(1, keepdim=True) / 0.99).clamp_min(1)  # turned down if it would clip

    @torch.no_grad()
    def play(
        self, pitch: Values, instrument: Instruments = 0, velocity: Values = 100, z: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """Play one-second notes; single values are repeated for all of them.

        >>> generator.play([60, 64, 67], "flute", velocity=[50, 75, 100], seed=3).shape  # doctest: +SKIP
        torch.Size([3, 1, 16000])

        Args:
            pitch: MIDI numbers.
            instrument: names, or indices into `instruments`.
            velocity: 1 to 127.
            z: (B, z_size) or (z_size,); drawn at random if None.
            seed: the seed of that draw; the same seed gives the same takes.

        Returns:
            (B, 1, 16000) at 16 kHz.

        Raises:
            ValueError: as in `forward`, or if lists differ in length.
        """
        *notes, _ = self._batch(z, seed, pitch, instrument, velocity)
        return self(*notes)

    @torch.no_grad()
    def render_notes(
        self, pitches: Values, velocities: Values, instruments: Instruments, durations: Values, seed=0, release=0.2
    ) -> list[Tensor]:
        """Render notes of any length, for a score: each sounds for its duration in seconds, followed by its release.

        The network generates the first second. Beyond it, the curves move back and forth over their second half while
        any decay continues; no waveform is cut or joined, so there is no seam.

        Args:
            pitches: one MIDI number, or one per note.
            velocities: one from 1 to 127, or one per note.
            instruments: one name or index, or one per note.
            durations: one in seconds, or one per note; from one sample to ten minutes.
            seed: the seed of the takes.
            release: seconds from the end of the duration to silence.

        Returns:
            A list of (time,): note i has round(16000 * (durations[i] + release)) samples.

        Raises:
            ValueError: as in `play`, or if a duration is out of range.
        """
        from ._fast.oscillators import play_note

        seconds = torch.as_tensor(durations, dtype=torch.float64).reshape(-1)
        check_input("durations", seconds, ("B",), "one for all notes, or one per note", limits=(1 / SR, 600))
        lengths = (SR * (seconds + release)).round()
        z, pitch, instrument, velocity, lengths = self._batch(None, seed, pitches, instruments, velocities, lengths)
        curves = self.curves(z, pitch, instrument, velocity)
        self._check_ranges(pitch, instrument)
        direction = F.normalize(z, dim=1)
        parts = (curves, pitch, direction @ self.phases, direction @ self.noises, velocity)
        sounds = []
        for length, held, *note, v in zip(lengths.int().tolist(), *(x.cpu().split(1) for x in parts), strict=True):
            sound = play_note(extend(held, -(-length // HOP)), *note) * (v / 100) ** 2
            sound = sound / (sound.abs().max() / 0.99).clamp_min(1)
            sounds.append(fade_out(sound, length, max(round(SR * release), SR // 200)))
        return sounds

    def _batch(self, z, seed: int, pitch, instrument, velocity, lengths: Values = SR) -> list[Tensor]:
        """Expand z, pitch, instrument, velocity and length to batches of one size, on this model's device."""
        pitch, velocity, lengths = (torch.as_tensor(v, dtype=torch.float32) for v in (pitch, velocity, lengths))
        columns = [x.reshape(-1) for x in (pitch, torch.as_tensor(self.index(instrument)), velocity, lengths)]
        given = [] if z is None else [torch.atleast_2d(z.float())]
        count = max(map(len, given + columns))
        if any(len(x) not in (1, count) for x in given + columns):
            raise ValueError(f"got {[*map(len, given + columns)]} values: pass one for all notes, or one per note")
        given = given or [torch.randn(count, self.config["z_size"], generator=torch.Generator().manual_seed(seed))]
        return [x.expand(count, *x.shape[1:]).to(self.phases.device) for x in given + columns]

    def index(self, instrument: Instruments) -> int | list[int] | Tensor:
        """Look up the index of an instrument by name, or of each of several; a ValueError for an unknown name."""
        if isinstance(instrument, str):
            if instrument not in self.instruments:
                raise ValueError(f"no instrument {instrument!r}; choose from {', '.join(self.instruments)}")
            return self.instruments.index(instrument)
        return [self.index(one) for one in instrument] if isinstance(instrument, Sequence) else instrument

    def _check_ranges(self, pitch: Tensor, instrument: Tensor) -> None:
        for p, i in zip(pitch.tolist(), instrument.tolist(), strict=True):
            low, high, name = self.lowest[i], self.highest[i], self.instruments[i]
            if not low <= p <= high:
                raise ValueError(f"pitch {p:g} is outside the range of {name}, {low} to {high}: transpose by octaves")


class CurveGenerator(nn.Module):
    """The trained part of the generator: from z and the note to curves (B, 256, 128) at the level of velocity 100."""

    def __init__(self, instruments: int, size: int, z_size: int):
        super().__init__()
        self.z_size = z_size
        self.condition = NoteEmbedding(instruments, 128)
        self.dense = nn.ModuleList([nn.Linear(inputs, WIDTH) for inputs in (128 + z_size, WIDTH, WIDTH)])
        self.first = nn.Linear(WIDTH, size * FIRST)
        self.stages = nn.ModuleList([StyleBlock(size) for _ in range(3)])
        self.last = nn.Conv1d(size, ROWS + PACK * ROWS + 1, 1)  # what is slow, what is fast, and how much of it
        self.shape, self.depth = nn.Linear(WIDTH, ROWS * (1 + len(ONSETS))), nn.Linear(WIDTH, ROWS)
        nn.init.normal_(self.last.weight, std=0.02)
        for layer in (self.shape, self.depth):
            nn.init.zeros_(layer.weight)
        nn.init.constant_(self.depth.bias, -1.5)
        fade = torch.exp(-torch.arange(FRAMES) / torch.tensor(ONSETS)[:, None])
        self.register_buffer("shapes", torch.cat([torch.ones(1, FRAMES), fade]), persistent=False)  # (5, 128)
        rng = torch.Generator().manual_seed(1)
        self.register_buffer("noise", torch.randn(z_size, NOISE_CHANNELS, STEPS, generator=rng))

    def latent(self, n: int) -> Tensor:
        """n draws of z, shape (n, z_size), standard normal."""
        return torch.randn(n, self.z_size, device=self.noise.device)

    def forward(self, z: Tensor, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> Tensor:
        check_input("z", z, ("B", self.z_size), "draw it with generator.latent(B)")
        direction = F.normalize(z, dim=1)
        noise = torch.einsum("bz,znt->bnt", direction, self.noise)  # (B, 12, 32): random, but smooth in z
        w = torch.cat([self.condition(len(z), pitch, instrument, velocity), 4 * direction], 1)
        for layer in self.dense:
            w = F.leaky_relu(layer(w), SLOPE)  # (B, 256)
        x = self.first(w).unflatten(1, (-1, FIRST))  # (B, size, 8)
        for stage in self.stages:  # (B, size, 8), (B, size, 16), (B, size, 32)
            x = F.interpolate(x, scale_factor=2, mode="linear") if stage is not self.stages[0] else x
            x = stage(x, w, noise[..., : x.shape[2]])
        slow, fast, when = self.last(F.leaky_relu(x, SLOPE)).split([ROWS, PACK * ROWS, 1], 1)  # each (B, ..., 32)
        fast = fast.unflatten(1, (PACK, ROWS)) * torch.sigmoid(self.depth(w)[:, None, :, None] + 2 * when[:, None])
        x = smooth(slow) + fast.permute(0, 2, 3, 1).flatten(2) + self.shape(w).unflatten(1, (ROWS, -1)) @ self.shapes
        level, mistuning, noise = x.split([HARMONICS, HARMONICS, ROWS - 2 * HARMONICS], 1)
        return regularise(torch.cat([level - 0.5, 0.9 * torch.tanh(mistuning), noise - 0.5], 1), pitch)


def smooth(x: Tensor) -> Tensor:
    """Interpolate (B, ..., 32) to 128 frames without corners: in lines, then averaged over 40 ms."""
    return average(F.interpolate(x, scale_factor=PACK, mode="linear"), PACK + 1)


class StyleBlock(nn.Module):
    """A residual block that w scales and shifts, with added noise, as in StyleGAN (Karras et al. 2019)."""

    def __init__(self, size: int):
        super().__init__()
        self.style = nn.Linear(WIDTH, 2 * size)
        self.stir = nn.Conv1d(NOISE_CHANNELS, size, 1, bias=False)
        self.amount = nn.Linear(WIDTH, size)
        self.one = nn.Conv1d(size, size, 5, padding=2)
        self.two = nn.Conv1d(size, size, 3, padding=1)
        nn.init.normal_(self.stir.weight, std=0.05)
        nn.init.zeros_(self.amount.weight)
        nn.init.zeros_(self.amount.bias)
        nn.init.normal_(self.two.weight, std=0.001)  # at first the block is close to the identity

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        scale, shift = self.style(w)[..., None].chunk(2, 1)
        h = x * (1 + scale) + shift + self.stir(noise) * (1 + self.amount(w)[..., None])
        return x + self.two(F.leaky_relu(self.one(F.leaky_relu(h, SLOPE)), SLOPE))


class InstrumentDiscriminator(Pretrained, nn.Module):
    """A projection discriminator (Miyato and Koyama 2018): curves and the note they should be -> one logit.

    >>> discriminator = InstrumentDiscriminator(size=16)
    >>> note = torch.tensor([60]), torch.tensor([7]), torch.tensor([100])
    >>> discriminator(torch.zeros(1, 256, 128), *note).shape
    torch.Size([1, 1])

    Args:
        size: channels of the convolutions.
        instruments: the number of instruments.

    Chapter 4.
    """

    def __init__(self, size: int = 192, instruments: int = len(RANGES)):
        super().__init__()
        self.config = {"size": size, "instruments": instruments}
        self.first = nn.Conv1d((PACK + len(WINDOWS)) * ROWS + PACK, size, 1)
        self.down = nn.ModuleList([nn.Conv1d(size, size, 5, stride=2, padding=2) for _ in range(2)])
        self.side = nn.ModuleList([nn.Conv1d(size, size, 3, padding=1) for _ in range(2)])
        self.dense = nn.Linear(STEPS // 4 * size, size)
        self.condition = NoteEmbedding(instruments, size)
        self.logit = nn.Linear(size, 1)

    def forward(self, curves: Tensor, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> Tensor:
        """Logits (B, 1) for curves (B, 256, 128) at the level of velocity 100; `note_curves` computes them from sound.

        Raises:
            ValueError: if a shape is wrong, or an instrument, pitch or velocity is out of range.
        """
        check_input("curves", curves, ("B", ROWS, FRAMES), "make them with note_curves(audio, pitch)")
        rows = torch.cat([curves, 4 * loudness(curves)], 1)  # how loud the whole is decides how sharp its attack is
        packed = rows.unflatten(2, (STEPS, PACK)).permute(0, 3, 1, 2).flatten(1, 2)  # (B, 1028, 32)
        x = self.first(torch.cat([packed, fluctuation(curves)], 1))  # (B, size, 32)
        for down, side in zip(self.down, self.side, strict=True):
            x = down(F.leaky_relu(x, SLOPE))  # (B, size, 16), (B, size, 8)
            x = x + side(F.leaky_relu(x, SLOPE))
        h = F.leaky_relu(self.dense(F.leaky_relu(x, SLOPE).flatten(1)), SLOPE)  # (B, size)
        match = (h * self.condition(len(curves), pitch, instrument, velocity)).sum(1, keepdim=True)
        return self.logit(h) + match / self.config["size"] ** 0.5


class NoteEmbedding(nn.Module):
    """Encode the note to play as one vector: the instrument's embedding, smooth bumps over pitch, and the velocity."""

    def __init__(self, instruments: int, size: int):
        super().__init__()
        self.instrument = nn.Embedding(instruments, 48)
        self.register_buffer("centres", torch.arange(24.0, 108.0, 3.0))
        self.mix = nn.Linear(48 + len(self.centres) + 3, size)

    def forward(self, count: int, pitch: Tensor, instrument: Tensor, velocity: Tensor) -> Tensor:
        limits = {"pitch": (0, 127), "instrument": (0, self.instrument.num_embeddings - 1), "velocity": (1, 127)}
        for name, label in zip(limits, (pitch, instrument, velocity), strict=True):
            check_input(name, label, (count,), "one value per note", limits[name])
        pitch, loud = pitch.float()[:, None], velocity.float()[:, None] / 127
        bumps = 2 * torch.exp(-((pitch - self.centres) ** 2) / 18)  # three semitones wide
        extra = [(pitch - 60) / 24, 2 * loud - 1, (2 * loud - 1) ** 2]
        return self.mix(torch.cat([self.instrument(instrument), bumps, *extra], 1))  # (B, size)


def fluctuation(curves: Tensor) -> Tensor:
    """How far curves (B, 256, 128) deviate from moving averages of 72 and 296 ms, rms over 12 frames: (B, 512, 32).

    A string section fluctuates by 3 dB, a trumpet by less than 1. A discriminator whose gradient is penalised (R1 + R2)
    hardly sees that in the curves themselves, so the generator fluctuates too little everywhere, or too much.
    """
    deviation = [curves - average(curves, n) for n in WINDOWS]
    power = F.avg_pool1d(torch.cat(deviation, 1).square(), 3 * PACK, PACK, PACK, count_include_pad=False)
    return 10 * (power + 1e-4).sqrt()
