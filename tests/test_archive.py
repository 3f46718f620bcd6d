"""`extract`: good archives come out exactly; hostile ones write nothing, inside or outside."""

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicai.data import DataError, extract, transport


def tar_bytes(*members, mode="w", **options) -> bytes:
    """A tar of (name, bytes) or (name, type, linkname) members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, **options) as archive:
        for name, content, *link in members:
            info = tarfile.TarInfo(name)
            if link:
                info.type, info.linkname = content, link[0]
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_bytes(*members, compression=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of (name or ZipInfo, bytes) members."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")  # duplicate names are meant
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_mode(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    assert len(old) == len(new)
    return data.replace(old, new)


def encrypted_zip() -> bytes:
    data = bytearray(zip_bytes(("a.txt", b"secret")))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def zip_with_false_size() -> bytes:
    """Both headers say 10 bytes; the deflated data hold 100 000."""
    data, size = zip_bytes(("a.txt", b"x" * 100_000)), struct.pack("<I", 100_000)
    return data.replace(size, struct.pack("<I", 10))


def corrupt_gzip(data: bytes) -> bytes:
    return data[:-8] + bytes([data[-8] ^ 0x55]) + data[-7:]  # the last eight bytes: checksum and length


def tar_header(name: bytes, kind: bytes, size_field: bytes) -> bytes:
    """One raw 512-byte header with a right checksum, for what the tarfile module will not write."""
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size_field.ljust(12, b"\0"))
    block += b"00000000000\0" + b" " * 8 + kind + b"\0" * 100 + b"ustar\x0000"
    block += b"\0" * (512 - len(block))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def overlapping_zip() -> bytes:
    """One megabyte of zeros, listed 200 times by the central directory: each entry points at the same data."""
    data = zip_bytes(("a.txt", b"\0" * (1 << 20)))
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry, count = data[start:end], 200
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(entry) * count, start, 0)
    return data[:start] + entry * count + tail


def long_header_chain() -> bytes:
    """A chain of 5 000 "long name" headers: parsed by recursion."""
    return (tar_header(b"././@LongLink", b"L", b"00000000002") + b"a".ljust(512, b"\0")) * 5_000 + bytes(1024)


def pax_bomb() -> bytes:
    """A comment of 40 MB that compresses to nothing."""
    return gzip.compress(
        tar_bytes(("a.txt", b"a"), format=tarfile.PAX_FORMAT, pax_headers={"comment": "x" * 40_000_000})
    )


def gnu_sparse() -> bytes:
    return tar_header(b"sparse", tarfile.GNUTYPE_SPARSE, b"00000000000") + bytes(1024)


GOOD_TAR = tar_bytes(("ok/first.txt", b"first"), ("ok/second.txt", bytes(range(256)) * 40))
GOOD_ZIP = zip_bytes(("ok/first.txt", b"first"), ("ok/second.txt", bytes(range(256)) * 40))
FIRST = ("first.txt", b"a good member before the bad one")
ZEROS = b"\0" * (64 << 20)

HOSTILE = {
    "tar absolute": tar_bytes(FIRST, ("/tmp/musicai-evil.txt", b"evil")),
    "zip absolute": zip_bytes(FIRST, ("/tmp/musicai-evil.txt", b"evil")),
    "tar dot-dot": tar_bytes(FIRST, ("../evil.txt", b"evil")),
    "zip dot-dot": zip_bytes(FIRST, ("../evil.txt", b"evil")),
    "tar dot-dot inside": tar_bytes(FIRST, ("a/b/../../../evil.txt", b"evil")),
    "zip dot-dot folder": zip_bytes(FIRST, ("../evil/", b"")),
    "tar dot-dot folder": tar_bytes(FIRST, ("../evil", tarfile.DIRTYPE, "")),
    "tar pax path": tar_bytes(FIRST, ("../" + "é" * 60 + "/evil.txt", b"evil"), format=tarfile.PAX_FORMAT),
    "tar gnu long path": tar_bytes(FIRST, ("../" + "e" * 150, b"evil"), format=tarfile.GNU_FORMAT),
    "tar backslash": tar_bytes(FIRST, ("..\\evil.txt", b"evil")),
    "zip backslash": zip_bytes(FIRST, ("..\\evil.txt", b"evil")),
    "zip drive": zip_bytes(FIRST, ("C:/evil.txt", b"evil")),
    "tar drive": tar_bytes(FIRST, ("C:evil.txt", b"evil")),
    "zip stream": zip_bytes(FIRST, ("a.txt:evil", b"evil")),
    "zip network path": zip_bytes(FIRST, ("//server/share/evil.txt", b"evil")),
    "tar symlink out": tar_bytes(FIRST, ("link", tarfile.SYMTYPE, "../"), ("link/evil.txt", b"evil")),
    "tar symlink in": tar_bytes(FIRST, ("link", tarfile.SYMTYPE, "first.txt")),
    "tar symlink absolute": tar_bytes(("link", tarfile.SYMTYPE, "/etc/passwd")),
    "tar hard link": tar_bytes(FIRST, ("link", tarfile.LNKTYPE, "first.txt")),
    "tar hard link out": tar_bytes(("link", tarfile.LNKTYPE, "../outside.txt"), ("link", b"evil")),
    "zip symlink": zip_bytes(FIRST, (zip_mode("link", stat.S_IFLNK | 0o777), "../outside.txt")),
    "zip symlink folder": zip_bytes((zip_mode("link", stat.S_IFLNK | 0o777), ".."), ("link/evil.txt", b"evil")),
    "tar character device": tar_bytes(FIRST, ("null", tarfile.CHRTYPE, "")),
    "tar block device": tar_bytes(FIRST, ("disk", tarfile.BLKTYPE, "")),
    "tar fifo": tar_bytes(FIRST, ("pipe", tarfile.FIFOTYPE, "")),
    "zip fifo": zip_bytes(FIRST, (zip_mode("pipe", stat.S_IFIFO | 0o644), b"")),
    "tar unknown type": tar_header(b"what", b"Z", b"00000000000") + bytes(1024),
    "tar sparse": gnu_sparse(),
    "tar duplicate": tar_bytes(FIRST, FIRST),
    "zip duplicate": zip_bytes(FIRST, FIRST),
    "tar case clash": tar_bytes(FIRST, ("FIRST.TXT", b"evil")),
    "zip case clash of folders": zip_bytes(("a/x.txt", b"x"), ("A/y.txt", b"y")),
    "zip normalisation clash": zip_bytes(("\u00e9.txt", b"x"), ("e\u0301.txt", b"y")),
    "tar file as folder": tar_bytes(FIRST, ("first.txt/evil.txt", b"evil")),
    "zip folder as file": zip_bytes(("a/b.txt", b"b"), ("a", b"evil")),
    "zip NUL in name": patched(zip_bytes(FIRST, ("evilX.txt", b"evil")), b"evilX.txt", b"evil\0.txt"),
    "tar newline in name": tar_bytes(("a\nb", b"evil")),
    "tar name not UTF-8": tar_header(b"ab\xff\xfe", b"0", b"00000000000") + bytes(1024),
    "tar long part": tar_bytes(FIRST, ("n" * 256, b"evil")),
    "zip long name": zip_bytes(FIRST, ("/".join(["n" * 200] * 6), b"evil")),
    "zip deep": zip_bytes(FIRST, ("d/" * 40 + "evil.txt", b"evil")),
    "zip reserved": zip_bytes(FIRST, ("a/NUL.txt", b"evil")),
    "tar trailing dot": tar_bytes(FIRST, ("first.txt.", b"evil")),
    "zip no name": zip_bytes(FIRST, (".", b"evil")),
    "tar bomb": gzip.compress(tar_bytes(("zeros", ZEROS)), 9),
    "zip bomb": zip_bytes(("zeros", ZEROS)),
    "bz2 bomb": bz2.compress(tar_bytes(("zeros", ZEROS))),
    "xz bomb": lzma.compress(tar_bytes(("zeros", ZEROS)), preset=0),
    "zip overlapping": overlapping_zip(),
    "zip false size": zip_with_false_size(),
    "tar header bomb": pax_bomb(),
    "tar header chain": long_header_chain(),
    "tar negative size": tar_header(b"evil", b"0", b"\xff" * 12) + bytes(1024),
    "tar negative long name": tar_header(b"evil", b"L", b"\xff" * 12) + bytes(1024),
    "tar promises too much": tar_header(b"evil", b"0", b"77777777777") + bytes(1024),
    "tar many members": tar_bytes(*((f"{i}", b"") for i in range(1001))),
    "zip many members": zip_bytes(*((f"{i}", b"") for i in range(1001))),
    "zip encrypted": encrypted_zip(),
    "zip lzma": zip_bytes(FIRST, compression=zipfile.ZIP_LZMA),
    "zip wrong checksum": patched(
        zip_bytes(("a.txt", b"deflated"), compression=zipfile.ZIP_STORED), b"deflated", b"DEFLATED"
    ),
    "tar.gz wrong checksum": corrupt_gzip(gzip.compress(GOOD_TAR)),
    "tar truncated in data": GOOD_TAR[: 512 * 4],
    "tar truncated between members": GOOD_TAR[:1024],
    "tar truncated in header": GOOD_TAR[:1300],
    "tar.gz truncated": gzip.compress(GOOD_TAR)[:-200],
    "tar.gz without its checksum": gzip.compress(GOOD_TAR)[:-4],
    "tar.xz truncated": lzma.compress(GOOD_TAR)[:-20],
    "tar.bz2 truncated": bz2.compress(GOOD_TAR)[:-20],
    "tar damaged header": GOOD_TAR[:1024] + b"#" * 512 + GOOD_TAR[1536:],
    "zip truncated": GOOD_ZIP[:-10],
    "zip cut in half": GOOD_ZIP[: len(GOOD_ZIP) // 2],
    "empty file": b"",
    "not an archive": b"<html>404 not found</html>" * 100,
    "web page": b"PK\x03\x04" + b"<html>" * 100,
}


def tree(folder: Path) -> dict[str, object]:
    """Everything below a folder: links as their targets, files as bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = os.readlink(path) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
        found[path.relative_to(folder).as_posix()] = kind
    return found


