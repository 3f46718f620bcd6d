"""Results computed in advance: the page shows what the function shows, for every combination of the choices."""

import itertools
import re

import pytest

from musicai.notebook import browse

CHOICES = {"keep_every": ([1, 2.5, 8], 2.5), "sound": ["flute", "violin"], "filtered": ([False, True], True)}


def say(**values):
    print("; ".join(f"{name} is {value}" for name, value in values.items()), "</script>")


@pytest.fixture
def page(browser, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICAI_SCALE", "cpu")
    path = tmp_path / "browse.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{browse(say, **CHOICES).html}", encoding="utf-8")
    browser.get(path.as_uri())
    return browser


def set_control(page, i, place):
    page.execute_script(
        """
        const input = document.querySelectorAll("input, select")[arguments[0]], place = arguments[1];
        if (input.type === "checkbox") { input.checked = place === 1; input.onchange(); }
        else { input.value = place; (input.oninput ?? input.onchange)(); }""",
        i,
        place,
    )


def shown(page):
    return page.execute_script("return document.querySelector('[aria-live]').textContent").strip()


def test_it_begins_as_asked(page):
    assert shown(page) == "keep_every is 2.5; sound is flute; filtered is True </script>"
    read = "return [...document.querySelectorAll('label')].map(l => [l.firstChild.textContent, l.children[1].type])"
    assert page.execute_script(read) == [
        ["keep every", "range"],
        ["sound", "select-one"],
        ["filtered", "checkbox"],
    ]


def test_every_combination_shows_what_the_function_shows(page, capsys):
    values = [one[0] if isinstance(one, tuple) else one for one in CHOICES.values()]
    for places in itertools.product(*(range(len(one)) for one in values)):
        for i, place in enumerate(places):
            set_control(page, i, place)
        say(**{name: one[i] for name, one, i in zip(CHOICES, values, places, strict=True)})
        assert shown(page) == capsys.readouterr().out.strip()


def test_a_slider_says_its_value(page):
    set_control(page, 0, 2)
    read = "return [document.querySelector('output').textContent, document.querySelector('input').ariaValueText]"
    assert page.execute_script(read) == ["8", "8"]


def test_a_test_computes_only_the_first_result(monkeypatch):
    monkeypatch.setenv("MUSICAI_SCALE", "smoke")
    calls = []
    made = browse(lambda n: calls.append(n), n=([1, 2, 3], 2))
    assert calls == [2]
    assert repr(made) == "[Interaction: <lambda> for each n of 1, 2, 3]"


@pytest.mark.parametrize("value", [(1, 9, 1), [], ([1, 2], 3), 4, True])
def test_what_lists_no_values_is_refused(value):
    with pytest.raises(ValueError, match=re.escape(f"n={value!r} does not list its values; give a list")):
        browse(print, n=value)
