"""What the file of a data set, `conf/dataset/NAME.yaml`, says of where its samples come from."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from annotated_types import Ge, Gt, Le, Len, Lt, Predicate

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.config import rules
from pipeline.config.values import Text, Words

LARGEST = 2**32
"""Bytes that a file may have which does not declare its size."""
MOST_CLASSES = 256
"""Labels are uint8."""

Digest = Annotated[
    str,
    Predicate(lambda text: len(text) == 64 and set(text) <= set("0123456789abcdef")),
    Words("a sha256, 64 hexadecimal digits in quotes"),
]
FileName = Annotated[
    str, Predicate(lambda name: Path(name).name == name != ""), Words("the name of a file, without its folder")
]
Bytes = Annotated[int, Ge(1), Le(LARGEST)]
Texts = Annotated[tuple[Text, ...], Words("a list of texts")]
Classes = Annotated[
    Annotated[int, Ge(2), Le(MOST_CLASSES)] | Annotated[tuple[Text, ...], Len(2, MOST_CLASSES)],
    Words(f"how many classes, 2 to {MOST_CLASSES}, or a list of so many names"),
]


@dataclass(frozen=True)
class File:
    """A file as it is kept; one whose name ends with `.gz` may lie unpacked in the folder that it comes from."""

    name: FileName
    size: Bytes | None = None
    """Bytes, unpacked."""
    sha256: Digest | None = None
    """Of the unpacked file, since a mirror may compress anew."""
    gzip_sha256: Digest | None = None
    """Of the gzip file as published."""

    @property
    def is_gzip(self) -> bool:
        return self.name.endswith(".gz")

    @property
    def limit(self) -> int:
        """No right file has more bytes, unpacked."""
        return self.size or LARGEST

    @property
    def most(self) -> int:
        """No right file has more bytes as it is kept."""
        return self.limit + (1 << 16)

    @property
    def has_digest(self) -> bool:
        return bool(self.sha256 or self.gzip_sha256)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Keys of every format."""

    title: Text | None = None
    """Heading of the picture of samples; null for the name."""
    path: Text | None = None
    """Your folder with the files."""
    mirrors: Texts = ()
    """`https://` addresses of folders with the files, asked one after the other; `scikit-learn` for its digits."""
    note: Text | None = None
    """How else to come by the files, for the message that no mirror has them."""


@dataclass(frozen=True)
class Idx(Source):
    """Four files as MNIST has them."""

    train_images: File = File("train-images-idx3-ubyte.gz")
    train_labels: File = File("train-labels-idx1-ubyte.gz")
    test_images: File = File("t10k-images-idx3-ubyte.gz")
    test_labels: File = File("t10k-labels-idx1-ubyte.gz")
    classes: Classes | None = None
    """Null for as many as the largest training label says."""
    first_label: Annotated[int, Ge(0), Le(255)] = 0
    """The label of the first class: it is subtracted from each."""
    transposed: bool = False
    """Whether the files hold columns for rows."""
    brightest: Annotated[int, Ge(1), Le(255)] = 255
    """The pixel value that becomes 1.0."""


@dataclass(frozen=True)
class Npz(Source):
    """A file of numpy with the arrays x_train, y_train, x_test and y_test."""

    file: File
    classes: Classes | None = None
    """Null for as many as the largest training label says."""
    first_label: Annotated[int, Ge(0), Le(65_535)] = 0
    """The label of the first class: it is subtracted from each."""
    brightest: Annotated[int, Ge(1), Le(65_535)] | None = None
    """The value that becomes 1.0; null for 255 where the samples are uint8, else 1."""


@dataclass(frozen=True)
class Table(Source):
    """A row per sample, as CSV (one line of names first) or Parquet."""

    file: File
    label: Text
    """The column of the classes, which are numbered in the order of their names."""
    test_file: File | None = None
    """A second table with the test samples, or:"""
    test_share: Annotated[float, Gt(0), Lt(1)] | None = None
    """Share of the rows, stratified by class, that are drawn as test samples."""
    test_seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0
    """Of that draw."""
    categories: Texts = ()
    """Columns of numbers that are names. Text always is: a column becomes one of 0 and 1 for each of its values."""
    drop: Texts = ()
    """Columns that are left out."""
    separator: Annotated[str, Predicate(lambda text: len(text) == 1), Words("one character")] = ","
    """Of a CSV file."""


