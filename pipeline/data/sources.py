"""Which data sets there are, what their files must be, and where the files come from."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.cli.errors import DataUnavailable, UserError
from pipeline.cli.formatting import nearest
from pipeline.data import idx
from pipeline.data.download import LIMITS, Limits, MirrorFailed, Report, download, is_https, without_login
from pipeline.data.files import shown

MIRRORS_VARIABLE = "OVERFITTING_GAP_MIRRORS"
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class File:
    name: str
    size: int
    """Bytes, unpacked."""
    sha256: str
    """Of the unpacked file: what counts, since a mirror may compress anew."""
    packed_size: int
    packed_sha256: str = ""
    """Of the gzip file as published."""

    @property
    def most(self) -> int:
        """No gzip file that is larger than this can be the right one."""
        return self.size + (1 << 16)


@dataclass(frozen=True)
class DataSet:
    name: str
    title: str
    train_images: File
    train_labels: File
    test_images: File
    test_labels: File
    classes: int
    image_shape: tuple[int, int]
    brightest: int
    """The pixel value that becomes 1.0."""
    addresses: tuple[str, ...] = ()
    """Mirrors on the network, in the order in which they are asked."""
    bundled: bool = False
    """Comes with an installed package: there is nothing to download."""

    @property
    def files(self) -> tuple[File, File, File, File]:
        return self.train_images, self.train_labels, self.test_images, self.test_labels


MNIST = DataSet(
    name="mnist",
    title="MNIST",
    train_images=File(
        "train-images-idx3-ubyte.gz",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    train_labels=File(
        "train-labels-idx1-ubyte.gz",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    test_images=File(
        "t10k-images-idx3-ubyte.gz",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    test_labels=File(
        "t10k-labels-idx1-ubyte.gz",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    classes=10,
    image_shape=(28, 28),
    brightest=255,
    addresses=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
)

DIGITS_TEST_SAMPLES = 360
DIGITS = DataSet(
    name="digits",
    title="scikit-learn's handwritten digits",
    train_images=File(
        MNIST.train_images.name, 91_984, "41e463fb11442353328aed136a72ca93512604a7ae6e294205756d54294c7502", 35_546
    ),
    train_labels=File(
        MNIST.train_labels.name, 1_445, "f8a600b73e2c056aa42316260206e6643bd33e96bd71cfb8e32b94f76fac4f93", 135
    ),
    test_images=File(
        MNIST.test_images.name, 23_056, "ee7550fe34409fc27d844b52fd0408fab403b2cc523bb34baa4ebd95b760d882", 8_978
    ),
    test_labels=File(
        MNIST.test_labels.name, 368, "cf2c8a23974df0c99eb3f36ff34c02acb9be1c84aca7280211ef04bea1135360", 119
    ),
    classes=10,
    image_shape=(8, 8),
    brightest=16,
    bundled=True,
)

DATASETS = {dataset.name: dataset for dataset in (MNIST, DIGITS)}


def find(name: str) -> DataSet:
    """The data set called `name`. Raises UserError with the nearest name where there is none."""
    if name not in DATASETS:
        raise UserError(f"dataset={name}: expected one of {', '.join(DATASETS)}{nearest(name, list(DATASETS))}")
    return DATASETS[name]


def checked(file: File, data: bytes) -> bytes:
    """The gzip file that `data` is, or is the content of, once its unpacked bytes are known to be the right ones."""
    if file.packed_sha256 and hashlib.sha256(data).hexdigest() == file.packed_sha256:
        return data
    if not data.startswith(GZIP) and hashlib.sha256(data).hexdigest() == file.sha256:
        return compress(data)  # unpacked by a server that declares .gz a transfer encoding, or by hand
    check_unpacked(file, idx.unpack(data, file.size, file.name), file.name)
    return data


def check_unpacked(file: File, unpacked: bytes, name: str) -> None:
    sha256 = hashlib.sha256(unpacked).hexdigest()
    if sha256 != file.sha256:
        raise UserError(f"{name}: sha256 of the unpacked file is {sha256}, expected {file.sha256}")


def compress(data: bytes) -> bytes:
    """gzip without name and time: the same bytes every time."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
        file.write(data)
    return packed.getvalue()


class Mirror(Protocol):
    @property
    def address(self) -> str: ...

    def read(self, file: File, until: float, report: Report) -> bytes:
        """The bytes that the mirror has for `file`, unchecked. Raises MirrorFailed."""
        ...


