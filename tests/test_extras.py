"""A missing optional library is one error that says what to install."""

import subprocess
import sys

import pytest

from musicai.extras import require


def test_an_installed_module_is_returned():
    assert require("os.path", "notebook", "a test") is sys.modules["os.path"]


def test_a_missing_library_names_itself_its_extra_and_who_needs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"^the keyboard needs ipywidgets: pip install 'musicai\[notebook\]'$"
    ):
        require("ipywidgets", "notebook", "the keyboard")
    with pytest.raises(ModuleNotFoundError, match=r"^a plot needs no_such_thing: ") as error:
        require("no_such_thing.pyplot", "notebook", "a plot")
    assert error.value.name == "no_such_thing"


@pytest.mark.parametrize("library", ["IPython", "ipywidgets", "matplotlib"])
def test_the_notebook_says_what_it_lacks(library):
    code = f"import sys; sys.modules[{library!r}] = None; import musicai.notebook"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert failed.stderr.endswith(f"musicai.notebook needs {library}: pip install 'musicai[notebook]'\n")


def test_a_library_that_lacks_one_of_its_own_says_so(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_thing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"needs no_such_thing: pip install"):
        require("half_installed", "judges", "the pitch judge")
