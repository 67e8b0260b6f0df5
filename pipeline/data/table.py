"""Decodes tables with a row per sample: numbers unchanged, categories one-hot encoded, classes in the order of their names."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_bool_dtype, is_numeric_dtype
from sklearn.model_selection import train_test_split

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import listed, nearest
from pipeline.data.samples import Decoded, Samples
from pipeline.data.sources import MOST_CLASSES, File, Table

MISSING = ("", "NA", "N/A", "NaN", "nan", "null")
"""Texts for a missing value in a CSV file."""
PARQUET = (".parquet", ".pq")
MOST_CATEGORIES = 256
"""Maximum per column; a column with more is probably an identifier or free text."""


@dataclass(frozen=True)
class Rows:
    """A table and its name for errors."""

    frame: pd.DataFrame
    name: str

    def at(self, column: str, row: int) -> str:
        """Return `wine.csv: column 'ash', row 17`; rows count from 1, without the header."""
        return f"{self.name}: column {column!r}, row {row + 1}"

    def first(self, column: str, wrong: np.ndarray) -> str:
        """Return location and value of the first row that is `wrong` (bool, n)."""
        row = int(np.argmax(wrong))
        value = self.frame[column].iloc[row]
        return f"{self.at(column, row)}: {repr(value) if isinstance(value, str) else value}"


def decode(source: Table, content: Mapping[File, bytes], names: Mapping[File, str]) -> Decoded:
    """Decode one or two tables; `names` are used in errors. Raises UserError."""
    rows = _read(source, content[source.file], names[source.file])
    columns = [str(column) for column in rows.frame if column != source.label]
    categories = {
        column: _distinct(rows, column, 1, MOST_CATEGORIES)
        for column in columns
        if column in source.categories or not _holds_numbers(rows, column)
    }
    classes = _distinct(rows, source.label, 2, MOST_CLASSES)

    def samples(table: Rows) -> Samples:
        labels = _indices(table, source.label, classes, "class").astype(np.uint8)
        parts = [
            np.eye(len(categories[column]), dtype=np.float32)[_indices(table, column, categories[column], "category")]
            if column in categories
            else _numbers(table, column)[:, None]
            for column in columns
        ]
        return Samples(np.concatenate(parts, axis=1), labels)

    train = samples(rows)
    if source.test_file is None:
        parts = _split(source, train.labels, classes, rows.name)
        train, test = (Samples(train.images[part], train.labels[part]) for part in parts)
    else:
        test = samples(_read(source, content[source.test_file], names[source.test_file], rows))
    features = [[f"{column}={each}" for each in categories.get(column, [])] or [column] for column in columns]
    return Decoded(train, test, tuple(classes), 1, tuple(name for names in features for name in names))


def _read(source: Table, data: bytes, name: str, train: Rows | None = None) -> Rows:
    """Read the table without dropped columns, or with the columns of `train`. Raises UserError for missing values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # more values in a row than names in the header
            frame = _parsed(source, data, name)
    except (ValueError, OSError, ImportError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name}: not a table that can be read ({reason})") from error
    frame.columns = frame.columns.astype(str)
    if train is None:
        _check_columns(source, list(frame.columns), name)
        frame = frame.drop(columns=list(source.drop))
    else:
        if absent := [repr(column) for column in train.frame if column not in frame]:
            raise UserError(f"{name}: no column {listed(absent)}, which {train.name} has")
        frame = frame[list(train.frame)]
    rows = Rows(frame, name)
    if rows.frame.empty:
        raise UserError(f"{name}: no row below the header, expected one per sample")
    missing = rows.frame.isna().to_numpy()
    if count := int(missing.sum()):
        row, column = np.argwhere(missing)[0]
        raise UserError(
            f"{rows.at(str(rows.frame.columns[column]), row)}: the value is missing ({count:,} in the table); fill it in, "
            "remove the row, or leave out the column with source.drop"
        )
    return rows


def _check_columns(source: Table, columns: Sequence[str], name: str) -> None:
    for key, wanted in (("label", [source.label]), ("categories", source.categories), ("drop", source.drop)):
        for column in wanted:
            if column not in columns:
                near = nearest(column, columns) or f"; it has {listed([repr(each) for each in columns[:20]])}"
                near += "; source.separator sets the separator of columns" if len(columns) == 1 else ""
                raise UserError(f"{name}: no column {column!r}, given as source.{key}{near}")
    if source.label in source.drop or set(columns) <= {source.label, *source.drop}:
        raise UserError(f"{name}: expected the label {source.label!r} and at least one other column after source.drop")


