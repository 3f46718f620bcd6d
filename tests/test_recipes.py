"""Every recipe in `musicai.recipes`: a trial of two steps leaves a model with a card; a broken run is the whole one."""

import subprocess
import sys
from functools import partial

import pytest
import torch

from musicai import gan, metrics, recipes, wavenet
from musicai.pretrained import shipped
from musicai.recipes import RECIPES, instrument, polyphony, renderer, shared
from musicai.train import load_checkpoint
from musicai.train.checkpoint import read_checkpoint

MODELS = {
    "instrument": gan.InstrumentGenerator,
    "classifier": metrics.InstrumentClassifier,
    "drums": gan.WaveGANGenerator,
    "chorales": wavenet.RollWaveNet,
    "nottingham": wavenet.RollWaveNet,
    "renderer": wavenet.ScoreWaveNet,
    "renderer-categorical": wavenet.ScoreWaveNet,
    "unconditional": wavenet.WaveNet,
}


def test_every_shipped_model_has_a_recipe_and_every_recipe_a_test():
    assert RECIPES.keys() == MODELS.keys()
    told = {line.split("ships as ")[1].split(" ")[0] for line in RECIPES.values()}
    assert told == set(shipped())


@pytest.mark.parametrize("name", MODELS)
def test_a_trial_leaves_a_model_and_its_card(name, tmp_path):
    folder = recipes.train(name, out=tmp_path / name, steps=2, progress=False)
    assert folder == tmp_path / name
    MODELS[name].from_pretrained(folder)
    card = (folder / "README.md").read_text()
    assert f"`musicai train {name} --steps 2 --seed 0`" in card
    assert read_checkpoint(folder / "run.safetensors")[1]["step"] == 2
    assert (folder / "history.json").is_file()
