"""Players, figures, live source and interactions: what a reader gets to see and hear."""

import base64
import io
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client.manager import run_kernel
from PIL import Image

from musicai import notebook as nb
from musicai.notebook import figures, interact, plots
from musicai.notebook.code import source_of
from musicai.notebook.display import bundle_to_html
from musicai.notebook.figures import render
from musicai.notes import Melody, Note, Score, Track
from musicai.train import fit, update

SR = 16_000


def tone(hertz=440.0, seconds=1.0, sr=SR):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * sr)) / sr)


def carried(html: str) -> tuple[str, bytes]:
    """The kind and the bytes of the data address in a piece of HTML."""
    kind, data = re.search(r'src="data:([\w/]+);base64,([^"]+)"', html).groups()
    return kind, base64.b64decode(data)


def heard(shown) -> tuple[np.ndarray, int]:
    kind, data = carried(shown.html)
    assert kind == "audio/mpeg"
    audio, sr = soundfile.read(io.BytesIO(data), always_2d=True)
    return audio.T, sr


@pytest.fixture
def shell():
    """An IPython session, as a notebook has one, without a kernel."""
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def shown_html(function, *args, **kwargs) -> list[str]:
    with capture_output() as captured:
        function(*args, **kwargs)
    return [bundle_to_html(output.data) for output in captured.outputs]


# Players