def _parsed(source: Table, data: bytes, name: str) -> pd.DataFrame:
    if name.endswith(PARQUET):
        return pd.read_parquet(io.BytesIO(data)).reset_index(drop=True)
    return pd.read_csv(
        io.BytesIO(data),
        sep=source.separator,
        index_col=False,  # otherwise an extra value in each row turns the first column into an index
        keep_default_na=False,  # "None" is a valid category
        na_values=list(MISSING),
        skipinitialspace=True,
        low_memory=False,
        encoding="utf-8-sig",
    )


def _holds_numbers(rows: Rows, name: str) -> bool:
    """Return whether a column is numeric. Raises UserError if most of its values are numbers and some are not."""
    column = rows.frame[name]
    if is_numeric_dtype(column):
        return True
    wrong = pd.to_numeric(column.astype(str), errors="coerce").isna().to_numpy()
    if 0 < wrong.mean() < 0.5:
        raise UserError(
            f"{rows.first(name, wrong)}, expected a number as in most rows; if it is a category, list the column in "
            "source.categories"
        )
    return False


def _distinct(rows: Rows, name: str, least: int, most: int) -> list[str]:
    """Return the distinct values of a column as sorted texts: 2 before 10, a before b. Raises UserError."""
    texts = set(_texts(rows, name))
    if not least <= len(texts) <= most:
        raise UserError(f"{rows.name}: column {name!r} has {len(texts):,} distinct values, expected {least} to {most}")
    return sorted(texts, key=int) if _is_numeric(rows.frame[name]) else sorted(texts)


def _texts(rows: Rows, name: str) -> list[str]:
    """Return a column as texts: `red`, `3` (not `3.0`), `True`. Raises UserError for fractions, dates and lists."""
    column = rows.frame[name]
    if _is_numeric(column):
        fractions = column.to_numpy(np.float64) % 1 != 0  # true for infinity too, whose remainder is NaN
        if fractions.any():
            raise UserError(f"{rows.first(name, fractions)}, expected a whole number or a name")
        return [str(int(value)) for value in column]
    kinds = infer_dtype(column)
    if kinds not in ("string", "categorical", "boolean"):
        raise UserError(
            f"{rows.name}: column {name!r} holds {kinds}, expected numbers or texts; leave it out with source.drop"
        )
    return [str(value) for value in column]


def _is_numeric(column: pd.Series[Any]) -> bool:
    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _indices(rows: Rows, name: str, known: Sequence[str], what: str) -> np.ndarray:
    """Return the index in `known` of each row's value, int (n,). Raises UserError for an unknown value."""
    found = pd.Index(known).get_indexer(pd.Index(_texts(rows, name)))
    if (found < 0).any():
        few = f" ({listed(known, 'or')})" if len(known) <= 20 else ""
        raise UserError(f"{rows.first(name, found < 0)} is not a {what} of the training table{few}")
    return found


def _numbers(rows: Rows, name: str) -> np.ndarray:
    """Return a column as float32 (n,). Raises UserError for a text or a number that float32 cannot represent."""
    with np.errstate(over="ignore"):
        numbers = pd.to_numeric(rows.frame[name], errors="coerce").to_numpy(np.float64).astype(np.float32)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        raise UserError(f"{rows.first(name, wrong)}, expected a finite number under 3.4e38")
    return np.asarray(numbers)


def _split(source: Table, labels: np.ndarray, classes: Sequence[str], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the row indices of training and test samples, ascending, stratified by class. Raises UserError."""
    try:
        parts = train_test_split(
            np.arange(len(labels)), test_size=source.test_share, random_state=source.test_seed, stratify=labels
        )
    except ValueError as error:
        rarest = int(np.argmin(np.bincount(labels, minlength=len(classes))))
        count = int((labels == rarest).sum())
        raise UserError(
            f"{name}: source.test_share={source.test_share} cannot give each class a row in both parts ({len(labels):,} rows, "
            f"{len(classes)} classes; the rarest, {classes[rarest]!r}, has {count})"
        ) from error
    return np.sort(parts[0]), np.sort(parts[1])
