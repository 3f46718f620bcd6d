"""People's mistakes, simulated: tunes typed wrongly, and tunes hummed out of tune into a telephone. Chapter 6.

The singer's habits below were set beside three real voices and then frozen: two people who hum (16 s in all, 53 notes
of known tunes, from Jang's query-by-singing corpus) and one who sings (9 s, from vocadito). What was measured stands
beside each constant, in the order hum, hum, singer; "guess" marks what so little singing cannot tell.
`scripts/calibrate_humming.py` repeats part of it.
"""

import numpy as np
import scipy  # which loads the part `signal` when that is first used

from musicai.notes import Melody, Note, midi_to_hz

SR = 16_000  # of the simulated voice
RATE = 250  # frames per second of its pitch and loudness

PACE = 0.3, 0.2  # seconds from note to note: the median of a hum (0.27, 0.26, 0.37), its spread between people (log)
TIMING = 0.03  # seconds by which an onset misses the beat (0.032, 0.035 after a steady change of tempo)
RUBATO = 0.06  # spread of the change of tempo over ten seconds, log (-0.06, 0.03)
PITCH = (0.85, 0.15), (0.3, 0.75)  # errors, two kinds of note: shares; spreads in semitones (all: 0.40, 0.47)
SKILL = 0.25  # spread of those errors between people, log (guess)
MEMORY = 0.3  # how much of its error a note hands on to the next one (0.34, 0.25)
DRIFT = 0.5  # spread of the change of tuning over ten seconds, in semitones (-0.94, 0.04)
WANDER = 0.18  # semitones: how unsteady a note is below 2 Hz; with vibrato, 0.15 around its trend (0.18, 0.14, 0.24)
VIBRATO = (5.5, 0.7), (0.2, 0.6)  # Hz and spread (5.6, 5.9, 5.4); semitones, spread (log) (0.16, 0.33, 0.41)
SCOOP = (0.0, 0.9, 0.05)  # semitones beside its pitch where a note begins (|0.8|, |0.5|, |1.0|): mean, spread; seconds
RELEASE = (-0.5, 0.7, 0.015)  # likewise where it ends (-1.1, -0.5, 0.1)
GLIDE = 0.02  # seconds: time constant of the way from one pitch to the next; 90 % of the way take 0.08 s (0.05 to 0.1)
ATTACKED = 0.1, 1.0  # share of the notes that begin out of silence (0.6, 0.9, 0.4): the least and the most
GAP = 0.16, 0.3  # seconds of that silence, median and spread (log); a tracker hears 0.08 of them (0.10, 0.10, 0.11)
BREATH = 0.35  # share of the long notes that are cut short to breathe in (guess)
SPLIT, DROP, WRONG, OCTAVE = 0.02, 0.01, 0.02, 0.004  # sung twice, missing, wrong, an octave off: chances (guess)
REGISTER = (53, 5), (82, 4)  # MIDI pitch: mean and spread of voices (52, 53, 47) and of whistles (guess)

# Formants of five vowels: frequencies in Hz (first, second, third); the fourth and fifth hardly change.
VOWELS = ((700, 1200, 2500), (450, 850, 2500), (320, 750, 2300), (480, 1800, 2500), (290, 2200, 2900))
NASAL = (250, 1000, 2200)  # of a hum with the lips closed


def excerpt(melody: Melody, notes: int, seed: int | np.random.Generator = 0) -> Melody:
    """Cut consecutive notes out of a melody, at a random position.

    >>> excerpt(Melody.from_pitches(range(60, 72)), 3, seed=1).intervals
    array([1, 1])

    Args:
        melody: the tune.
        notes: how many; the whole melody if it has fewer.
        seed: a whole number or a NumPy generator.

    Returns: a Melody that starts at beat 0, with the name, key, tempo and metre of the tune.

    Chapter 6.
    """
    first = np.random.default_rng(seed).integers(max(1, len(melody) - notes + 1))
    kept = melody.notes[first : first + notes]
    moved = tuple(Note(n.pitch, n.start - kept[0].start, n.duration, n.velocity) for n in kept)
    return Melody(moved, melody.name, melody.key, melody.tempo, melody.time_signature)