FORMATS: dict[str, type[Idx | Npz | Table]] = {"idx": Idx, "npz": Npz, "table": Table}


@dataclass(frozen=True)
class DataSet:
    name: str
    source: Idx | Npz | Table

    @property
    def title(self) -> str:
        return self.source.title or self.name

    @property
    def file_fields(self) -> dict[str, File]:
        """The files by the key that declares them."""
        declared = {field.name: getattr(self.source, field.name) for field in fields(self.source)}
        return {name: value for name, value in declared.items() if isinstance(value, File)}

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(self.file_fields.values())

    def with_digests(self, digests: dict[str, str]) -> DataSet:
        """Files that declare no digest get theirs out of `digests`, by name."""
        changed: dict[str, Any] = {
            key: replace(file, sha256=digests.get(file.name))
            for key, file in self.file_fields.items()
            if not file.has_digest
        }
        return replace(self, source=replace(self.source, **changed))


def find(name: str) -> DataSet:
    """The data set of `conf/dataset/NAME.yaml`. Raises UserError with all that is wrong in it, or with the nearest name."""
    rules.parsed("dataset", name, rules.choice(rules.options("dataset")))
    return parse(name, rules.content("dataset", name))


def parse(name: str, values: dict[str, Any]) -> DataSet:
    """The data set that the values of `conf/dataset/NAME.yaml` declare. Raises UserError."""
    problems: list[str] = []
    own = {key: value for key, value in values.items() if key not in ("name", "source", "defaults")}
    if values.get("name") != name:
        problems.append(f"name={rules.to_text(values.get('name'))}: expected {name}, as the file is called")
    source = values.get("source")
    known = {key.removeprefix("dataset."): rule for key, rule in rules.RULES.items() if key.startswith("dataset.")}
    problems += rules.problems(own, known, ["validation_size"])
    made = _source(source if isinstance(source, dict) else {}, problems)
    if problems or made is None:
        raise UserError(f"conf/dataset/{name}.yaml: {'; '.join(problems)}")
    return DataSet(name, made)


def _source(values: dict[str, Any], problems: list[str]) -> Idx | Npz | Table | None:
    line = rules.problem("source.format", values.get("format"), rules.choice(FORMATS))
    if line:
        problems.append(line)
        return None
    kind = FORMATS[values["format"]]
    found: Any = _section(kind, {key: value for key, value in values.items() if key != "format"}, "source", problems)
    if found and kind is Table and (found.test_file is None) == (found.test_share is None):
        problems.append("source: expected either test_file, a second table, or test_share, such as 0.2")
    return found


def _section(kind: type, values: dict[str, Any], prefix: str, problems: list[str]) -> Any:
    """A `kind` with these values (null for its default), or None and what is wrong, a line each, in `problems`."""
    before = len(problems)
    hints = get_type_hints(kind, include_extras=True)
    typed: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            problems.append(f"{prefix}.{key}: no such key{nearest(key, hints)}")
        elif value is None:
            continue
        elif File in (hints[key], *get_args(hints[key])):
            # By its name alone, or by name, size and digests; the name may be left out where there is a usual one.
            usual, given = getattr(kind, key, None), value if isinstance(value, dict) else {"name": value}
            named = {"name": usual.name, **given} if usual else given
            typed[key] = _section(File, named, f"{prefix}.{key}", problems)
        else:
            rule = rules.rule(hints[key])
            if line := rules.problem(f"{prefix}.{key}", value, rule):
                problems.append(line)
            else:
                typed[key] = rule.typed(value)
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    problems += [f"{prefix}.{key}: missing" for key in needed if values.get(key) is None]
    return kind(**typed) if len(problems) == before else None
