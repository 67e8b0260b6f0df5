"""The mirrors of a data set (folders, https addresses, an installed package) and the verification of its files."""

from __future__ import annotations

import gzip
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.cli import terminal
from pipeline.cli.errors import DataUnavailable, UserError, redact_credentials
from pipeline.data import download, idx
from pipeline.data.download import MirrorFailed
from pipeline.data.files import display_path
from pipeline.data.sources import DataSet, File

MIRRORS_VARIABLE = "OVERFITTING_GAP_MIRRORS"
GZIP = b"\x1f\x8b"
SCIKIT_LEARN = "scikit-learn"
DIGITS_TEST_SAMPLES = 360


def checked(file: File, data: bytes, name: str = "") -> bytes:
    """Verify the content of `file` and return it as it is stored, compressed if its name ends with `.gz`.

    `name` is used in errors. Raises UserError.
    """
    name, sha256 = name or file.name, hashlib.sha256(data).hexdigest()
    if sha256 == file.gzip_sha256:
        return data
    if file.is_gzip and not data.startswith(GZIP) and file.sha256 in (None, sha256):
        data = gzip.compress(data, mtime=0)  # unpacked by a server that sends .gz as a transfer encoding, or by hand
    sha256 = content_digest(file, data, name)
    if file.sha256 and sha256 != file.sha256:
        what = " of the unpacked file" if file.is_gzip else ""
        raise UserError(f"{name}: sha256{what} is {sha256}, expected {file.sha256}")
    if file.gzip_sha256 and not file.sha256:
        raise UserError(f"{name}: expected the gzip file as published, sha256 {file.gzip_sha256}")
    return data


def content_digest(file: File, data: bytes, name: str) -> str:
    """Return the sha256 of a stored file's unpacked content. Raises UserError if it cannot be unpacked."""
    return hashlib.sha256(idx.unpack(data, file.max_unpacked_bytes, name) if file.is_gzip else data).hexdigest()


@dataclass(frozen=True)
class Folder:
    path: Path

    @property
    def address(self) -> str:
        return display_path(self.path)

    def read(self, file: File, until: float = 0) -> bytes:
        if not self.path.is_dir():
            raise MirrorFailed("not a folder" if self.path.exists() else "no such folder")
        found = [path for path in (self.path / file.name, self.path / file.name.removesuffix(".gz")) if path.is_file()]
        if not found:
            raise MirrorFailed(f"{file.name} is missing")
        try:
            if found[0].stat().st_size > file.max_bytes:
                raise MirrorFailed(f"{found[0].name} is larger than {file.max_bytes:,} bytes")
            return found[0].read_bytes()
        except OSError as error:
            raise MirrorFailed(f"{found[0].name} cannot be read ({error.strerror})") from error


def kept(file: File, folder: Path) -> bytes | None:
    """Return the content of `file` in `folder` if it is valid and in the form in which files are stored, else None."""
    try:
        data = Folder(folder).read(file)
        return data if checked(file, data) == data else None
    except (UserError, MirrorFailed):
        return None


@dataclass(frozen=True)
class Https:
    url: str

    @property
    def address(self) -> str:
        return redact_credentials(self.url)

    def read(self, file: File, until: float) -> bytes:
        url = f"{self.url.rstrip('/')}/{file.name}"
        try:
            return download.download(url, file.max_bytes, until)
        except MirrorFailed as failure:
            raise MirrorFailed(f"{file.name} {failure}") from failure


@dataclass(frozen=True)
class ScikitLearn:
    """The digits of the installed package, as files in the format of MNIST."""

    files: tuple[File, ...]
    """Training images and labels, test images and labels."""
    address: str = SCIKIT_LEARN

    def read(self, file: File, until: float) -> bytes:
        from sklearn.datasets import load_digits  # 2 s

        index, digits = self.files.index(file), load_digits()
        part = slice(None, -DIGITS_TEST_SAMPLES) if index < 2 else slice(-DIGITS_TEST_SAMPLES, None)
        array = digits.target if index % 2 else digits.images
        return gzip.compress(idx.encode(array[part].astype(np.uint8)), mtime=0)