def perturb(
    melody, seed=0, *, substitutions=0.08, deletions=0.04, insertions=0.04, octaves=0.02, durations=0.15, times=1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the mistakes of someone who types or plays a tune from memory; the defaults are the benchmark's "mild" ones.

    >>> pitches, starts, durations = perturb(Melody.from_pitches([60, 62, 64, 65]), times=0)
    >>> pitches, starts
    (array([60., 62., 64., 65.]), array([0., 1., 2., 3.]))

    Args:
        melody: a Melody, or (pitches, starts, durations).
        seed: a whole number or a NumPy generator.
        substitutions: chance that a note is one to five semitones off.
        deletions: chance that a note is missing; the next one follows at once.
        insertions: chance that an extra note follows a note.
        octaves: chance that a note is an octave off.
        durations: the largest share by which a note is longer or shorter; so is the rest after it.
        times: a factor for all of these; 2 makes twice the errors.

    Returns: pitches (float64, MIDI numbers), starts and durations (in the unit of the melody); at least one note.

    Chapter 6.
    """
    rng = np.random.default_rng(seed)
    pitches, steps, lengths = _rows(melody)
    fate = _fate(rng, len(pitches), times * np.array([deletions, substitutions, octaves]))
    fate[0] = fate[0] if fate.any() else 3  # something has to be left
    pitches = pitches + (fate == 1) * _miss(rng, fate) + (fate == 2) * rng.choice([-12, 12], fate.size)
    extra = np.flatnonzero(rng.random(len(pitches)) < times * insertions)
    pitches = np.r_[pitches, pitches[extra] + _miss(rng, extra)]
    source = np.r_[np.arange(len(fate)), rng.integers(len(fate), size=len(extra))]  # an extra note is as long as any
    order = np.argsort(np.r_[np.arange(len(fate)), extra], kind="stable")
    order = order[np.r_[fate, np.ones(len(extra))][order] > 0]
    stretch = 1 + min(times * durations, 0.9) * rng.uniform(-1, 1, len(order))
    steps, lengths = steps[source[order]] * stretch, lengths[source[order]] * stretch
    return pitches[order], np.cumsum(steps) - steps, lengths


def _rows(melody: Melody | tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pitches, times from each note to the next, and durations."""
    rows = (melody.pitches, melody.starts, melody.durations) if isinstance(melody, Melody) else melody
    pitches, starts, durations = (np.asarray(row, dtype=float) for row in rows)
    if not len(pitches):
        raise ValueError("the melody holds no notes; give one with at least one note")
    return pitches, np.diff(starts, append=starts[-1] + durations[-1]), durations


def _miss(rng: np.random.Generator, like: np.ndarray) -> np.ndarray:
    """Semitones to a wrong note nearby, one for each item of `like`."""
    return rng.choice([-1, 1], len(like)) * rng.choice([1, 2, 3, 4, 5], len(like), p=[0.3, 0.3, 0.2, 0.1, 0.1])


def _fate(rng: np.random.Generator, n: int, chances: np.ndarray) -> np.ndarray:
    """What happens to each of n notes: the number of one of the chances, or their count if nothing happens."""
    return np.searchsorted(np.cumsum(chances), rng.random(n), side="right")


def sing(melody, seed=0, *, seconds=10.0, errors=1.0, register=REGISTER[0]) -> tuple[np.ndarray, np.ndarray, int]:
    """Simulate the pitch and loudness of a voice that hums part of a tune, without making the sound.

    >>> pitches, loudness, rate = sing(Melody.from_pitches([60, 62, 64, 62] * 8), seconds=4)
    >>> pitches.shape, rate
    ((1000,), 250)

    Args:
        melody: a Melody, or (pitches, starts, durations). The hum begins at a random note, from which the tune still
            lasts for `seconds`, or at the first note if the tune is too short for that.
        seed: a whole number or a NumPy generator.
        seconds: length.
        errors: a factor for every mistake and unsteadiness; 0 sings the notes as written, at a pitch
            and pace of its own.
        register: mean and spread of the MIDI pitch around which the voice is at ease.

    Returns: pitches (frames,) in semitones (MIDI numbers with fractions), NaN in silence; loudness (frames,) from 0 to
    about 1; frames per second.

    Chapter 6.
    """
    rng = np.random.default_rng(seed)
    pitches, steps, lengths = _rows(melody)
    pace = PACE[0] * np.exp(PACE[1] * rng.standard_normal()) / np.median(steps)
    left = np.cumsum(steps[::-1])[::-1] * pace
    first = rng.integers(max(1, np.count_nonzero(left >= seconds)))
    kept = slice(first, np.count_nonzero(left > left[first] - seconds))
    pitches, steps, held = pitches[kept], steps[kept] * pace, np.minimum(lengths[kept] / steps[kept], 1)
    pitches = pitches - np.median(pitches) + rng.normal(*register)
    notes = _articulate(rng, *_misremember(rng, pitches, steps, held, errors))
    return (*_draw(rng, *notes, seconds, errors), RATE)


def _misremember(rng, pitches, steps, held, errors):
    """Leave out, split, retune and shift notes."""
    fate = _fate(rng, len(pitches), errors * np.array([DROP, SPLIT, WRONG, OCTAVE]))
    fate[0] = 4
    pitches = pitches + (fate == 2) * _miss(rng, fate) + (fate == 3) * rng.choice([-12, 12], fate.size)
    source = np.repeat(np.arange(len(pitches)), np.choose(fate, [0, 2, 1, 1, 1]))
    again = np.r_[False, np.diff(source) == 0]
    starts = (np.cumsum(steps) - steps)[source] + again * steps[source] / 2
    spread = np.where(rng.random(len(starts)) < PITCH[0][0], *PITCH[1]) * np.sqrt(1 - MEMORY**2)
    wrong = scipy.signal.lfilter([1], [1, -MEMORY], spread * rng.standard_normal(len(starts)))
    wrong *= np.exp(SKILL * rng.standard_normal())
    late = rng.normal(0, RUBATO) * starts**2 / 20 + rng.normal(0, TIMING, len(starts))
    starts = np.sort(starts + errors * late)
    steps = np.diff(starts, append=starts[-1] + steps[-1])
    return pitches[source] + errors * wrong, starts - starts[0] + rng.uniform(0.1, 0.4), steps, held[source]


def _articulate(rng, pitches, starts, steps, held):
    """Find where each note ends, and which notes begin out of silence."""
    n = len(starts)
    gaps = np.where(rng.random(n) < rng.uniform(*ATTACKED), GAP[0] * np.exp(GAP[1] * rng.standard_normal(n)), 0)
    breath = (steps >= 1.5 * np.median(steps)) & (rng.random(n) < BREATH)
    gaps = np.minimum(np.where(breath, rng.uniform(0.2, 0.45, n), gaps), 0.5 * steps)
    rests = (1 - held) * steps
    silence = np.maximum(gaps, np.where(rests > 0.1, rests, 0))
    return pitches, starts, starts + steps - silence, np.r_[True, silence[:-1] > 0]


def _draw(rng, pitches, starts, ends, attacked, seconds, errors):
    """Draw the pitch curve and the loudness of notes, in frames."""
    t = np.arange(int(seconds * RATE)) / RATE
    note = np.maximum(np.searchsorted(starts, t, side="right") - 1, 0)
    since, left = np.maximum(t - starts[note], 0), np.maximum(ends[note] - t, 0)
    early = np.maximum(np.searchsorted(starts, t + 2 * GLIDE, side="right") - 1, 0)  # a singer sets off before the beat
    keep = np.exp(-1 / (GLIDE * RATE))
    curve = pitches[0] + scipy.signal.lfilter([(1 - keep) ** 2], [1, -2 * keep, keep**2], pitches[early] - pitches[0])
    scoop, release = rng.normal(*SCOOP[:2], len(starts)), rng.normal(*RELEASE[:2], len(starts))
    loose = np.where(attacked, scoop, 0)[note] * np.exp(-since / SCOOP[2])
    loose += np.where(np.roll(attacked, -1), release, 0)[note] * np.exp(-left / RELEASE[2])
    swing = rng.normal(*VIBRATO[0]) * t + rng.random()
    depth = VIBRATO[1][0] * np.exp(VIBRATO[1][1] * rng.standard_normal())
    loose += depth * (1 - np.exp(-since / 0.3)) * np.sin(2 * np.pi * swing)
    slow = np.exp(-2 * np.pi * 2 / RATE)  # noise below 2 Hz
    loose += WANDER * scipy.signal.lfilter([np.sqrt(1 - slow**2)], [1, -slow], rng.standard_normal(len(t)))
    loose += rng.normal(0, DRIFT) * t / 10
    gain = np.exp(0.2 * rng.standard_normal(len(starts)))[note]
    sounding = (t >= starts[0]) & (left > 0)
    loudness = scipy.signal.lfilter([0.25], [1, -0.75], sounding * gain * (1 - 0.6 * np.exp(-since / 0.03)))
    return np.where(sounding, curve + errors * loose, np.nan), loudness


def hum(melody, seed=0, *, seconds=10.0, errors=1.0, voice="any", room=0.0, snr=None) -> tuple[np.ndarray, int]:
    """Simulate a recording of someone who hums, sings "la la" or whistles part of a tune.

    >>> audio, sr = hum(Melody.from_pitches([60, 62, 64, 62] * 8), seconds=4, room=0.4, snr=10)
    >>> audio.shape, sr
    ((64000,), 16000)

    Args:
        melody: the tune; the hum begins at a random note of it.
        seed: a whole number or a NumPy generator.
        seconds: length.
        errors: a factor for every mistake and unsteadiness of the singer, as in `sing`.
        voice: "vowel", "hum" (lips closed), "whistle", or "any" for one of the first two.
        room: seconds in which the room's reverberation falls by 60 dB; 0 for none.
        snr: decibels by which the hum is louder than the noise that is added, over the whole recording; None adds none.

    Returns: audio float32 (samples,) within [-1, 1], and its sample rate.

    Raises:
        ValueError: if the voice is none of these, or the melody holds no notes.

    Chapter 6.
    """
    if voice not in ("any", "vowel", "hum", "whistle"):
        raise ValueError(f"voice {voice!r} is unknown; choose any, vowel, hum or whistle")
    rng = np.random.default_rng(seed)
    voice = rng.choice(["vowel", "hum"]) if voice == "any" else voice
    register = REGISTER[int(voice == "whistle")]
    pitches, loudness, rate = sing(melody, rng, seconds=seconds, errors=errors, register=register)
    at = np.arange(int(seconds * SR)) * (rate / SR)
    known = np.flatnonzero(~np.isnan(pitches))
    frequency = np.interp(at, known, midi_to_hz(pitches[known]))
    loudness = np.interp(at, np.arange(len(pitches)), loudness)
    tone = np.sin(2 * np.pi * np.cumsum(frequency / SR))
    audio = loudness * (tone if voice == "whistle" else _voice(rng, frequency, voice == "hum"))
    audio = audio / np.std(audio) + 0.005 * rng.standard_normal(len(audio))  # nobody is silent between notes
    audio = _reverberate(rng, audio, room) if room else audio
    audio *= 10 ** (rng.uniform(-26, -18) / 20) / np.sqrt(np.mean(audio**2))
    if snr is not None:
        # like most noise, louder below
        noise = scipy.signal.lfilter([1], [1, -0.9], rng.standard_normal(int(seconds * SR)))
        audio = audio + noise * np.sqrt(np.mean(audio**2) / np.mean(noise**2)) * 10 ** (-snr / 20)
    return (audio / max(1.0, np.abs(audio).max() / 0.99)).astype(np.float32), SR


def _voice(rng, frequency, closed):
    """Glottal pulses, each a little off in length and strength, through the resonances of a mouth or a nose."""
    cycle = np.cumsum(frequency / SR).astype(int)
    jitter, shimmer = 1 + np.array([[0.008], [0.05]]) * rng.standard_normal((2, cycle[-1] + 1))
    x = np.cumsum(frequency * jitter[cycle] / SR) % 1
    opening, closing = 0.5 - 0.5 * np.cos(np.pi * x / 0.4), np.cos(np.pi / 2 * (x - 0.4) / 0.2)
    flow = np.where(x < 0.4, opening, np.where(x < 0.6, closing, 0)) * shimmer[cycle]
    source = np.diff(flow, prepend=0) + 0.01 * flow * rng.standard_normal(len(x))
    formants = np.array([*(NASAL if closed else rng.choice(VOWELS)), 3500, 4500]) * rng.uniform(0.9, 1.15)
    widths = (2.5 if closed else 1) * np.array([80, 90, 120, 200, 250])
    radius, angle = np.exp(-np.pi * widths / SR), 2 * np.pi * formants / SR
    a = np.stack([np.ones(5), -2 * radius * np.cos(angle), radius**2], axis=1)
    b = a.sum(1, keepdims=True) * [1, 0, 0]
    return scipy.signal.sosfilt(np.c_[b, a], source)


def _reverberate(rng, audio, seconds):
    """Add a room's echoes: noise that dies away exponentially, about as loud in all as the direct sound."""
    t = np.arange(int(seconds * SR)) / SR
    echoes = rng.standard_normal(len(t)) * 10 ** (-3 * t / seconds)
    echoes *= 10 ** (rng.uniform(-6, 3) / 20) / np.sqrt(np.sum(echoes**2))
    return audio + scipy.signal.oaconvolve(audio.astype(np.float32), echoes.astype(np.float32))[: len(audio)]
