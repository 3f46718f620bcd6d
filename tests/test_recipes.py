"""Every recipe in `musicai.recipes`: a trial of two steps leaves a model with a card; a broken run is the whole one."""

import subprocess
import sys
from functools import cache

import pytest
import torch
from safetensors.torch import load_file

from musicai import composition, metrics, performance, recipes, wavenet
from musicai.data import catalogue, folk
from musicai.gan import InstrumentGenerator, WaveGANGenerator
from musicai.pretrained import shipped
from musicai.recipes import RECIPES, gan, polyphony, renderer, shared
from musicai.train import fit
from musicai.train.checkpoint import read_checkpoint

MODELS = {
    "instrument": InstrumentGenerator,
    "classifier": metrics.InstrumentClassifier,
    "drums": WaveGANGenerator,
    "chorales": wavenet.RollWaveNet,
    "nottingham": wavenet.RollWaveNet,
    "renderer": wavenet.ScoreWaveNet,
    "unconditional": wavenet.WaveNet,
    "tunes": composition.TuneWaveNet,
    "distilled": performance.DistilledInstrument,
}


def test_every_shipped_model_has_a_recipe_and_every_recipe_a_test():
    assert RECIPES.keys() == MODELS.keys()
    told = {line.split("ships as ")[1].split(" ")[0] for line in RECIPES.values()}
    assert told == set(shipped())


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """Trains a model by its recipe for two steps, once for all tests; its folder."""

    @cache
    def train(name):
        out = tmp_path_factory.mktemp("trial") / name
        assert recipes.train(name, out=out, steps=2, progress=False) == out
        return out

    return train


@pytest.mark.parametrize("name", MODELS)
def test_a_trial_leaves_a_model_and_its_card(name, trial):
    folder = trial(name)
    model = MODELS[name].from_pretrained(folder)
    if "renderer" in name:  # neither the WaveNet's steps nor the average of its weights change the fitted partials
        fitted = MODELS[name].from_pretrained("wavenet-renderer").upsample.partials.state_dict()
        assert all(torch.equal(value, fitted[key]) for key, value in model.upsample.partials.state_dict().items())
    card = (folder / "README.md").read_text()
    assert f"`musicai train {name} --steps 2 --seed 0`" in card
    assert read_checkpoint(folder / "run.safetensors")[1]["step"] == 2
    assert (folder / "history.json").is_file()


@pytest.mark.parametrize(("name", "module"), [("drums", gan), ("chorales", polyphony), ("renderer", renderer)])
def test_an_interrupted_run_ends_as_an_unbroken_one(name, module, trial, tmp_path, monkeypatch):
    """Ctrl-C in the second step of the last `fit`; the same call goes on. What is heard on the way changes nothing."""

    def interrupted(step, *args, **options):
        def press(batch):
            if options["checkpoint"].name == "run.safetensors" and len(taken) == 1:
                raise KeyboardInterrupt
            taken.append(batch)
            return step(batch)

        taken = []
        return fit(press, *args, **options | {"save_every": 1})

    unbroken = trial(name)
    monkeypatch.setattr(module, "listening_ladder", lambda *_: lambda _: None, raising=False)
    monkeypatch.setattr(metrics, "judge", lambda *_, **__: [])
    with monkeypatch.context() as patch:
        patch.setattr(module, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recipes.train(name, out=tmp_path / "broken", steps=2, progress=False)
    assert read_checkpoint(tmp_path / "broken" / "run.safetensors")[1]["step"] == 1
    recipes.train(name, out=tmp_path / "broken", steps=2, progress=False)
    whole, broken = (load_file(run / "model.safetensors") for run in (unbroken, tmp_path / "broken"))
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[key], broken[key]) for key in whole)


@pytest.mark.parametrize(("given", "match"), [
    ({"name": "instruments"}, "no recipe 'instruments'; did you mean instrument?"),
    ({"name": "xyz"}, "no recipe 'xyz'; the recipes are instrument, classifier"),
    ({"name": "drums", "steps": 0}, "steps=0: give a whole number of 1 or more"),
    ({"name": "drums", "steps": 2.5}, r"steps=2\.5"),
    ({"name": "drums", "seed": -1}, "seed=-1: give a whole number of 0 or more"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused_with_the_way_out(given, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        recipes.train(**given, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_music21_a_renderer_says_what_to_install(tmp_path, monkeypatch):
    folk.read_texts.cache_clear()
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"musicai\[corpus\]"):
        recipes.train("renderer", out=tmp_path / "out", steps=2, progress=False)
    assert not (tmp_path / "out").exists()


def test_the_list_of_recipes_needs_no_torch():
    code = "import sys; from musicai.recipes import RECIPES; print(len(RECIPES), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{len(RECIPES)} False\n"


def test_curves_are_means_of_blocks():
    nan = float("nan")
    history = {"loss": [1.0, 3.0, 5.0, nan, 9.0], "valid": [nan, nan, nan, 2.0, 4.0]}
    assert shared.curves(history, 2) == {"step": [2, 4, 5], "loss": [2.0, 5.0, 9.0], "valid": [None, 2.0, 4.0]}