@dataclass(frozen=True)
class Folder:
    path: Path

    @property
    def address(self) -> str:
        return shown(self.path)

    def read(self, file: File, until: float, report: Report) -> bytes:
        if not self.path.is_dir():
            raise MirrorFailed("not a folder" if self.path.exists() else "no such folder")
        found = [path for path in (self.path / file.name, self.path / file.name.removesuffix(".gz")) if path.is_file()]
        if not found:
            raise MirrorFailed(f"{file.name} is missing")
        try:
            with open(found[0], "rb") as stream:
                data = stream.read(file.most + 1)
        except OSError as error:
            raise MirrorFailed(f"{found[0].name} cannot be read ({error.strerror})") from error
        if len(data) > file.most:
            raise MirrorFailed(f"{found[0].name} is larger than {file.most:,} bytes")
        return data


@dataclass(frozen=True)
class Https:
    url: str
    limits: Limits = LIMITS
    loopback_http: bool = False
    """For tests: a server on 127.0.0.1 may do without TLS."""

    @property
    def address(self) -> str:
        return without_login(self.url)

    def read(self, file: File, until: float, report: Report) -> bytes:
        url = f"{self.url.rstrip('/')}/{file.name}"
        try:
            return download(url, file.most, until, self.limits, report, loopback_http=self.loopback_http)
        except MirrorFailed as failure:
            raise MirrorFailed(f"{file.name} {failure}") from failure


@dataclass(frozen=True)
class ScikitLearn:
    """The digits data set out of the installed package, written as the files that MNIST would have."""

    address: str = "scikit-learn"

    def read(self, file: File, until: float, report: Report) -> bytes:
        images, labels = _load_digits()
        train, test = slice(None, -DIGITS_TEST_SAMPLES), slice(-DIGITS_TEST_SAMPLES, None)
        arrays = dict(zip(DIGITS.files, (images[train], labels[train], images[test], labels[test]), strict=True))
        return compress(idx.encode(arrays[file]))


@functools.cache
def _load_digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # 2 s

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.uint8)


def mirrors(dataset: DataSet, checkout: Path, environment: Mapping[str, str], named: str = "") -> list[Mirror]:
    """Where to look, in order: what the user names (`named`, or the variable), else the folders and addresses known.

    A queued DVC experiment runs in a temporary clone, and DVC_ROOT says where the real checkout is: what was
    fetched there, and the folder beside it, serve the clone too.
    """
    for key, value in (("mirrors", named), (MIRRORS_VARIABLE, environment.get(MIRRORS_VARIABLE, ""))):
        words = [word.strip() for word in value.split(",") if word.strip()]
        if words:
            return [_mirror(word, key, checkout) for word in words]
    if dataset.bundled:
        return [ScikitLearn()]
    root = Path(environment.get("DVC_ROOT") or checkout)
    fetched = [root / "data" / "raw" / dataset.name] if root.resolve() != checkout.resolve() else []
    folders = [*fetched, root.resolve().parent / "shared" / dataset.name]
    return [*map(Folder, folders), *map(Https, dataset.addresses)]


def _mirror(word: str, key: str, checkout: Path) -> Mirror:
    if "://" not in word:
        return Folder(checkout / Path(word).expanduser())
    if not is_https(word):
        raise UserError(f"{key}={word}: expected folders and https:// addresses, separated by commas")
    return Https(word)


def gather(
    dataset: DataSet,
    files: Sequence[File],
    mirrors: Sequence[Mirror],
    report: Report = lambda done: None,
    limits: Limits = LIMITS,
) -> tuple[Mirror, dict[File, bytes]]:
    """`files` of `dataset`, checked, from the first of `mirrors` that has them all whole. Raises DataUnavailable."""
    failures = []
    for mirror in mirrors:
        until = time.monotonic() + limits.mirror
        packed: dict[File, bytes] = {}
        try:
            for file in files:
                done = sum(map(len, packed.values()))
                packed[file] = checked(file, mirror.read(file, until, functools.partial(_add, report, done)))
            return mirror, packed
        except (MirrorFailed, UserError) as failure:
            failures.append(f"{mirror.address}: {failure}")
    raise DataUnavailable(_unavailable(dataset, files, mirrors, failures))


def _add(report: Report, done: int, here: int) -> None:
    report(done + here)


def _unavailable(dataset: DataSet, files: Sequence[File], mirrors: Sequence[Mirror], failures: Sequence[str]) -> str:
    folders = [mirror.address for mirror in mirrors if isinstance(mirror, Folder)]
    wanted = ", ".join(f"{file.name} {file.sha256}" for file in files)
    where = f"into {folders[-1]}, or into any folder that you name" if folders else "into a folder and name it"
    return (
        f"{dataset.title}: no mirror has it whole. {'; '.join(failures)}. "
        f"Put these files (gzip or unpacked; the sha256 is of the unpacked file) {where} with mirrors=FOLDER or "
        f"{MIRRORS_VARIABLE}=FOLDER, and give the same command again: {wanted}. "
        "Or do without a download: dataset=digits, 1,797 real handwritten digits that come with scikit-learn, "
        "runs everything."
    )