Mirror = Folder | Https | ScikitLearn
"""A place with files: `read` returns unverified content or raises MirrorFailed."""


def find_mirrors(dataset: DataSet, checkout: Path, environment: Mapping[str, str], named: str = "") -> list[Mirror]:
    """Return the mirrors in order: those of the user (`named`, or the variable), else the known folders and addresses.

    A queued DVC experiment runs in a temporary clone. DVC_ROOT is the real checkout, whose fetched files and
    neighbouring folder `shared` serve the clone too.
    """
    for key, value in (("mirrors", named), (MIRRORS_VARIABLE, environment.get(MIRRORS_VARIABLE, ""))):
        addresses = [address.strip() for address in value.split(",") if address.strip()]
        if addresses:
            return [_mirror(address, key, checkout) for address in addresses]
    source = dataset.source
    if source.mirrors == (SCIKIT_LEARN,):
        return [ScikitLearn(dataset.files)]
    root = Path(environment.get("DVC_ROOT") or checkout)
    own = [root / Path(source.path).expanduser()] if source.path else []
    fetched = [root / "data" / "raw" / dataset.name] if root.resolve() != checkout.resolve() else []
    folders = [*own, *fetched, root.resolve().parent / "shared" / dataset.name]
    key = f"conf/dataset/{dataset.name}.yaml: source.mirrors"
    return [*map(Folder, folders), *(_mirror(address, key, root) for address in source.mirrors)]


def _mirror(address: str, key: str, checkout: Path) -> Mirror:
    if "://" not in address:
        return Folder(checkout / Path(address).expanduser())
    if not re.match(r"https://([^/@]*@)?[\w.-]", address):
        raise UserError(f"{key}={address}: expected folders and https:// addresses, separated by commas")
    return Https(address)


def read_from_first(
    dataset: DataSet, files: Sequence[File], mirrors: Sequence[Mirror]
) -> tuple[Mirror, dict[File, bytes]]:
    """Return the first of `mirrors` that has valid copies of all `files`, and their content.

    Raises DataUnavailable, or UserError for a data set that is not published.
    """
    failures = []
    for mirror in mirrors:
        until = time.monotonic() + download.MIRROR_TIMEOUT
        packed: dict[File, bytes] = {}
        try:
            for number, file in enumerate(files):
                terminal.show(f"{file.name} from {mirror.address}", number, len(files), f"{number}/{len(files)} files")
                packed[file] = checked(file, mirror.read(file, until))
            return mirror, packed
        except (MirrorFailed, UserError) as failure:
            failures.append(f"{mirror.address}: {failure}")
    # If data are unavailable, `make run` uses the digits instead; it must not replace the user's own data.
    published = dataset.source.mirrors or dataset.source.note
    raise (DataUnavailable if published else UserError)(_unavailable(dataset, files, mirrors, failures))


def _unavailable(dataset: DataSet, files: Sequence[File], mirrors: Sequence[Mirror], failures: Sequence[str]) -> str:
    source, folders = dataset.source, [mirror.address for mirror in mirrors if isinstance(mirror, Folder)]
    wanted = ", ".join(f"{file.name} {file.sha256 or file.gzip_sha256 or ''}".strip() for file in files)
    where = f"into {folders[-1]}, or into any folder" if folders else "into a folder"
    of_gzip = any(file.gzip_sha256 and not file.sha256 for file in files)
    of_what = f" (sha256 of the {'gzip' if of_gzip else 'unpacked'} file)" if any(f.has_digest for f in files) else ""
    note = f"{source.note} " if source.note else ""
    own = f" Or set source.path in conf/dataset/{dataset.name}.yaml to the folder."
    digits = (
        " Or use dataset=digits, 1,797 real handwritten digits that come with scikit-learn: it runs everything "
        "without a download."
    )
    return (
        f"{dataset.title}: no mirror has valid copies of all files. {'; '.join(failures)}. {note}"
        f"Put these files{of_what} {where} that you name with mirrors=FOLDER or "
        f"{MIRRORS_VARIABLE}=FOLDER, and run the same command again: {wanted}."
        f"{digits if source.mirrors or source.note else own}"
    )
