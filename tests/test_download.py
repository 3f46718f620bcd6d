"""`download` against a real server on loopback that behaves badly: the right file, or one clear error and no file."""

import errno
import hashlib
import multiprocessing
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from musicai.data import DataError, download, transport

DATA = bytes(range(256)) * 4000
SHA256, MD5 = hashlib.sha256(DATA).hexdigest(), hashlib.md5(DATA, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `DATA`; each attribute is one way to misbehave."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses, self.drop, self.length_error, self.chunked, self.silent = [], None, 0, False, None
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
        if server.silent:
            server.silent.wait(5)
            return
        status = server.statuses.pop(0) if server.statuses else 200
        self.close_connection = True
        self.send_response(status)
        body = DATA if status == 200 else b"no"
        self.send_header("Connection", "close")
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n" % (len(body), body) + b"0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(len(body) + server.length_error))
        self.end_headers()
        self.wfile.write(body[: server.drop])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transport, "TIMEOUT", 5.0)
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


def fetch(server, target, known_hash=None) -> bytes:
    assert download(server.url, target, known_hash=known_hash, progress=False) == target
    return target.read_bytes()


def left(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()} if target.parent.exists() else set()


def test_downloads_once(server, target, capfd):
    assert fetch(server, target, f"sha256:{SHA256.upper()}") == DATA
    assert fetch(server, target, f"md5:{MD5}") == DATA
    assert fetch(server, target) == DATA
    assert left(target) == {"file.bin"}
    assert len(server.requests) == 1
    assert capfd.readouterr() == ("", "")
    assert server.requests[0]["Accept-Encoding"] == "identity"


def test_progress_bar(server, target, capfd):
    download(server.url, target)
    assert "100%" in capfd.readouterr().err


def test_without_a_length(server, target):
    server.chunked = True
    assert fetch(server, target) == DATA


@pytest.mark.parametrize("known_hash", ["sha256:" + "0" * 64, "md5:" + "0" * 32])
def test_wrong_hash_leaves_nothing(server, target, known_hash):
    with pytest.raises(DataError, match=rf"{server.url}.*expected {known_hash} but got.*nothing was kept"):
        fetch(server, target, known_hash)
    assert left(target) == set()


def test_wrong_file_is_replaced_but_only_by_the_right_one(server, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    server.statuses = [404]
    with pytest.raises(DataError, match="404"):
        fetch(server, target, SHA256)
    assert target.read_bytes() == b"old"
    assert fetch(server, target, SHA256) == DATA


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("drop", [0, 5000, len(DATA) - 1])
def test_broken_connection_leaves_nothing(server, target, chunked, drop):
    server.chunked, server.drop = chunked, drop
    with pytest.raises(DataError, match=f"cannot download {server.url}"):
        fetch(server, target)
    assert left(target) == set()


def test_wrong_content_length(server, target):
    server.length_error = 50
    with pytest.raises(DataError, match="nothing was kept"):
        fetch(server, target)
    server.length_error = -50
    with pytest.raises(DataError, match="SHA256"):
        fetch(server, target, SHA256)
    assert left(target) == set()


@pytest.mark.parametrize("status", [403, 404, 410, 429, 500, 503])
def test_server_that_refuses(server, target, status):
    server.statuses = [status]
    with pytest.raises(DataError, match=f"{server.url}.*{status}"):
        fetch(server, target)
    assert len(server.requests) == 1
    assert left(target) == set()


def test_no_server(server, target):
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:1/x.*refused"):
        download("http://127.0.0.1:1/x", target, progress=False)
    assert left(target) == set()


def test_server_that_falls_silent(server, target, monkeypatch):
    monkeypatch.setattr(transport, "TIMEOUT", 0.1)
    server.silent = threading.Event()
    with pytest.raises(DataError, match="timed out"):
        fetch(server, target)
    server.silent.set()
    assert left(target) == set()


@pytest.mark.parametrize(
    "url", ["ftp://host/a", "file:///etc/hostname", "a.zip", "javascript:1", "http://[bad/", "http:///x", ""]
)
def test_bad_addresses(url, target):
    with pytest.raises(DataError):
        download(url, target, progress=False)
    assert left(target) == set()


def test_target_that_cannot_be_written(server, tmp_path):
    with pytest.raises(DataError, match="Is a directory"):
        download(server.url, tmp_path, known_hash=SHA256, progress=False)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot download .*file"):
        download(server.url, tmp_path / "file" / "a.bin", progress=False)
    assert not server.requests


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_full_disk_and_interruption_leave_nothing(server, target, monkeypatch, error):
    def failing(self, url, output_file, pooch):
        Path(output_file).write_bytes(DATA[:1000])
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(pooch.HTTPDownloader, "__call__", failing)
        with pytest.raises((DataError, KeyboardInterrupt)):
            fetch(server, target)
    assert left(target) == set()
    assert fetch(server, target) == DATA


def _child(url: str, target: Path, results):
    results.put(download(url, target, known_hash=SHA256, progress=False).read_bytes() == DATA)


def test_processes_at_once(server, target):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_child, args=(server.url, target, results)) for _ in range(4)]
    for child in children:
        child.start()
    assert [results.get(timeout=500) for _ in children] == [True] * 4
    for child in children:
        child.join()
    assert left(target) == {"file.bin"}
