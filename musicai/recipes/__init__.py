"""How each shipped model was trained: `musicai train NAME`, or `musicai.recipes.train(NAME)`.

A recipe is one short file: the settings, the data, the model, the step and a call to `musicai.train.fit`. All the data
come with the package, except for the folk tunes, which the renderers read from music21
(`pip install 'musicai[corpus]'`).
"""

from difflib import get_close_matches
from importlib import import_module
from os.path import expanduser
from pathlib import Path

__all__ = ["RECIPES", "train"]

RECIPES: dict[str, str] = {
    "instrument": "a GAN that plays any note of 17 instruments; ships as instrument-gan (chapter 4)",
    "classifier": "the judge that names an instrument by its sound; ships as instrument-classifier (chapter 4)",
    "drums": "a WaveGAN of drum sounds; ships as wavegan-drums (chapter 4)",
    "chorales": "a WaveNet that composes Bach chorales; ships as wavenet-chorales (chapter 5)",
    "nottingham": "a WaveNet that composes folk tunes with chords; ships as wavenet-nottingham (chapter 5)",
    "renderer": "a WaveNet that plays a score as flute or trumpet; ships as wavenet-renderer (chapter 5)",
    "unconditional": "a WaveNet that babbles like a flute and a trumpet; ships as wavenet-unconditional (chapter 5)",
    "tunes": "a WaveNet that writes folk tunes note by note; ships as tunes (chapter 7)",
    "distilled": "the instrument GAN in few weights, for the web page; ships as distilled-instrument (chapter 8)",
}
_FUNCTIONS = {name: f"gan.train_{name}" for name in ("instrument", "classifier", "drums")}
_FUNCTIONS |= dict.fromkeys(("chorales", "nottingham"), "polyphony.train")  # the others: renderer.train
_FUNCTIONS |= {name: f"{name}.train" for name in ("tunes", "distilled")}


def train(name: str, *, out: str | Path | None = None, steps: int | None = None, seed=0, progress=True) -> Path:
    """Train a model the way the shipped one was trained, evaluate it briefly, and save it with its card.

    >>> folder = train("chorales", steps=3)  # doctest: +SKIP
    >>> RollWaveNet.from_pretrained(folder)  # doctest: +SKIP

    Safe to interrupt; rerun to resume. The folder ends up with what `musicai/checkpoints` holds for each model (config,
    weights, card, curves, sounds by step), plus the checkpoint of the run. A trial of fewer than 100 steps uses only a
    little of the data.

    Args:
        name: one of `RECIPES`.
        out: the folder of the run; None for "runs/NAME".
        steps: training steps; None for as many as the shipped model had.
        seed: the seed of all random draws.
        progress: whether to show progress bars and results.

    Returns: the folder, for `from_pretrained`.

    Raises:
        ValueError: for an unknown name, fewer than one step, or a seed below 0.
        ImportError: if the recipe needs music21 and it is not installed.
        CheckpointError: if the folder holds a run made with other settings.

    Chapters 4, 5, 7 and 8.
    """
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the recipes are {', '.join(RECIPES)}"
        raise ValueError(f"there is no recipe {name!r}; {hint}")
    if not seed == int(seed) >= 0:
        raise ValueError(f"seed={seed!r}: give a whole number of 0 or more")
    if steps is not None and not steps == int(steps) >= 1:
        raise ValueError(f"steps={steps!r}: give a whole number of 1 or more")
    file, function = _FUNCTIONS.get(name, "renderer.train").split(".")
    recipe = getattr(import_module(f"musicai.recipes.{file}"), function)
    out = Path("runs", name) if out is None else Path(expanduser(out))
    scores = recipe(name, out, steps, seed, progress)
    if progress:
        print(*(f"{what}: {value:.3f}" for what, value in scores.items()), sep="\n")
    return out
