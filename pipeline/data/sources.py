"""The keys under `source` in `conf/dataset/NAME.yaml`: the files of a data set and their format."""

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
"""Maximum size in bytes of a file that does not declare its size."""
MOST_CLASSES = 256
"""Labels are uint8."""

Digest = Annotated[
    str,
    Predicate(lambda text: len(text) == 64 and set(text) <= set("0123456789abcdef")),
    Words("a sha256, 64 hexadecimal digits in quotes"),
]
FileName = Annotated[str, Predicate(lambda name: Path(name).name == name != ""), Words("a file name without a folder")]
Bytes = Annotated[int, Ge(1), Le(LARGEST)]
Texts = Annotated[tuple[Text, ...], Words("a list of texts")]
Classes = Annotated[
    Annotated[int, Ge(2), Le(MOST_CLASSES)] | Annotated[tuple[Text, ...], Len(2, MOST_CLASSES)],
    Words(f"the number of classes, 2 to {MOST_CLASSES}, or a list of their names"),
]


@dataclass(frozen=True)
class File:
    """A file as it is stored; if its name ends with `.gz`, the source folder may hold it unpacked."""

    name: FileName
    size: Bytes | None = None
    """Unpacked size in bytes."""
    sha256: Digest | None = None
    """Digest of the unpacked file, since a mirror may compress it differently."""
    gzip_sha256: Digest | None = None
    """Digest of the gzip file as published."""

    @property
    def is_gzip(self) -> bool:
        return self.name.endswith(".gz")

    @property
    def max_unpacked_bytes(self) -> int:
        return self.size or LARGEST

    @property
    def max_bytes(self) -> int:
        """Maximum size as stored; gzip may add a little."""
        return self.max_unpacked_bytes + (1 << 16)

    @property
    def has_digest(self) -> bool:
        return bool(self.sha256 or self.gzip_sha256)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Keys of all formats."""

    title: Text | None = None
    """Title of the picture of samples; null for the name."""
    path: Text | None = None
    """Folder with your files."""
    mirrors: Texts = ()
    """`https://` addresses of folders with the files, tried in order; `scikit-learn` for its digits."""
    note: Text | None = None
    """How else to get the files; shown if no mirror has them."""


@dataclass(frozen=True)
class Idx(Source):
    """Four files, as for MNIST."""

    train_images: File = File("train-images-idx3-ubyte.gz")
    train_labels: File = File("train-labels-idx1-ubyte.gz")
    test_images: File = File("t10k-images-idx3-ubyte.gz")
    test_labels: File = File("t10k-labels-idx1-ubyte.gz")
    classes: Classes | None = None
    """Number or names; null to use the largest training label."""
    first_label: Annotated[int, Ge(0), Le(255)] = 0
    """The label of the first class: it is subtracted from each."""
    transposed: bool = False
    """Whether rows and columns are swapped in the files."""
    brightest: Annotated[int, Ge(1), Le(255)] = 255
    """The pixel value that becomes 1.0."""


@dataclass(frozen=True)
class Npz(Source):
    """A `numpy.savez` file with the arrays x_train, y_train, x_test and y_test."""

    file: File
    classes: Classes | None = None
    """Number or names; null to use the largest training label."""
    first_label: Annotated[int, Ge(0), Le(65_535)] = 0
    """The label of the first class: it is subtracted from each."""
    brightest: Annotated[int, Ge(1), Le(65_535)] | None = None
    """The value that becomes 1.0; null for 255 if the samples are uint8, otherwise 1."""


@dataclass(frozen=True)
class Table(Source):
    """A table with a row per sample, as CSV with a header line, or Parquet."""

    file: File
    label: Text
    """Column of the classes, which are numbered in the order of their names."""
    test_file: File | None = None
    """Second table with the test samples; alternatively `test_share`."""
    test_share: Annotated[float, Gt(0), Lt(1)] | None = None
    """Share of the rows drawn as test samples, stratified by class."""
    test_seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0
    """Seed of that draw."""
    categories: Texts = ()
    """Numeric columns to treat as categories, as text columns always are. Categories are one-hot encoded."""
    drop: Texts = ()
    """Columns to leave out."""
    separator: Annotated[str, Predicate(lambda text: len(text) == 1), Words("one character")] = ","
    """Separator of a CSV file."""


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
        """Files by the key that declares them."""
        declared = {field.name: getattr(self.source, field.name) for field in fields(self.source)}
        return {name: value for name, value in declared.items() if isinstance(value, File)}

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(self.file_fields.values())

    def with_digests(self, digests: dict[str, str]) -> DataSet:
        """Return the data set with `digests`, keyed by file name, for files that declare none."""
        changed: dict[str, Any] = {
            key: replace(file, sha256=digests.get(file.name))
            for key, file in self.file_fields.items()
            if not file.has_digest
        }
        return replace(self, source=replace(self.source, **changed))


def find(name: str) -> DataSet:
    """Return the data set of `conf/dataset/NAME.yaml`. Raises UserError with all problems of the file, or the nearest name."""
    rules.parsed("dataset", name, rules.choice(rules.options("dataset")))
    return parse(name, rules.content("dataset", name))


def parse(name: str, values: dict[str, Any]) -> DataSet:
    """Return the data set declared by the values of `conf/dataset/NAME.yaml`. Raises UserError."""
    problems = [line.removeprefix("dataset.") for line in rules.name_problems({"dataset.name": name})]
    own = {key: value for key, value in values.items() if key not in ("name", "source", "defaults")}
    if values.get("name") != name:
        problems.append(f"name={rules.to_text(values.get('name'))}: expected {name}, the name of the file")
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
    """Return a `kind` with these values (null for the default), or None after adding to `problems`."""
    before = len(problems)
    hints = get_type_hints(kind, include_extras=True)
    typed: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            problems.append(f"{prefix}.{key}: no such key{nearest(key, hints)}")
        elif value is None:
            continue
        elif File in (hints[key], *get_args(hints[key])):
            # A name, or a mapping with name, size and digests; a name with a default may be omitted.
            default, given = getattr(kind, key, None), value if isinstance(value, dict) else {"name": value}
            named = {"name": default.name, **given} if default else given
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
