"""Download the published data set by DOI from figshare: checked, resumed after an interruption, unpacked."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optiscale import __version__
from optiscale.errors import UserError
from optiscale.io import file_hash, read_json, write_json

#: of arXiv:2602.05702; the raw files are two articles
PREPROCESSED = ("10.6084/m9.figshare.31112554",)
RAW = ("10.6084/m9.figshare.31111798", "10.6084/m9.figshare.31112491")
API = "https://api.figshare.com/v2"
#: written beside the downloaded files: where each came from, and its hashes as first seen
FETCHED = "fetched.json"
#: seconds to connect and between two reads
TIMEOUT = (5.0, 30.0)
RETRIES = 3
BY_HAND = "download the files by hand and run `optiscale data import` on their folder"

_BLOCK = 1 << 16  # bytes; what a cut connection loses at most
_HEADERS = {"User-Agent": f"optiscale/{__version__}"}
_DAMAGED = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)

#: called with a file's name, its bytes so far and in all
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file of a figshare article, as its API lists it; `md5` is None where the API gives none."""

    name: str
    url: str
    size: int
    md5: str | None


def list_files(doi: str) -> list[RemoteFile]:
    """Ask figshare's API for the files behind a DOI.

    pooch's own DOI look-up follows doi.org to figshare's web page, which refuses programs; the API does not.

    Raises
    ------
    UserError
        If the API cannot be reached, or answers something else.
    """
    import requests

    url = f"{API}/articles/{_article(doi)}/files"
    try:
        response = requests.get(url, params={"page_size": 1000}, headers=_HEADERS, timeout=TIMEOUT)
        response.raise_for_status()
        files = [_remote_file(entry) for entry in response.json() if not entry.get("is_link_only")]
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{url}: no list of files for doi:{doi} ({_reason(error)}); try again online, or {BY_HAND}"
        ) from error
    if not files:
        raise UserError(f"{url}: doi:{doi} lists no files; {BY_HAND}")
    return files


def _article(doi: str) -> str:
    return doi.rsplit(".", 1)[-1]


def _remote_file(entry: Mapping[str, Any]) -> RemoteFile:
    name = str(entry["name"])
    if name != Path(name).name or name.startswith("."):
        raise ValueError(f"a file is called {name!r}")
    # this host serves programs; the same path on figshare.com answers with a challenge for browsers
    url = str(entry["download_url"]).replace("https://figshare.com/ndownloader/", "https://ndownloader.figshare.com/")
    return RemoteFile(name, url, int(entry["size"]), entry.get("computed_md5") or entry.get("supplied_md5") or None)


def fetch(dois: Sequence[str], folder: Path, *, report: Report) -> dict[str, dict[str, Any]]:
    """Download every file behind some DOIs into `folder`/<article>/, and unpack the archives there.

    Finished files are checked and kept, an interrupted one goes on where it stopped.

    Parameters
    ----------
    dois
        Of figshare articles.
    folder
        Where; made if needed.
    report
        Told of the progress.

    Returns
    -------
    dict
        The content of `fetched.json`: doi, url, bytes, md5 and sha256 of each file by its path in the folder.

    Raises
    ------
    UserError
        If a download fails, does not match its checksum, or is not what was fetched the first time.
    """
    listed = {f"{_article(doi)}/{file.name}": (doi, file) for doi in dois for file in list_files(doi)}
    record = read_json(folder / FETCHED) if (folder / FETCHED).exists() else {}
    for path, (_, file) in listed.items():
        if (known := record.get(path)) and (known["md5"], known["bytes"]) != (file.md5, file.size):
            raise UserError(
                f"{folder / path}: figshare offers another file than was fetched first ({FETCHED}); "
                f"remove {folder} to take the new one"
            )
    folder.mkdir(parents=True, exist_ok=True)
    _check_space(folder, [file.size for path, (_, file) in listed.items() if not (folder / path).exists()])
    for path, (doi, file) in listed.items():
        local = download(file, folder / path, report=report)
        sha256 = file_hash(local)
        if path in record and record[path]["sha256"] != sha256:
            raise UserError(f"{local}: not the file that was fetched first ({FETCHED}); remove it and fetch again")
        record[path] = {"doi": doi, "url": file.url, "bytes": file.size, "md5": file.md5, "sha256": sha256}
        write_json(folder / FETCHED, record)
        unpack(local)
    return record


