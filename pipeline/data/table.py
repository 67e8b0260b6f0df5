"""A table with a row per sample: numbers as they are, categories as columns of 0 and 1, classes by the order of their names."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import listed, nearest
from pipeline.data.samples import Decoded, Samples
from pipeline.data.sources import MOST_CLASSES, File, Table

MISSING = ("", "NA", "N/A", "NaN", "nan", "null")
"""What stands for a missing value in a CSV file."""
PARQUET = (".parquet", ".pq")
MOST_CATEGORIES = 256
"""Of one column: more are numbers of customers, or notes."""


@dataclass(frozen=True)
class Rows:
    """A table with its name, for errors."""

    frame: pd.DataFrame
    name: str

    def at(self, column: str, row: int) -> str:
        """`wine.csv: column 'ash', row 17`; rows are counted from 1, without the line of names."""
        return f"{self.name}: column {column!r}, row {row + 1}"


Columns = Mapping[str, list[str] | None]
"""How columns become numbers: the categories of each column of names, None for numbers."""


def decode(source: Table, content: Mapping[File, bytes], names: Mapping[File, str]) -> Decoded:
    """The samples in the one or two tables; `names` are for errors. Raises UserError."""
    rows = _read(source, content[source.file], names[source.file])
    names_of_columns = [str(column) for column in rows.frame if column != source.label]
    columns = {name: _categories(rows, name, name in source.categories) for name in names_of_columns}
    classes = _different(rows, source.label, 2, MOST_CLASSES)

    def samples(table: Rows) -> Samples:
        labels = _positions(table, source.label, classes, "class").astype(np.uint8)
        return Samples(_numbers(table, columns), labels)

    whole = samples(rows)
    if source.test_file is None:
        parts = _drawn(source, whole.labels, classes, rows.name)
        train, test = (Samples(whole.images[part], whole.labels[part]) for part in parts)
    else:
        others = _read(source, content[source.test_file], names[source.test_file])
        if missing := [repr(column) for column in rows.frame if column not in others.frame]:
            raise UserError(f"{others.name}: no column {listed(missing)}, which {rows.name} has")
        train, test = whole, samples(others)
    features = [
        name
        for column, categories in columns.items()
        for name in ([column] if categories is None else [f"{column}={category}" for category in categories])
    ]
    return Decoded(train, test, tuple(classes), 1, tuple(features))


def _read(source: Table, data: bytes, name: str) -> Rows:
    """The table without the columns to drop, none of its values missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # more values in a row than names in the first line
            frame = _parsed(source, data, name)
    except (ValueError, OSError, ImportError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name}: not a table that can be read ({reason})") from error
    frame.columns = frame.columns.astype(str)
    _check_columns(source, list(frame.columns), name)
    rows = Rows(frame.drop(columns=list(source.drop)), name)
    if rows.frame.empty:
        raise UserError(f"{name}: no row below the line of names, expected one for each sample")
    _check_missing(rows)
    return rows


def _check_columns(source: Table, columns: Sequence[str], name: str) -> None:
    for key, wanted in (("label", [source.label]), ("categories", source.categories), ("drop", source.drop)):
        for column in wanted:
            if column not in columns:
                near = nearest(column, columns) or f"; it has {listed([repr(each) for each in columns[:20]])}"
                near += "; source.separator says what stands between two columns" if len(columns) == 1 else ""
                raise UserError(f"{name}: no column {column!r}, which source.{key} names{near}")
    if source.label in source.drop or set(columns) <= {source.label, *source.drop}:
        raise UserError(
            f"{name}: expected the label {source.label!r} and another column at least, source.drop left out"
        )


def _parsed(source: Table, data: bytes, name: str) -> pd.DataFrame:
    if name.endswith(PARQUET):
        return pd.read_parquet(io.BytesIO(data)).reset_index(drop=True)
    return pd.read_csv(
        io.BytesIO(data),
        sep=source.separator,
        index_col=False,  # or one value too many in each row makes the first column a name of the row
        keep_default_na=False,  # "None" is a fine name of a category
        na_values=list(MISSING),
        skipinitialspace=True,
        low_memory=False,
        encoding="utf-8-sig",
    )


