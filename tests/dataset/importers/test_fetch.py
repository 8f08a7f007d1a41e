"""The download, against a server on loopback that speaks as figshare does."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.dataset import OpticalDataset
from optiscale.dataset.importers import fetch as fetching
from optiscale.dataset.importers.fetch import FETCHED, PREPROCESSED, RAW, fetch, unpack
from optiscale.errors import UserError
from optiscale.io import read_json

from .files import random_materials, write_published, write_raw


@dataclass
class Figshare:
    """What the server offers, how it misbehaves, and what it was asked."""

    url: str = ""
    files: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)  # by article
    knows_ranges: bool = True
    cut_after: list[int] = field(default_factory=list)  # bytes to send, then to hang up; one a download
    status: int = 200
    wrong_md5: bool = False
    ranges: list[str | None] = field(default_factory=list)  # of every download

    def content(self, number: int) -> bytes:
        return [data for files in self.files.values() for _, data in files][number]

    def listing(self, article: str) -> list[dict[str, object]]:
        everything = [data for files in self.files.values() for _, data in files]
        return [
            {
                "id": everything.index(data),
                "name": name,
                "size": len(data),
                "is_link_only": False,
                "download_url": f"{self.url}/ndownloader/files/{everything.index(data)}",
                "supplied_md5": hashlib.md5(data).hexdigest(),  # noqa: S324
                "computed_md5": "0" * 32 if self.wrong_md5 else hashlib.md5(data).hexdigest(),  # noqa: S324
                "mimetype": "application/octet-stream",
            }
            for name, data in self.files[article]
        ]


@pytest.fixture
def figshare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Figshare]:
    server = Figshare()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if listing := re.match(r"/v2/articles/(\d+)/files\?page_size=1000$", self.path):
                self._answer(200, json.dumps(server.listing(listing[1])).encode())
                return
            data = server.content(int(self.path.rsplit("/", 1)[-1]))
            asked = self.headers.get("Range")
            server.ranges.append(asked)
            if server.status != 200:
                self._answer(server.status, b"")
            elif asked and server.knows_ranges:
                self._answer(206, data[int(asked.removeprefix("bytes=").removesuffix("-")) :])
            else:
                self._answer(200, data)

        def _answer(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if "ndownloader" in self.path and server.cut_after:
                data = data[: server.cut_after.pop(0)]
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_port}"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(fetching, "API", f"{server.url}/v2")
        monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
        yield server
        http.shutdown()
        thread.join()


def nothing(name: str, done: int, total: int) -> None:
    """Report to nobody."""


DATA = bytes(range(256)) * 20_000  # 5 MB: several blocks


def whole_blocks(n: int) -> int:
    """Bytes that are kept of n when the connection is cut."""
    return n // 65536 * 65536


def offer(figshare: Figshare, *files: tuple[str, bytes]) -> None:
    figshare.files["31112554"] = list(files)


def test_files_come_whole_with_their_record_and_are_kept(figshare: Figshare, tmp_path: Path) -> None:
    offer(figshare, ("a.bin", DATA), ("b.txt", b"text"))
    seen: list[tuple[str, int, int]] = []
    fetch(PREPROCESSED, tmp_path, report=lambda *call: seen.append(call))
    assert (tmp_path / "31112554" / "a.bin").read_bytes() == DATA
    assert seen[-1] == ("b.txt", 4, 4)
    record = read_json(tmp_path / FETCHED)["31112554/a.bin"]
    assert record["doi"] == "10.6084/m9.figshare.31112554"
    assert record["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert record["bytes"] == len(DATA)
    fetch(PREPROCESSED, tmp_path, report=nothing)
    assert len(figshare.ranges) == 2, "what is there is not fetched again"


def test_a_cut_connection_is_resumed_where_it_stopped(figshare: Figshare, tmp_path: Path) -> None:
    offer(figshare, ("a.bin", DATA))
    figshare.cut_after = [3_000_000]
    fetch(PREPROCESSED, tmp_path, report=nothing)
    assert (tmp_path / "31112554" / "a.bin").read_bytes() == DATA
    assert figshare.ranges[0] is None
    assert figshare.ranges[1] == f"bytes={whole_blocks(3_000_000)}-"


def test_a_later_program_resumes_too(figshare: Figshare, tmp_path: Path) -> None:
    offer(figshare, ("a.bin", DATA))
    figshare.cut_after = [1_000_000, 1_000_000, 500_000, 100]
    with pytest.raises(UserError, match=r"run this again to go on with a\.bin"):
        fetch(PREPROCESSED, tmp_path, report=nothing)
    have = 2 * whole_blocks(1_000_000) + whole_blocks(500_000)
    assert (tmp_path / "31112554" / "a.bin.part").stat().st_size == have > 2_300_000
    fetch(PREPROCESSED, tmp_path, report=nothing)
    assert figshare.ranges[-1] == f"bytes={have}-"
    assert (tmp_path / "31112554" / "a.bin").read_bytes() == DATA
    assert not (tmp_path / "31112554" / "a.bin.part").exists()


def test_a_server_without_ranges_begins_anew(figshare: Figshare, tmp_path: Path) -> None:
    offer(figshare, ("a.bin", DATA))
    figshare.knows_ranges = False
    figshare.cut_after = [3_000_000]
    fetch(PREPROCESSED, tmp_path, report=nothing)
    assert (tmp_path / "31112554" / "a.bin").read_bytes() == DATA


def test_a_wrong_part_is_fetched_anew(figshare: Figshare, tmp_path: Path) -> None:
    offer(figshare, ("a.bin", DATA))
    (tmp_path / "31112554").mkdir()
    (tmp_path / "31112554" / "a.bin.part").write_bytes(b"x" * 1000)
    fetch(PREPROCESSED, tmp_path, report=nothing)
    assert figshare.ranges == ["bytes=1000-", None]
    assert (tmp_path / "31112554" / "a.bin").read_bytes() == DATA


def test_a_wrong_checksum_is_refused(figshare: Figshare, tmp_path: Path) -> None:
    offer(figshare, ("a.bin", DATA))
    figshare.wrong_md5 = True
    with pytest.raises(UserError, match=r"a\.bin does not match its MD5 0000"):
        fetch(PREPROCESSED, tmp_path, report=nothing)
    assert not (tmp_path / "31112554" / "a.bin").exists()


def test_a_damaged_file_is_fetched_again_and_a_changed_offer_refused(figshare: Figshare, tmp_path: Path) -> None:
    offer(figshare, ("a.bin", DATA))
    fetch(PREPROCESSED, tmp_path, report=nothing)
    path = tmp_path / "31112554" / "a.bin"
    path.write_bytes(DATA[:-1] + b"x")
    fetch(PREPROCESSED, tmp_path, report=nothing)
    assert path.read_bytes() == DATA
    offer(figshare, ("a.bin", DATA[::-1]))
    with pytest.raises(UserError, match=r"a\.bin: figshare offers another file than was fetched first"):
        fetch(PREPROCESSED, tmp_path, report=nothing)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("status", [202, 403])
def test_a_challenge_for_browsers_is_named(figshare: Figshare, tmp_path: Path, status: int) -> None:
    offer(figshare, ("a.bin", DATA))
    figshare.status = status
    with pytest.raises(UserError, match=f"refuses programs .status {status}.; download the files by hand"):
        fetch(PREPROCESSED, tmp_path, report=nothing)


def test_a_file_name_that_leaves_the_folder_is_refused(figshare: Figshare, tmp_path: Path) -> None:
    offer(figshare, ("../evil", b"x"))
    with pytest.raises(UserError, match=r"a file is called '\.\./evil'"):
        fetch(PREPROCESSED, tmp_path / "files", report=nothing)


def test_offline_ends_with_one_line_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetching, "API", f"http://127.0.0.1:{port}/v2")
    start = time.monotonic()
    with pytest.raises(UserError, match="try again online, or download the files by hand") as caught:
        fetch(PREPROCESSED, tmp_path, report=nothing)
    assert time.monotonic() - start < 5
    assert "\n" not in str(caught.value)
    assert not (tmp_path / FETCHED).exists()


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def zip_of(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return stream.getvalue()


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    for member in (tarfile.TarInfo("../outside"), link):
        path = tmp_path / "bad.tar.gz"
        path.write_bytes(tar_of([(member, b"")]))
        with pytest.raises(UserError, match=r"bad\.tar\.gz: not a safe, whole archive"):
            unpack(path)
    path.write_bytes(tar_of([(tarfile.TarInfo("in"), b"x" * 100_000)])[:-60])
    with pytest.raises(UserError, match=r"bad\.tar\.gz: not a safe, whole archive"):
        unpack(path)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tar.gz"]


def test_fetch_ends_with_the_folder_that_the_studies_name(
    figshare: Figshare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    materials = random_materials(5)
    write_published(tmp_path / "theirs", {"train": materials[:3], "val": materials[3:4], "test": materials[4:]})
    offer(figshare, ("optimetal.zip", zip_of(tmp_path / "theirs")))
    result = CliRunner().invoke(app, ["data", "fetch", "optimetal"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    dataset = OpticalDataset(Path("data/optimetal"))
    assert list(dataset.materials["id"]) == [one.id for one in materials]
    record = dataset.manifest.provenance["fetched"]["31112554/optimetal.zip"]
    assert record["sha256"] == read_json(Path("data/optimetal-files") / FETCHED)["31112554/optimetal.zip"]["sha256"]
    again = CliRunner().invoke(app, ["data", "fetch", "optimetal"], catch_exceptions=False)
    assert "is there already" in again.output
    assert len(figshare.ranges) == 1


def test_raw_files_are_fetched_from_both_articles(
    figshare: Figshare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    materials = random_materials(4)
    for doi, part in zip(RAW, (materials[:2], materials[2:]), strict=True):
        folder = write_raw(tmp_path / doi.rsplit(".", 1)[-1], part)
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            archive.add(folder, arcname="raw")
        figshare.files[folder.name] = [("raw.tar.gz", stream.getvalue())]
    result = CliRunner().invoke(app, ["data", "fetch", "optimetal", "--raw"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert set(OpticalDataset(Path("data/optimetal-raw")).materials["id"]) == {one.id for one in materials}
