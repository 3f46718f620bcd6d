"""Optional libraries, imported when they are used; if one is missing, the error says what to install.

>>> require("json", "notebook", "this example").__name__
'json'
"""

from importlib import import_module
from types import ModuleType

__all__ = ["require"]


def require(module: str, extra: str, what: str) -> ModuleType:
    """Import an optional library; if it is missing, say which extra of musicai installs it.

    >>> widgets = require("ipywidgets", "notebook", "the keyboard")  # doctest: +SKIP
    >>> require("no_such_library", "notebook", "the keyboard")
    Traceback (most recent call last):
    ModuleNotFoundError: the keyboard needs no_such_library: pip install 'musicai[notebook]'

    Args:
        module: the module to import, such as "ipywidgets" or "matplotlib.pyplot".
        extra: the extra of musicai that installs it, such as "notebook".
        what: what the caller was doing, as the subject of the message: "the keyboard", "FolkCorpus".

    Returns: the imported module.

    Raises:
        ModuleNotFoundError: if the library, or something it imports, is not installed.

    Preface.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).split(".")[0]
        raise ModuleNotFoundError(f"{what} needs {missing}: pip install 'musicai[{extra}]'", name=missing) from None
