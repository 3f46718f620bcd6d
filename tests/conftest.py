"""What every test needs before anything else is imported."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# One cache of machine code for all, also for the processes that tests start: see numba_cache.py.
TESTS = Path(__file__).parent
os.environ["NUMBA_CACHE_DIR"] = str(TESTS.parent / ".pytest_cache" / "numba")
os.environ["NUMBA_CACHE_LOCATOR_CLASSES"] = "numba_cache.Shared"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(TESTS.parent), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
)

# A deadline and the check for slow data are timed tests: they fail on a busy machine. The examples are the same in
# each run, so that a commit that passed here passes elsewhere; `MUSICAI_FUZZ=1 pytest -m hypothesis` draws new ones.
settings.register_profile(
    "musicai",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="MUSICAI_FUZZ" not in os.environ,
)
settings.load_profile("musicai")

# Those that take longest begin first, else one process of xdist would end alone with one of them. The chapters come
# second: while one process builds their wheel, the other has something else to do.
LONGEST = ["train_resume", "notebooks_alone", "book", "recipes", "fast_cpu", "distributed", "studio_search"]
LONGEST += ["gmm_hard", "notebooks", "generate", "studio_page", "generate_record", "gmm_scale", "chain", "studio_tunes"]
LONGEST += ["wavenet_rolls"]


def pytest_collection_modifyitems(items):
    order = {f"test_{name}.py": i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
]


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium, driven by selenium; tests that use it are skipped where it is not installed."""
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("Chromium or chromedriver is not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    driver.set_page_load_timeout(300)
    yield driver
    driver.quit()
