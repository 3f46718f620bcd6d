"""The rendered book, opened page by page in headless Chromium with no network but this machine's loopback."""

import json
import shutil
import subprocess
import sys
import threading
from functools import cache, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from scripts import build_studio

ROOT = Path(__file__).parent.parent
PHONE = 390


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    """The book as `make book` builds it, with warnings as errors; Sphinx only reads what changed since a build."""
    pytest.importorskip("jupyter_book")
    build_studio.build()
    out = tmp_path_factory.mktemp("book")
    if (ROOT / "_build").is_dir():
        shutil.copytree(ROOT / "_build", out / "_build")
    program = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", str(ROOT), "--path-output", str(out), "-W", "-n", "--keep-going"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return out / "_build" / "html"


class Page(HTMLParser):
    """What a page points to: links, sources, ids, and images without a text."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.sources, self.ids, self.images_without_alt = [], [], set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        if tag in {"img", "script", "audio", "source", "iframe", "video"} and attrs.get("src"):
            self.sources.append(attrs["src"])
        if tag == "link" and attrs.get("rel") in {"stylesheet", "icon", "preload", "shortcut icon"}:
            self.sources.append(attrs["href"])
        if tag == "img" and not (attrs.get("alt") or "").strip() and attrs.get("role") != "presentation":
            self.images_without_alt.append(attrs.get("src", "")[:60])


page = cache(Page)  # a chapter is some megabytes


def pages(html: Path) -> list[Path]:
    """The pages of the book, less the generated index, search and source listings."""
    found = [p for p in sorted(html.rglob("*.html")) if "_static" not in p.parts and "_modules" not in p.parts]
    assert found
    return [p for p in found if p.name not in {"index.html", "genindex.html", "py-modindex.html", "search.html"}]


def test_every_page_of_the_contents_is_built(html):
    import yaml

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    names = [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
    for name in names:
        assert (html / f"{name}.html").is_file()
    on_disk = {p.relative_to(ROOT).with_suffix("").as_posix() for p in ROOT.glob("notebooks/*.ipynb")}
    assert on_disk <= set(names), "a chapter is missing from _toc.yml"


def test_no_broken_links_or_sources(html):
    parsed = {path: page(path) for path in sorted(html.rglob("*.html")) if "_static" not in path.parts}
    broken = []
    for path, content in parsed.items():
        for url in content.links + content.sources:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                broken.append(f"{path.relative_to(html)} -> {url}")
            elif parts.fragment and target in parsed and unquote(parts.fragment) not in parsed[target].ids:
                broken.append(f"{path.relative_to(html)} -> {url} (no such place)")
    assert not broken, "\n".join(broken[:20])


def test_every_image_has_a_text(html):
    missing = [f"{p.relative_to(html)}: {src}" for p in pages(html) for src in page(p).images_without_alt]
    assert not missing


def test_every_chapter_has_a_colab_button(html):
    for path in (html / "notebooks").glob("*.html"):
        colab = [link for link in page(path).links if "colab.research.google.com" in link]
        assert colab, path.name
        assert all(link.endswith(f"/notebooks/{path.stem}.ipynb") for link in colab)


@pytest.fixture(scope="module")
def site(html) -> str:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=html))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def open_page(browser, url: str) -> None:
    """Load a page, and wait until its mathematics is set and its widgets stand."""
    browser.get(url)
    browser.set_script_timeout(300)
    browser.execute_async_script("""
        const done = arguments[0];
        const ready = (window.MathJax && MathJax.startup && MathJax.startup.promise) || Promise.resolve();
        ready.then(() => setTimeout(done, 150));
    """)


def requested(browser) -> set[str]:
    """Every address that the page asked for, from Chromium's own network log."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return {url for url in sent if not url.startswith(("data:", "blob:", "chrome:", "about:"))}


FAULTS = """
return {
  images: [...document.images].filter(i => i.loading !== 'lazy' && i.complete && !i.naturalWidth)
    .map(i => i.src.slice(0, 80)),
  maths: document.querySelectorAll('mjx-merror, .math:not(:has(mjx-container))').length,
  rawMaths: [...document.querySelectorAll('article p')].filter(p => /\\\\\\(|\\$\\$/.test(p.innerText)).length,
  emptyWidgets: [...document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')]
    .filter(s => !s.parentElement.querySelector('.jupyter-widgets')).length,
  misnamed: document.querySelectorAll('.noUi-handle:not([aria-label]), summary[aria-label], .citation-list[role]')
    .length,
}"""


ON_A_PHONE = """
const done = arguments[0], edge = element => element.getBoundingClientRect().right;
requestAnimationFrame(() => setTimeout(() => done({
  width: Math.max(0, document.documentElement.scrollWidth - innerWidth),
  clippedMaths: [...document.querySelectorAll('article mjx-container:not([display=true]) mjx-math')]
    .filter(m => m.checkVisibility() && edge(m) > edge(m.closest('p, li, dd, td, th, div')) + 1)
    .map(m => m.parentElement.textContent.slice(0, 80)),
  shortPlayers: [...document.querySelectorAll('article .musicai-ladder audio')]
    .filter(a => a.checkVisibility() && a.clientWidth < 250).length, // which would have no seek bar
  tablesOutOfReach: [...document.querySelectorAll('article table')]
    .filter(t => t.scrollWidth > t.clientWidth && t.tabIndex < 0).length,
})))"""


def test_pages_work_with_no_network_and_fit_a_phone(html, site, browser):
    phone = {"width": PHONE, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    for path in pages(html):
        name = path.relative_to(html).as_posix()
        browser.get_log("browser"), browser.get_log("performance")
        open_page(browser, f"{site}/{name}")
        outside = {url for url in requested(browser) if not url.startswith(site)}
        assert not outside, f"{name} asks the network for {outside}"
        errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not errors, f"{name}: {errors}"
        faults = browser.execute_script(FAULTS)
        assert not any(faults.values()), f"{name}: {faults}"
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        faults = browser.execute_async_script(ON_A_PHONE)
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert not any(faults.values()), f"{name} on a phone of {PHONE} pixels: {faults}"