def download(file: RemoteFile, path: Path, *, report: Report) -> Path:
    """Download one file with pooch, which checks it; what is there and right is kept.

    Raises
    ------
    UserError
        If it cannot be had, or its size or checksum is wrong.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(
        path.parent,
        base_url="",
        registry={file.name: f"md5:{file.md5}" if file.md5 else None},
        urls={file.name: file.url},
        retry_if_failed=RETRIES,
    )
    downloader = _Resuming(file, path.with_name(f"{path.name}.part"), report)
    try:
        return Path(store.fetch(file.name, downloader=downloader))
    except requests.RequestException as error:
        raise UserError(f"{file.url}: {_reason(error)}; run this again to go on with {file.name}") from error
    except ValueError as error:  # of pooch: the checksum
        raise UserError(f"{file.url}: {file.name} does not match its MD5 {file.md5}; fetch it again later") from error


class _Resuming:
    """A downloader for pooch that goes on with the part that an interrupted one left."""

    def __init__(self, file: RemoteFile, part: Path, report: Report) -> None:
        self.file = file
        self.part = part
        self.report = report

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        del pooch
        from requests.exceptions import ConnectionError as Cut  # which pooch tries again

        done = self.part.stat().st_size if self.part.exists() else 0
        if not 0 < done <= self.file.size:
            done = 0
        if done < self.file.size:
            done = self._get(url, done)
        if done < self.file.size:
            raise Cut(f"ended after {done} of {self.file.size} bytes")
        if done > self.file.size:
            self.part.unlink()
            raise UserError(f"{url}: more than the {self.file.size} bytes of {self.file.name}; fetch it again later")
        self.part.replace(output_file)

    def _get(self, url: str, done: int) -> int:
        import requests

        headers = {**_HEADERS, **({"Range": f"bytes={done}-"} if done else {})}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code in (202, 403):  # a challenge for browsers
                raise UserError(f"{url}: figshare refuses programs (status {response.status_code}); {BY_HAND}")
            response.raise_for_status()
            if response.status_code != 206:
                done = 0  # a server that knows no ranges begins anew
            with self.part.open("ab" if done else "wb") as stream:
                for block in response.iter_content(_BLOCK):
                    stream.write(block)
                    done += len(block)
                    self.report(self.file.name, done, self.file.size)
        return done


def unpack(path: Path) -> Path | None:
    """Unpack an archive into a folder beside it, named for it; None if it is no archive.

    Members that would land outside the folder, links out of it and devices are refused.

    Raises
    ------
    UserError
        If the archive is damaged or unsafe.
    """
    name = path.name
    kind = next(
        (suffix for suffix in (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2") if name.endswith(suffix)), None
    )
    if kind is None:
        return None
    folder = path.with_name(name.removesuffix(kind))
    if folder.exists():
        return folder
    staging = path.with_name(f".{name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        if kind == ".zip":
            with zipfile.ZipFile(path) as zipped:
                zipped.extractall(staging)  # noqa: S202  zipfile drops absolute paths and ".."
        elif hasattr(tarfile, "data_filter"):
            with tarfile.open(path) as tarred:
                tarred.extractall(staging, filter="data")
        else:
            raise UserError(f"{path}: this Python cannot unpack it safely; take Python 3.11.4 or newer")
    except _DAMAGED as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise UserError(
            f"{path}: not a safe, whole archive ({_reason(error)}); remove it and fetch it again"
        ) from error
    staging.rename(folder)
    return folder


def published_folder(folder: Path) -> Path:
    """Return where the published layout lies among fetched files."""
    return min((path.parent for path in folder.rglob("train.h5")), default=folder)


def _check_space(folder: Path, sizes: Sequence[int]) -> None:
    free, wanted = shutil.disk_usage(folder).free, sum(sizes)
    if wanted > free:
        raise UserError(f"{folder}: {wanted / 1e9:.1f} GB to fetch, {free / 1e9:.1f} GB free; make room, or use --out")


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError) and "Failed to resolve" in str(error):
        return "no connection"
    return " ".join(f"{type(error).__name__}: {error}".split())
