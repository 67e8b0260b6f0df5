"""A table with a row per sample: numbers as they are, categories as columns of 0 and 1, classes by the order of their names."""

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

    def first(self, column: str, wrong: np.ndarray) -> str:
        """Place and value of the first row that is `wrong` (bool, n)."""
        row = int(np.argmax(wrong))
        value = self.frame[column].iloc[row]
        return f"{self.at(column, row)}: {repr(value) if isinstance(value, str) else value}"


def decode(source: Table, content: Mapping[File, bytes], names: Mapping[File, str]) -> Decoded:
    """The samples in the one or two tables; `names` are for errors. Raises UserError."""
    rows = _read(source, content[source.file], names[source.file])
    columns = [str(column) for column in rows.frame if column != source.label]
    categories = {
        column: _different(rows, column, 1, MOST_CATEGORIES)
        for column in columns
        if column in source.categories or not _holds_numbers(rows, column)
    }
    classes = _different(rows, source.label, 2, MOST_CLASSES)

    def samples(table: Rows) -> Samples:
        labels = _positions(table, source.label, classes, "class").astype(np.uint8)
        parts = [
            np.eye(len(categories[column]), dtype=np.float32)[_positions(table, column, categories[column], "category")]
            if column in categories
            else _numbers(table, column)[:, None]
            for column in columns
        ]
        return Samples(np.concatenate(parts, axis=1), labels)

    train = samples(rows)
    if source.test_file is None:
        parts = _drawn(source, train.labels, classes, rows.name)
        train, test = (Samples(train.images[part], train.labels[part]) for part in parts)
    else:
        others = _read(source, content[source.test_file], names[source.test_file])
        if missing := [repr(column) for column in rows.frame if column not in others.frame]:
            raise UserError(f"{others.name}: no column {listed(missing)}, which {rows.name} has")
        test = samples(others)
    features = [[f"{column}={each}" for each in categories.get(column, [])] or [column] for column in columns]
    return Decoded(train, test, tuple(classes), 1, tuple(name for names in features for name in names))


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
    missing = rows.frame.isna().to_numpy()
    if count := int(missing.sum()):
        row, column = np.argwhere(missing)[0]
        raise UserError(
            f"{rows.at(str(rows.frame.columns[column]), row)}: the value is missing (of the table: {count:,}); expected one "
            "in each place: fill it in, or leave out the row, or the column with source.drop"
        )
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


def _holds_numbers(rows: Rows, name: str) -> bool:
    """Raises UserError where most values are numbers and some are not."""
    column = rows.frame[name]
    if is_numeric_dtype(column):
        return True
    wrong = pd.to_numeric(column.astype(str), errors="coerce").isna().to_numpy()
    if 0 < wrong.mean() < 0.5:
        raise UserError(
            f"{rows.first(name, wrong)}, expected a number as in most rows; where these are names, list the column in "
            "source.categories"
        )
    return False


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
            raise UserError(f"{rows.first(name, fractions)}, expected a whole number or a name")
        return [str(int(value)) for value in column]
    kinds = infer_dtype(column)
    if kinds not in ("string", "categorical", "boolean"):
        raise UserError(
            f"{rows.name}: column {name!r} holds {kinds}, expected numbers or texts; source.drop leaves it out"
        )
    return [str(value) for value in column]


def _is_numeric(column: pd.Series[Any]) -> bool:
    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _positions(rows: Rows, name: str, known: Sequence[str], what: str) -> np.ndarray:
    """int (n,): for each row the place of its value among `known`. Raises UserError for another value."""
    found = pd.Index(known).get_indexer(pd.Index(_texts(rows, name)))
    if (found < 0).any():
        few = f" ({listed(known, 'or')})" if len(known) <= 20 else ""
        raise UserError(f"{rows.first(name, found < 0)} is no {what} of the training table{few}")
    return found


def _numbers(rows: Rows, name: str) -> np.ndarray:
    """float32 (n,). Raises UserError for a text, and for a number that float32 cannot hold."""
    with np.errstate(over="ignore"):
        numbers = pd.to_numeric(rows.frame[name], errors="coerce").to_numpy(np.float64).astype(np.float32)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        raise UserError(f"{rows.first(name, wrong)}, expected a finite number under 3.4e38")
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