@pytest.mark.parametrize("sr", [8_000, 16_000, 22_050, 44_100])
def test_a_player_carries_the_sound_it_was_given(sr):
    x = tone(sr=sr)
    audio, rate = heard(nb.player(x, sr))
    assert rate == sr
    middle = slice(sr // 10, sr - sr // 10)
    assert np.corrcoef(x[middle], audio[0][: len(x)][middle])[0, 1] > 0.99


def test_other_rates_are_resampled_not_mislabelled():
    audio, rate = heard(nb.player(tone(sr=10_000), 10_000))
    assert rate == 11_025
    spectrum = np.abs(np.fft.rfft(audio[0][: rate // 2]))
    assert abs(spectrum.argmax() * 2 - 440) <= 4


def test_stereo_stays_stereo_and_the_channels_in_place():
    audio, _ = heard(nb.player(torch.tensor(np.stack([tone(440), 0 * tone()])), SR))
    assert audio.shape[0] == 2
    assert np.abs(audio[0]).max() > 0.4
    assert np.abs(audio[1]).max() < 0.01


def test_only_what_is_too_loud_is_turned_down():
    quiet, _ = heard(nb.player(0.1 * tone(), SR))
    loud, _ = heard(nb.player(10 * tone(), SR))
    assert np.abs(quiet).max() == pytest.approx(0.05, abs=0.01)
    assert 0.9 < np.abs(loud).max() <= 1.05


def test_no_click_at_either_end():
    audio, _ = heard(nb.player(np.full(SR, 0.5), SR))
    assert np.abs(audio[0, :4]).max() < 0.1
    assert np.abs(audio[0, -4:]).max() < 0.02


def test_a_player_is_small_and_names_itself():
    shown = nb.player(tone(seconds=10), SR, 'Piano "C4" <loud>')
    assert len(shown.html) < 10 * 8_000
    assert 'aria-label="Piano &quot;C4&quot; &lt;loud&gt;"' in shown.html
    assert "<loud>" not in shown.html
    assert repr(shown) == 'Piano "C4" <loud> (10.0 s of audio)'


@pytest.mark.parametrize(
    ("audio", "sr", "why"),
    [
        ([], SR, "shape"),
        (np.zeros((3, 9)), SR, r"\(3, 9\)"),
        ([0, np.nan], SR, "NaN"),
        ([0.0], 0, "sr=0"),
        ([0.0], None, "sr=None"),
        (np.zeros((1, 1, 9)), SR, "shape"),
    ],
)
def test_a_player_refuses_what_cannot_be_heard(audio, sr, why):
    with pytest.raises(ValueError, match=why):
        nb.player(audio, sr)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=50), st.integers(4_000, 96_000))
def test_any_finite_sound_can_be_played(samples, sr):
    audio, _ = heard(nb.player(samples, sr))
    assert np.isfinite(audio).all()


def test_a_listening_ladder_has_a_row_for_each_sound():
    shown = nb.listening_ladder({0: tone(), 10_000: tone()}, SR)
    assert shown.html.count("<audio") == 2
    assert shown.html.count("</audio>") == 2
    assert 'aria-label="Step 10,000"' in shown.html
    with pytest.raises(ValueError, match="no sound"):
        nb.listening_ladder({}, SR)


# Figures


def notes(*pitches):
    return tuple(Note(pitch, index * 0.5, 0.5) for index, pitch in enumerate(pitches))


def every_plot():
    melody = Melody(notes(60, 62, 64), name="Three")
    score = Score((Track(notes(60, 64), name="A"), Track(notes(40, 43), name="B"), Track(notes(36), is_drum=True)))
    roll = torch.zeros(88, 16, dtype=torch.bool)
    roll[39, 2:6] = True
    values = torch.rand(40, 20)
    return {
        "waveform": plots.plot_waveform(tone(), SR),
        "stereo": plots.plot_waveform(torch.zeros(2, 100), SR),
        "linear": plots.plot_spectrogram(torch.fft.rfft(torch.rand(20, 64)).T, SR),
        "mel": plots.plot_spectrogram(values, SR, axis="mel"),
        "cqt": plots.plot_spectrogram(values, SR, axis="cqt"),
        "score": plots.plot_piano_roll(score),
        "roll": plots.plot_piano_roll(roll),
        "melody": plots.plot_melody(melody),
        "nothing": plots.plot_melody(Melody(())),
    }


def test_every_plot_becomes_a_small_named_picture_of_the_page_width():
    for name, fig in every_plot().items():
        html = render(fig, alt=f"The {name}").html
        kind, data = carried(html)
        assert kind == "image/webp"
        assert len(data) < 120_000, name
        assert Image.open(io.BytesIO(data)).width == 896
        assert f'alt="The {name}"' in html
        assert 'loading="lazy"' in html
        assert "max-width:100%" in html


def bars(fig):
    return sorted((round(p.get_y() + 0.4), p.get_x(), p.get_width()) for p in fig.axes[0].patches if p.get_height() < 1)


def test_a_piano_roll_draws_each_note_where_it_sounds():
    roll = torch.zeros(88, 16, dtype=torch.bool)
    roll[39, 2:6] = roll[39, 8:10] = roll[0, 15:] = True
    assert bars(plots.plot_piano_roll(roll, step=0.5)) == [(21, 7.5, 0.5), (60, 1, 2), (60, 4, 1)]
    score = Score((Track(notes(60, 64)), Track(notes(36), is_drum=True)))
    assert bars(plots.plot_piano_roll(score)) == [(60, 0, 0.5), (64, 0.5, 0.5)]
    assert bars(plots.plot_melody(Melody(notes(60, 64)))) == [(60, 0, 0.5), (64, 0.5, 0.5)]


def test_the_hertz_axis_agrees_with_librosa():
    librosa = pytest.importorskip("librosa")
    ours = plots._bin_frequencies("mel", 64, SR)
    np.testing.assert_allclose(ours, librosa.mel_frequencies(66, fmin=0, fmax=SR / 2)[1:-1], rtol=1e-6)
    ours = plots._bin_frequencies("cqt", 84, SR)
    np.testing.assert_allclose(ours, librosa.cqt_frequencies(84, fmin=librosa.note_to_hz("C1")), rtol=1e-4)
    np.testing.assert_allclose(plots._bin_frequencies("linear", 1025, SR), librosa.fft_frequencies(sr=SR))


@pytest.mark.parametrize("axis", ["linear", "mel", "cqt"])
def test_a_tick_stands_at_its_frequency(axis):
    fig = plots.plot_spectrogram(np.random.default_rng(0).random((80, 10)), SR, axis=axis)
    hertz = plots._bin_frequencies(axis, 80, SR)
    labels = [float(label.get_text().replace(",", "")) for label in fig.axes[0].get_yticklabels()]
    assert len(labels) >= 3
    for tick, label in zip(fig.axes[0].get_yticks(), labels, strict=True):
        assert np.interp(tick, np.arange(80), hertz) == pytest.approx(label, rel=1e-6)


def test_decibels_are_relative_to_the_loudest_and_kept_where_they_are():
    level, unit = plots._levels(np.array([[1.0, 10.0]]), True)
    np.testing.assert_allclose(level, [[-20, 0]])
    assert unit == "dB"
    np.testing.assert_allclose(plots._levels(np.array([[-30.0, -3.0]]), True)[0], [[-30, -3]])


def test_plots_name_bad_input():
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        plots.plot_spectrogram(np.zeros(4), SR)
    with pytest.raises(ValueError, match="axis='log' is unknown; use \"linear\""):
        plots.plot_spectrogram(np.zeros((4, 4)), SR, axis="log")
    _, ax = nb.figure()
    with pytest.raises(ValueError, match="one channel"):
        plots.plot_waveform(np.zeros((2, 9)), SR, ax=ax)


def test_plots_draw_into_given_axes():
    fig, (left, right) = nb.figure(1, 2)
    assert plots.plot_waveform(tone(), SR, ax=left) is fig
    assert plots.plot_spectrogram(np.ones((8, 8)), SR, ax=right) is fig


@pytest.mark.parametrize("alt", ["", "  ", None, 3])
def test_a_figure_without_words_is_refused(alt):
    with pytest.raises(ValueError, match="says nothing"):
        nb.show(nb.figure()[0], alt=alt)


def test_a_figure_keeps_room_for_itself_while_it_loads():
    """The page reserves the picture's height; otherwise links into a chapter land in the wrong place."""
    html = render(nb.figure(height=1.4)[0], alt="Nothing yet").html
    assert 'width="600" height="150"' in html
    assert "height:auto" in html  # on a narrow screen


def test_show_shows_once_and_closes(shell):
    import matplotlib.pyplot as plt

    fig, _ = plt.subplots()
    (html,) = shown_html(nb.show, fig, alt='A "quoted" <thing>')
    assert 'alt="A &quot;quoted&quot; &lt;thing&gt;"' in html
    assert not plt.fignum_exists(fig.number)


def test_the_palette_is_told_apart_in_grey():
    light = sorted(np.dot(matplotlib.colors.to_rgb(colour), [0.2126, 0.7152, 0.0722]) for colour in nb.PALETTE[:3])
    assert min(np.diff(light)) > 0.01


# Source


def documented(x: int) -> int:
    """Double it.

    At length.
    """

    def inner():
        """Only words."""

    # A comment stays.
    return 2 * x  # and this one


def test_source_is_live_and_says_where_it_is():
    source = source_of(nb.player)
    assert source.startswith("# musicai/notebook/players.py, line ")
    assert "def player(" in source
    assert '"""Make a labe' in source


def test_docstrings_can_go_while_comments_stay():
    source = source_of(documented, docstring=False)
    code = source.split("\n", 1)[1] if source.startswith("#") else source
    assert '"""' not in code
    assert "# A comment stays." in code
    scope = {}
    exec(code, scope)
    assert scope["documented"](4) == 8


@pytest.mark.parametrize("item", [nb.LivePlot, nb.LivePlot.__call__, nb.explore, plots, nb.Html])
def test_source_without_docstrings_is_the_same_code(item):
    import ast

    bare = ast.parse(source_of(item, docstring=False))
    full = ast.parse(source_of(item))
    for node in ast.walk(full):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Expr(ast.Constant(...))]
    assert ast.dump(bare) == ast.dump(full)


def test_show_code_shows_each(shell):
    with capture_output() as captured:
        nb.show_code(nb.player, nb.explore)
    assert [output.data["text/markdown"].splitlines()[0] for output in captured.outputs] == ["```python"] * 2


def test_what_has_no_source_is_named():
    with pytest.raises(TypeError, match="42 has no Python source"):
        nb.show_code(42)
    with pytest.raises(TypeError, match="no Python source"):
        nb.show_code(len)


# Interactions


def made_by_explore(function, **controls):
    """The controls and the live widget that `explore` shows, and the HTML of its first result."""
    with capture_output() as captured:
        nb.explore(function, **controls)
    box, first = captured.outputs
    assert "application/vnd.jupyter.widget-view+json" in box.data
    return first.data["text/html"]


@pytest.fixture
def boxes(monkeypatch):
    made = []

    class Recorded(interact.widgets.VBox):
        def __init__(self, children, **options):
            super().__init__(children, **options)
            made.append(children)

    monkeypatch.setattr(interact.widgets, "VBox", Recorded)
    return made


def test_explore_shows_a_first_result_and_then_follows_the_controls(shell, boxes):
    def hear(hertz, kind):
        print("at", hertz)
        nb.show(nb.figure()[0], alt=f"{kind} {hertz}")
        return nb.player(tone(hertz), SR, f"{hertz} Hz")

    first = made_by_explore(hear, hertz=(100, 900, 10, 440), kind=["sine", "square"])
    assert "at 440" in first
    assert 'alt="sine 440"' in first
    assert "<audio" in first
    ((note, slider, menu, live_html),) = boxes
    assert "need Python" in note.value  # said before the controls, for the page without Python
    assert slider.continuous_update is False
    assert live_html.value == ""
    slider.value, menu.value = 500, "square"
    assert 'alt="square 500"' in live_html.value
    assert note.value == ""
    assert "440" not in re.sub(r"base64,[^\"]*", "", live_html.value)
    mark = re.search(r"musicai-explore-\d+", first)[0]
    assert f"<style>.{mark}{{display:none}}</style>" in live_html.value


def test_an_error_in_a_callback_is_shown_and_goes_away(shell, boxes):
    made_by_explore(lambda x: 1 / x, x=(0, 4, 1, 2))
    ((_, slider, live_html),) = boxes
    slider.value = 0
    assert "ZeroDivisionError: division by zero" in live_html.value
    slider.value = 4
    assert "0.25" in live_html.value


def test_the_first_error_is_raised(shell):
    with pytest.raises(ZeroDivisionError):
        nb.explore(lambda x: 1 / x, x=(0, 4, 1, 0))


def test_explore_names_what_is_no_control(shell):
    with pytest.raises(ValueError, match="x=None does not describe a control"):
        nb.explore(print, x=None)


def test_explore_refuses_a_figure_without_words(shell):
    with pytest.raises(ValueError, match="show\\(fig, alt="):
        nb.explore(lambda x: nb.figure()[0], x=(0, 1))


def test_a_moved_slider_reaches_the_page_through_a_real_kernel():
    """What Jupyter and Colab do: a message moves the slider, and the live HTML's new value comes back."""
    with run_kernel(kernel_name="python3") as client:
        opened = {}

        def note(message):
            if message["header"]["msg_type"] == "comm_open":
                state = message["content"]["data"]["state"]
                opened[state.get("_model_name")] = message["content"]["comm_id"]

        code = "from musicai.notebook import explore\nexplore(lambda x: print('x is', x), x=(1, 9, 1, 3))"
        client.execute_interactive(code, output_hook=note, timeout=500)
        data = {"method": "update", "state": {"value": 7}, "buffer_paths": []}
        client.shell_channel.send(
            client.session.msg("comm_msg", {"comm_id": opened["IntSliderModel"], "data": data}),
        )
        while True:
            content = client.get_iopub_msg(timeout=500)["content"]
            if content.get("comm_id") == opened["HTMLModel"] and "value" in content["data"].get("state", {}):
                break
    assert "x is 7" in content["data"]["state"]["value"]
    assert "display:none" in content["data"]["state"]["value"]


# Live losses


@pytest.fixture
def drawn(monkeypatch):
    """What a notebook would show: first displays, then updates."""
    shown, updated = [], []

    class Handle:
        update = staticmethod(updated.append)

    monkeypatch.setattr(figures, "_in_notebook", lambda: True)
    monkeypatch.setattr(figures, "display", lambda picture, display_id: shown.append(picture) or Handle)
    return shown, updated


def trained(callback, steps=12):
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(x):
        loss = (model(x) - 3).square().mean()
        update(loss, optimizer)
        return {"distance": loss}

    state = {"model": model, "optimizer": optimizer}
    return fit(step, [torch.ones(4, 1)], steps=steps, state=state, callbacks=[(2, callback)], progress=False)


def test_live_plot_is_silent_outside_a_notebook(capsys):
    trained(nb.LivePlot(seconds=0))
    assert capsys.readouterr().out == ""


def test_live_plot_follows_fit_in_one_display(drawn):
    run = trained(nb.LivePlot(seconds=0))
    shown, updated = drawn
    assert len(shown) == 1
    assert len(updated) == 5
    first, last = run.history["distance"][0], run.history["distance"][-1]
    assert f"Losses over 12 steps: distance {first:.3g} to {last:.3g}" in updated[-1].html
    assert "grad/" not in updated[-1].html


def test_live_plot_draws_seldom_but_always_the_end(drawn):
    trained(nb.LivePlot(seconds=3600))
    shown, updated = drawn
    assert len(shown) == len(updated) == 1
    assert "12 steps" in updated[0].html


def test_a_curve_skips_gaps_and_averages_long_stretches():
    steps, values = figures._smoothed(np.array([np.nan, 2.0, np.nan, 4.0]))
    np.testing.assert_array_equal(steps, [2, 4])
    np.testing.assert_array_equal(values, [2, 4])
    steps, values = figures._smoothed(np.arange(90_000.0))
    assert len(steps) == figures.MOST_POINTS
    np.testing.assert_allclose(values, steps - 1)
    assert len(figures._smoothed(np.array([np.nan]))[0]) == 0


def test_import_musicai_does_not_import_the_notebook():
    code = "import sys, musicai; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"IPython", "matplotlib", "ipywidgets"} & set(modules)


# EM to be dragged


def test_em_to_be_dragged_carries_its_data_and_names_itself():
    shown = nb.drag_em(torch.tensor([-0.25, 0.5, 2.5]), (-1.0, 0.0), 'x in "octaves" </b>')
    assert "[-0.25, 0.5, 2.5], [-1.0, 0.0], 3);" in shown.html  # data, start, and how far the axis reaches
    assert r'"x in \"octaves\" <\/b>"' in shown.html
    assert re.search(r'<svg [^>]*aria-label="[^"]{10,}"', shown.html)
    assert "http" not in shown.html
    assert repr(shown) == "[Interaction: EM on 3 numbers; drag its starting means]"


@pytest.mark.parametrize("x", [[], [0, np.nan], [np.inf]])
def test_em_to_be_dragged_refuses_what_it_cannot_draw(x):
    with pytest.raises(ValueError, match="finite"):
        nb.drag_em(x)


def test_em_in_the_page_agrees_with_python(browser, tmp_path):
    """Steps taken in the browser give the means, weights and likelihood of the package's own E and M steps."""
    rng = np.random.default_rng(3)
    x = torch.from_numpy(np.concatenate([rng.normal(-1, 0.4, 120), rng.normal(1.2, 0.7, 80)]).round(4))
    page = tmp_path / "em.html"
    page.write_text(f"<!doctype html><meta charset=utf-8>{nb.drag_em(x, (-0.5, 0.25)).html}")
    browser.get(page.as_uri())
    weights, means, stds = torch.full((2,), 0.5).double(), torch.tensor([-0.5, 0.25]).double(), torch.full((2,), 0.5)
    for taken in range(4):
        joint = torch.distributions.Normal(means, stds.double()).log_prob(x[:, None]) + weights.log()
        pairs = [" and ".join(f"{v:.2f}" for v in values.tolist()) for values in (means, weights)]
        level = joint.logsumexp(1).mean().item()
        said = browser.execute_script("return document.querySelector('output').textContent")
        assert said == f"step {taken}: log-likelihood {level:.3f} per example; means {pairs[0]}; weights {pairs[1]}"
        shares = joint.softmax(1)
        weights, means = shares.mean(0), (shares * x[:, None]).sum(0) / shares.sum(0)
        stds = ((shares * (x[:, None] - means) ** 2).sum(0) / shares.sum(0)).sqrt()
        browser.execute_script("document.querySelector('button[data-n=\"1\"]').click()")