def test_there_are_at_least_24_hostile_archives():
    assert len(set(HOSTILE.values())) == len(HOSTILE) >= 24


@pytest.fixture
def limits(monkeypatch):
    """Sets what an archive may unpack to, in place of a multiple of its size."""

    def limits(most_bytes, members):
        monkeypatch.setattr(transport, "MAX_RATIO", 0)
        monkeypatch.setattr(transport, "SPARE_BYTES", most_bytes)
        monkeypatch.setattr(transport, "MAX_MEMBERS", members)

    return limits


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archive_writes_nothing(tmp_path, monkeypatch, name):
    monkeypatch.setattr(transport, "MAX_MEMBERS", 1000)
    (tmp_path / "outside.txt").write_text("mine")
    (tmp_path / "evil.bin").write_bytes(HOSTILE[name])
    before = tree(tmp_path)
    with pytest.raises(DataError, match=r"evil\.bin"):
        extract(tmp_path / "evil.bin", tmp_path / "target")
    assert tree(tmp_path) == before
    assert not Path("/tmp/musicai-evil.txt").exists()


def test_error_is_a_data_error_that_names_the_member(tmp_path):
    (tmp_path / "a.tar").write_bytes(HOSTILE["tar dot-dot"])
    with pytest.raises(DataError, match=r"a\.tar.*'\.\./evil\.txt'"):
        extract(tmp_path / "a.tar", tmp_path / "out")


