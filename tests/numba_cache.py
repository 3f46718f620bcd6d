"""One cache of numba's machine code for all processes of the tests: both workers, their children, and the chapters.

numba finds it by NUMBA_CACHE_LOCATOR_CLASSES. Two processes that fill numba's own cache at once compile everything
twice, and can crash on what they then load (numba issue 10128; librosa's pYIN is such a function). Here a function is
looked up, compiled and kept under a lock, so whoever comes second loads it.
"""

import functools
import os
import sys
import zlib
from pathlib import Path

from filelock import FileLock
from numba.core import caching, config
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.np.ufunc.ufuncbuilder import GUFuncBuilder, UFuncDispatcher


class Shared(caching.UserProvidedCacheLocator):
    """Keeps musicai's functions by the content of the whole package: a constant may come from the next file.

    So the wheel's share the checkout's, as long as their code is the same.
    """

    def __init__(self, function, path):
        super().__init__(function, path)
        self._content = None
        if function.__module__.startswith("musicai."):
            self._content = content(Path(sys.modules["musicai"].__file__).parent)
            self._cache_path = os.path.join(config.CACHE_DIR, function.__module__)

    def get_source_stamp(self):
        return self._content or super().get_source_stamp()


@functools.cache
def content(folder: Path) -> int:
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py"))))


@functools.cache
def lock(name: str) -> FileLock:
    Path(config.CACHE_DIR).mkdir(parents=True, exist_ok=True)
    return FileLock(Path(config.CACHE_DIR) / f"{name}.lock", thread_local=False)


def one_at_a_time(method):
    """Always numba's own lock first: else two threads could each hold one and wait for the other."""

    @functools.wraps(method)
    def locked(self, *args, **options):
        function = self.py_func
        kept = getattr(self, "cache", None) or getattr(self, "_cache", None)
        if not kept or isinstance(kept, caching.NullCache):
            return method(self, *args, **options)
        with global_compiler_lock, lock(f"{function.__module__}.{function.__qualname__}"):
            return method(self, *args, **options)

    return locked


for owner, name in ((Dispatcher, "compile"), (UFuncDispatcher, "_compile_core"), (GUFuncBuilder, "build_ufunc")):
    setattr(owner, name, one_at_a_time(getattr(owner, name)))
