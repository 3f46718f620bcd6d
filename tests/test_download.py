"""`download` against a real server on loopback that behaves badly, and `cache_dir`."""

import contextlib
import errno
import hashlib
import importlib
import multiprocessing
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from musicai.data.errors import DataError

module = importlib.import_module("musicai.data.download")  # `musicai.data.download` is the function
download, cache_dir = module.download, module.cache_dir

DATA = bytes(range(256)) * 4000
OTHER = DATA[::-1]
SHA256, MD5 = hashlib.sha256(DATA).hexdigest(), hashlib.md5(DATA, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `data`; each attribute is one way to misbehave."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.tag, self.date = DATA, '"one"', None
        self.ranges, self.honours_if_range, self.wrong_range = True, True, False
        self.statuses, self.drops, self.length_error, self.chunked = [], [], 0, False
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"

    def handle_error(self, request, client_address):
        pass  # broken pipes are the point


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        if server.statuses and (status := server.statuses.pop(0)) != 200:
            return self.reply(status, b"no", 2)
        start = self.start()
        if start is not None and start >= len(server.data):
            return self.reply(416, b"", 0, {"Content-Range": f"bytes */{len(server.data)}"})
        body = server.data[start or 0 :]
        extra = {}
        if start is not None:
            first = start + 7 if server.wrong_range else start
            extra["Content-Range"] = f"bytes {first}-{len(server.data) - 1}/{len(server.data)}"
        return self.reply(200 if start is None else 206, body, len(body) + server.length_error, extra)

    def start(self) -> int | None:
        """Where the asked range starts; None for the whole file."""
        server, asked = self.server, self.headers.get("Range")
        if not asked or not server.ranges:
            return None
        condition = self.headers.get("If-Range")
        if server.honours_if_range and condition and condition not in (server.tag, server.date):
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def reply(self, status: int, body: bytes, length: int, extra: dict[str, str] | None = None):
        server = self.server
        self.close_connection = True
        self.send_response(status)
        for name, value in {"ETag": server.tag, "Last-Modified": server.date, **(extra or {})}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        drop = server.drops.pop(0) if server.drops and status in (200, 206) else None
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            body = b"%x\r\n%s\r\n" % (len(body), body) + b"0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(length))
            self.end_headers()
        self.wfile.write(body if drop is None else body[:drop])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(module, "TIMEOUT", 5.0)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "cache" / "file.bin"


def fetch(server, target, **options) -> bytes:
    assert download(server.url, target, progress=False, **options) == target
    return target.read_bytes()


def left(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()} if target.parent.exists() else set()


def ranges(server) -> list[str | None]:
    return [request.get("Range") for request in server.requests]


def test_downloads_once(server, target, capfd):
    assert fetch(server, target, sha256=SHA256.upper(), md5=MD5, size=len(DATA)) == DATA
    assert fetch(server, target, sha256=SHA256) == DATA
    assert fetch(server, target) == DATA
    assert left(target) == {"file.bin"}
    assert len(server.requests) == 1
    assert capfd.readouterr() == ("", "")


def test_progress_bar(server, target, capfd):
    download(server.url, target)
    assert "file.bin" in capfd.readouterr().err


def test_without_a_size_or_a_tag(server, target):
    server.tag, server.chunked = None, True
    assert fetch(server, target) == DATA


def test_resumes_within_a_call_after_each_drop(server, target):
    server.drops = [300_000, 0, 200_000, 0, 0, 100_000, 0]  # more drops than tries, but bytes arrive between them
    assert fetch(server, target, sha256=SHA256) == DATA
    assert ranges(server)[:3] == [None, "bytes=300000-", "bytes=300000-"]
    assert ranges(server)[-1] == "bytes=600000-"
    assert server.requests[1]["If-Range"] == '"one"'


def test_resumes_in_the_next_call(server, target):
    server.drops = [500_000, 0, 0, 0]
    with pytest.raises(DataError, match=r"127\.0\.0\.1.*500000 bytes are kept in .*file\.bin\.part"):
        fetch(server, target)
    assert left(target) == {"file.bin.part", "file.bin.etag.part"}
    server.requests.clear()
    assert fetch(server, target) == DATA
    assert ranges(server) == ["bytes=500000-"]
    assert left(target) == {"file.bin"}


def test_resumes_by_date_where_there_is_no_etag(server, target):
    server.tag, server.date, server.drops = None, "Wed, 21 Oct 2015 07:28:00 GMT", [1000]
    assert fetch(server, target) == DATA
    assert server.requests[1]["If-Range"] == server.date


def test_a_weak_etag_is_no_proof(server, target):
    server.tag, server.drops = 'W/"one"', [1000]
    assert fetch(server, target) == DATA
    assert ranges(server) == [None, None]


def test_resumes_without_a_tag_only_when_a_hash_will_check_it(server, target):
    server.tag, server.drops = None, [1000]
    assert fetch(server, target, md5=MD5) == DATA
    assert ranges(server) == [None, "bytes=1000-"]
    target.unlink()
    server.requests.clear()
    server.drops = [1000]
    assert fetch(server, target) == DATA
    assert ranges(server) == [None, None]


def test_server_that_ignores_ranges(server, target):
    server.ranges, server.drops = False, [1000]
    assert fetch(server, target) == DATA
    assert len(server.requests) == 2


@pytest.mark.parametrize("honours", [True, False], ids=["If-Range", "no If-Range"])
def test_file_changed_between_tries(server, target, honours):
    server.drops, server.honours_if_range = [1000, 0, 0, 0], honours
    with pytest.raises(DataError):
        fetch(server, target)
    server.data, server.tag = OTHER, '"two"'
    assert fetch(server, target) == OTHER


def test_stale_part_is_found_by_its_hash_and_fetched_anew(server, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"rubbish" * 100)
    assert fetch(server, target, sha256=SHA256) == DATA
    assert ranges(server) == ["bytes=700-", None]


def test_part_of_another_address_is_not_used(server, target):
    server.drops = [1000, 0, 0, 0]
    with pytest.raises(DataError):
        fetch(server, target)
    assert download(server.url + "?mirror", target, progress=False).read_bytes() == DATA
    assert ranges(server)[-1] is None


def test_whole_part_is_not_fetched_again(server, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(DATA)
    assert fetch(server, target, sha256=SHA256, size=len(DATA)) == DATA
    assert not server.requests
    target.rename(target.with_name("file.bin.part"))
    assert fetch(server, target, sha256=SHA256) == DATA  # the size is not known: the server answers 416
    assert ranges(server) == [f"bytes={len(DATA)}-"]


def test_part_longer_than_the_file(server, target):
    target.parent.mkdir()
    part = target.with_name("file.bin.part")
    part.write_bytes(DATA + b"more")
    assert fetch(server, target, sha256=SHA256) == DATA  # 416 with another length
    part.write_bytes(DATA + b"more")
    target.unlink()
    assert fetch(server, target, size=len(DATA)) == DATA


def test_wrong_range_in_the_answer(server, target):
    server.drops, server.wrong_range = [1000], True
    assert fetch(server, target) == DATA
    assert ranges(server) == [None, "bytes=1000-", None]


@pytest.mark.parametrize("options", [{"sha256": "0" * 64}, {"md5": "0" * 32}])
def test_wrong_hash_leaves_nothing(server, target, options):
    with pytest.raises(DataError, match=r"0000.*nothing was kept"):
        fetch(server, target, **options)
    assert left(target) == set()


def test_wrong_size_is_told_before_the_download(server, target):
    with pytest.raises(DataError, match=f"{len(DATA)} bytes, not the 5 expected"):
        fetch(server, target, size=5)
    assert left(target) == set()


def test_more_bytes_than_expected_without_a_length(server, target):
    server.chunked = True
    with pytest.raises(DataError, match="more than the 1000 bytes"):
        fetch(server, target, size=1000)
    assert left(target) == set()


def test_wrong_file_is_replaced_but_only_by_the_right_one(server, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    server.statuses = [404]
    with pytest.raises(DataError):
        fetch(server, target, sha256=SHA256)
    assert target.read_bytes() == b"old"
    assert fetch(server, target, sha256=SHA256) == DATA


def test_content_length_too_large(server, target):
    server.length_error = 50
    server.tag = None
    with pytest.raises(DataError, match="the connection broke after"):
        fetch(server, target)
    assert not target.exists()


def test_content_length_too_small(server, target):
    server.length_error = -50
    with pytest.raises(DataError, match="sha256"):
        fetch(server, target, sha256=SHA256)
    assert left(target) == set()


def test_truncated_chunks(server, target):
    server.chunked, server.drops = True, [5000, 5000]
    assert fetch(server, target) == DATA
    target.unlink()
    server.tag, server.drops = None, [5000] * 9
    with pytest.raises(DataError, match="the connection broke"):
        fetch(server, target)
    assert not target.exists()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_server_that_is_busy_is_asked_again(server, target, status):
    server.statuses = [status, status]
    assert fetch(server, target) == DATA
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [403, 404, 410])
def test_server_that_refuses_is_not_asked_again(server, target, status):
    server.statuses = [status]
    with pytest.raises(DataError, match=f"the server says {status}"):
        fetch(server, target)
    assert len(server.requests) == 1
    assert left(target) == set()


def test_no_server(server, target, monkeypatch):
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:1/x.*refused"):
        download("http://127.0.0.1:1/x", target, progress=False)
    assert left(target) == set()


def test_server_that_falls_silent(server, target, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    hold = threading.Event()
    monkeypatch.setattr(Handler, "do_GET", lambda self: hold.wait(5))
    with pytest.raises(DataError, match="timed out"):
        fetch(server, target)
    hold.set()


def test_file_address(tmp_path, target):
    (tmp_path / "source").write_bytes(DATA)
    assert download((tmp_path / "source").as_uri(), target, sha256=SHA256, progress=False).read_bytes() == DATA
    with pytest.raises(DataError, match="No such file"):
        download((tmp_path / "missing").as_uri(), tmp_path / "x", progress=False)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("url", ["ftp://host/a", "a.zip", "javascript:1", "http://[bad/", "http://host/a b\n", ""])
def test_bad_addresses(url, target):
    with pytest.raises(DataError):
        download(url, target, progress=False)
    assert left(target) == set()


def test_target_is_a_folder(server, tmp_path):
    with pytest.raises(DataError, match="folder"):
        download(server.url, tmp_path, progress=False)


def test_target_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write"):
        download(server.url, tmp_path / "file" / "a.bin", progress=False)


def test_disk_too_small_is_told_before_the_download(server, target, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=rf"{len(DATA)} more bytes are needed, 1000 are free.*make room"):
        fetch(server, target)
    assert left(target) == set()


def test_disk_full_while_writing_keeps_the_part(server, target, monkeypatch):
    read, blocks = module._read, []

    def full_after_two(response):
        blocks.append(read(response))
        if len(blocks) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return blocks[-1]

    monkeypatch.setattr(module, "_read", full_after_two)
    with pytest.raises(DataError, match=r"No space left on device.*make room"):
        fetch(server, target)
    assert target.with_name("file.bin.part").read_bytes() == DATA[: len(blocks[0] + blocks[1])]
    monkeypatch.setattr(module, "_read", read)
    assert fetch(server, target) == DATA
    assert ranges(server)[1] is not None


def test_interruption_keeps_the_part(server, target, monkeypatch):
    read, blocks = module._read, []

    def interrupted(response):
        if blocks:
            raise KeyboardInterrupt
        blocks.append(read(response))
        return blocks[0]

    monkeypatch.setattr(module, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(server, target)
    monkeypatch.setattr(module, "_read", read)
    assert fetch(server, target) == DATA
    assert ranges(server) == [None, f"bytes={len(blocks[0])}-"]


def _child(url: str, target: Path, results):
    with contextlib.suppress(DataError):
        results.put(download(url, target, sha256=SHA256, progress=False).read_bytes() == DATA)


def test_processes_at_once_share_one_download(server, target):
    server.drops = [400_000, 100_000]
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_child, args=(server.url, target, results)) for _ in range(4)]
    for child in children:
        child.start()
    assert [results.get(timeout=500) for _ in children] == [True] * 4
    for child in children:
        child.join()
    assert left(target) == {"file.bin"}
    assert len(server.requests) == 3  # one process fetched, with two drops


def test_cache_dir_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICAI_CACHE", str(tmp_path / "a" / "b"))
    assert cache_dir() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("platform", "variables", "place"),
    [
        ("linux", {}, ".cache/musicai"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg/musicai"),
        ("darwin", {}, "Library/Caches/musicai"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/musicai"),
    ],
)
def test_cache_dir_by_default(tmp_path, monkeypatch, platform, variables, place):
    for name in ("MUSICAI_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setattr(module.sys, "platform", platform)
    assert cache_dir() == tmp_path / place


def test_cache_dir_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MUSICAI_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="set MUSICAI_CACHE to a folder you can write to"):
        cache_dir()
    monkeypatch.setenv("MUSICAI_CACHE", str(tmp_path))
    monkeypatch.setattr(module.os, "access", lambda *_: False)
    with pytest.raises(DataError, match="read-only"):
        cache_dir()