def test_folders_above_are_removed_after_a_failure(tmp_path):
    (tmp_path / "a.tar").write_bytes(HOSTILE["tar dot-dot"])
    with pytest.raises(DataError):
        extract(tmp_path / "a.tar", tmp_path / "new" / "newer" / "out")
    assert tree(tmp_path).keys() == {"a.tar"}


def test_missing_archive(tmp_path):
    with pytest.raises(DataError, match=r"no\.zip"):
        extract(tmp_path / "no.zip", tmp_path / "out")


@pytest.mark.parametrize("kind", ["file", "folder", "empty folder", "link", "dangling link"])
def test_what_is_there_is_neither_replaced_nor_followed(tmp_path, kind):
    (tmp_path / "a.tar").write_bytes(GOOD_TAR)
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    elif kind == "empty folder":
        out.mkdir()
    elif kind == "folder":
        (out / "ok").mkdir(parents=True)
        (out / "ok" / "SECOND.txt").write_text("mine")
    else:
        out.symlink_to(tmp_path / ("elsewhere" if kind == "link" else "nowhere"))
    before = tree(tmp_path)
    with pytest.raises(DataError, match="out already exists; move it away"):
        extract(tmp_path / "a.tar", out)
    assert tree(tmp_path) == before


def test_a_folder_of_the_same_name_inside_is_the_folder(tmp_path):
    (tmp_path / "a.tar").write_bytes(GOOD_TAR)
    assert extract(tmp_path / "a.tar", tmp_path / "ok") == tmp_path / "ok"
    assert tree(tmp_path / "ok") == {"first.txt": b"first", "second.txt": bytes(range(256)) * 40}
    extract(tmp_path / "a.tar", tmp_path / "else")
    assert tree(tmp_path / "else").keys() == {"ok", "ok/first.txt", "ok/second.txt"}
    assert os.stat(tmp_path / "ok").st_mode & 0o777 == os.stat(tmp_path / "else").st_mode & 0o777