def _check_missing(rows: Rows) -> None:
    missing = rows.frame.isna().to_numpy()
    count = int(missing.sum())
    if count:
        row, column = np.argwhere(missing)[0]
        more = f", and {count - 1:,} more are missing" if count > 1 else ""
        raise UserError(
            f"{rows.at(str(rows.frame.columns[column]), row)}: the value is missing{more}; expected one in each place: "
            "fill it in, or leave out the row, or the column with source.drop"
        )


def _categories(rows: Rows, name: str, declared: bool) -> list[str] | None:
    """The categories of a column in their order, or None where it holds numbers."""
    column = rows.frame[name]
    if pd.api.types.is_numeric_dtype(column) and not declared:
        return None
    if not declared:
        numbers = pd.to_numeric(column.astype(str), errors="coerce")
        if 0.5 < numbers.notna().mean() < 1:
            row = int(np.argmax(numbers.isna()))
            raise UserError(
                f"{rows.at(name, row)}: {column.iloc[row]!r}, expected a number as in most rows; where these are names, "
                "list the column in source.categories"
            )
    return _different(rows, name, 1, MOST_CATEGORIES)


def _different(rows: Rows, name: str, least: int, most: int) -> list[str]:
    """The different values of a column as texts, in their order: 2 before 10, a before b."""
    texts = set(_texts(rows, name))
    if not least <= len(texts) <= most:
        raise UserError(f"{rows.name}: column {name!r} has {len(texts):,} different values, expected {least} to {most}")
    return sorted(texts, key=int) if _is_numeric(rows.frame[name]) else sorted(texts)


def _texts(rows: Rows, name: str) -> list[str]:
    """The values of a column as names: `red`, `3` (not `3.0`), `True`. Raises UserError for fractions, dates and lists."""
    column = rows.frame[name]
    if _is_numeric(column):
        fractions = column.to_numpy(np.float64) % 1 != 0  # infinity is one: its remainder is no number
        if fractions.any():
            row = int(np.argmax(fractions))
            raise UserError(f"{rows.at(name, row)}: {column.iloc[row]}, expected a whole number or a name")
        return [str(int(value)) for value in column]
    kinds = pd.api.types.infer_dtype(column)
    if kinds not in ("string", "categorical", "boolean"):
        raise UserError(
            f"{rows.name}: column {name!r} holds {kinds}, expected numbers or texts; source.drop leaves it out"
        )
    return [str(value) for value in column]


def _is_numeric(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _positions(rows: Rows, name: str, known: Sequence[str], what: str) -> np.ndarray:
    """int (n,): for each row the place of its value among `known`. Raises UserError for another value."""
    places = {text: place for place, text in enumerate(known)}
    texts = _texts(rows, name)
    found = np.array([places.get(text, -1) for text in texts])
    if (found < 0).any():
        row = int(np.argmax(found < 0))
        few = f" ({listed(known, 'or')})" if len(known) <= 20 else ""
        raise UserError(f"{rows.at(name, row)}: {texts[row]!r} is no {what} of the training table{few}")
    return found


def _numbers(rows: Rows, columns: Columns) -> np.ndarray:
    """float32 (n, features)."""
    parts = []
    for name, categories in columns.items():
        if categories is None:
            parts.append(_column(rows, name)[:, None])
        else:
            parts.append(np.eye(len(categories), dtype=np.float32)[_positions(rows, name, categories, "category")])
    return np.concatenate(parts, axis=1)


def _column(rows: Rows, name: str) -> np.ndarray:
    """float32 (n,). Raises UserError for a text, and for a number that float32 cannot hold."""
    column = rows.frame[name]
    with np.errstate(over="ignore"):
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64).astype(np.float32)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(f"{rows.at(name, row)}: {column.iloc[row]}, expected a finite number under 3.4e38")
    return np.asarray(numbers)


def _drawn(source: Table, labels: np.ndarray, classes: Sequence[str], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training and of the test part, ascending; each class has its share of both."""
    try:
        parts = train_test_split(
            np.arange(len(labels)), test_size=source.test_share, random_state=source.test_seed, stratify=labels
        )
    except ValueError as error:
        rarest = int(np.argmin(np.bincount(labels, minlength=len(classes))))
        count = int((labels == rarest).sum())
        raise UserError(
            f"{name}: source.test_share={source.test_share} leaves no row of each class in both parts ({len(labels):,} rows, "
            f"{len(classes)} classes; the rarest, {classes[rarest]!r}, has {count})"
        ) from error
    return np.sort(parts[0]), np.sort(parts[1])