def test_a_failed_move_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(GOOD_ZIP)

    def failing(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(DataError, match="No space left"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert tree(tmp_path).keys() == {"a.zip"}


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(GOOD_ZIP)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipExtFile, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert tree(tmp_path).keys() == {"a.zip"}


def test_headers_are_bounded_whatever_the_limit(tmp_path, limits):
    (tmp_path / "a.tar.gz").write_bytes(HOSTILE["tar header bomb"])
    limits(10**10, 1000)
    with pytest.raises(DataError, match="a header of 40,000,512 bytes"):
        extract(tmp_path / "a.tar.gz", tmp_path / "out")


def test_limits_are_exact(tmp_path, limits):
    (tmp_path / "a.zip").write_bytes(zip_bytes(("a", b"12345"), ("b", b"12345")))
    limits(10, 2)
    extract(tmp_path / "a.zip", tmp_path / "fits")
    limits(9, 2)
    with pytest.raises(DataError, match="9 bytes"):
        extract(tmp_path / "a.zip", tmp_path / "big")
    limits(10, 1)
    with pytest.raises(DataError, match="more than 1 members"):
        extract(tmp_path / "a.zip", tmp_path / "many")
    assert tree(tmp_path).keys() == {"a.zip", "fits", "fits/a", "fits/b"}


def test_leading_dot_slash_and_folders_listed_twice(tmp_path):
    folder = ("./word", tarfile.DIRTYPE, "")
    data = tar_bytes((".", tarfile.DIRTYPE, ""), folder, ("./word/a.wav", b"a"), folder, ("word//b.wav", b"b"))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(data))
    extract(tmp_path / "a.tar.gz", tmp_path / "out")
    assert tree(tmp_path / "out") == {"word": None, "word/a.wav": b"a", "word/b.wav": b"b"}


def test_permissions_of_the_archive_are_ignored(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_bytes((zip_mode("run", stat.S_IFREG | 0o6777), b"#!/bin/sh")))
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out" / "run").stat().st_mode & 0o7111


def test_empty_archives_make_an_empty_folder(tmp_path):
    for name, data in {"a.zip": zip_bytes(), "a.tar": tar_bytes()}.items():
        (tmp_path / name).write_bytes(data)
        extract(tmp_path / name, tmp_path / f"out-{name}")
        assert tree(tmp_path / f"out-{name}") == {}


letters = st.characters(codec="utf-8", exclude_characters='/\\:. "<>|?*', exclude_categories=("C", "Z", "M"))
names = st.lists(st.text(letters, min_size=1, max_size=12).map("n".__add__), min_size=1, max_size=4).map("/".join)
contents = st.dictionaries(names, st.binary(max_size=600), max_size=8)
PACKERS = {
    "tar": lambda members: tar_bytes(*members),
    "tar.gz": lambda members: gzip.compress(tar_bytes(*members)),
    "tar.bz2": lambda members: bz2.compress(tar_bytes(*members)),
    "tar.xz": lambda members: lzma.compress(tar_bytes(*members)),
    "gnu": lambda members: tar_bytes(*members, format=tarfile.GNU_FORMAT),
    "zip": lambda members: zip_bytes(*members),
    "stored": lambda members: zip_bytes(*members, compression=zipfile.ZIP_STORED),
}


def clash(files: dict[str, bytes]) -> bool:
    """Does a name appear twice (ignoring case), or as a file and as a folder?"""
    prefixes = {"/".join(parts[: i + 1]) for parts in (name.split("/") for name in files) for i in range(len(parts))}
    folders = {name.rsplit("/", i)[0] for name in files for i in range(1, name.count("/") + 1)}
    return len({prefix.casefold() for prefix in prefixes}) < len(prefixes) or bool(folders & files.keys())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=contents, packer=st.sampled_from(list(PACKERS)))
def test_round_trip(tmp_path_factory, files, packer):
    folder = tmp_path_factory.mktemp("trip")
    (folder / "a").write_bytes(PACKERS[packer](list(files.items())))
    if clash(files):
        with pytest.raises(DataError):
            extract(folder / "a", folder / "out")
    else:
        extract(folder / "a", folder / "out")
        assert {name: content for name, content in tree(folder / "out").items() if content is not None} == files


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["tar", "tar.gz", "zip", "stored", "tar.xz"]))
def test_mutated_archives_come_out_whole_or_not_at_all(tmp_path_factory, data, kind):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "outside.txt").write_text("mine")
    members = [("ok/first.txt", b"first"), ("ok/second.txt", bytes(range(256)) * 8)]
    mutated = bytearray(PACKERS[kind](members))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a").write_bytes(mutated[: data.draw(st.integers(len(mutated) // 2, len(mutated)))])
    try:
        extract(folder / "a", folder / "out")
    except DataError:
        assert tree(folder).keys() == {"a", "outside.txt"}
    else:
        assert {path.name for path in folder.iterdir()} == {"a", "outside.txt", "out"}
    assert (folder / "outside.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "/a", "C:a", "a\\b", "a\nb", "con", "a/LPT1.wav", "a.", "a ", "\udcff"]
)
def test_unsafe_names(name):
    with pytest.raises(DataError, match="member"):
        transport._Members(1000).check(name, 0, False, True)


@pytest.mark.parametrize("name", ["./2018/MIDI-Unprocessed_R1--1.wav", "..a/b..c/console/com10"])
def test_safe_names(name):
    transport._Members(1000).check(name, 0, False, True)
