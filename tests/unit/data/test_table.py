import io
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.cli.errors import UserError
from pipeline.data import table
from pipeline.data.samples import Decoded
from pipeline.data.sources import File, Table

TRAIN, TEST = File("wine.csv"), File("test.csv")
CSV = """alcohol,colour,year,class
14.2,red,2019,9
13.1,white,2020,10
12.5,"red, dark",2019,9
13.9,red,2021,10
"""


def decode(text: str | bytes = CSV, test: str | None = CSV, file: File = TRAIN, **declared: Any) -> Decoded:
    tables = {file: text, TEST: test} if test else {file: text}
    content = {file: data.encode() if isinstance(data, str) else data for file, data in tables.items()}
    share = {} if test else {"test_share": 0.5}
    source = Table(file, **({"label": "class", "test_file": TEST if test else None} | share | declared))
    return table.decode(source, content, {file: file.name for file in content})


def test_numbers_stay_and_names_become_columns_of_zero_and_one() -> None:
    found = decode(categories=("year",))
    expected = pd.get_dummies(pd.read_csv(io.StringIO(CSV)).drop(columns="class"), columns=["colour", "year"])
    assert np.array_equal(found.train.images, expected.to_numpy(np.float32))
    assert found.features == tuple(name.replace("_", "=") for name in expected.columns)
    assert (found.shape, found.brightest) == ((7,), 1)


def test_classes_are_numbered_in_the_order_of_their_names() -> None:
    found = decode()
    assert found.classes == ("9", "10")
    assert found.train.labels.tolist() == [0, 1, 0, 1]
    names = decode(CSV.replace(",9\n", ",b\n").replace(",10\n", ",a\n"), None)
    assert names.classes == ("a", "b")


def test_a_parquet_file_is_the_same_table() -> None:
    packed = io.BytesIO()
    pd.read_csv(io.StringIO(CSV)).to_parquet(packed)
    found = decode(packed.getvalue(), None, File("wine.parquet"))
    assert np.array_equal(found.train.images, decode(test=None).train.images)
    assert found.features == decode().features


def test_the_test_part_is_drawn_by_its_seed_and_has_its_share_of_each_class() -> None:
    rows = "number,class\n" + "".join(f"{row},{'abbb'[row % 4]}\n" for row in range(80))
    parts = [decode(rows, None, test_share=0.25, test_seed=seed) for seed in (0, 0, 1)]
    train, test = parts[0].train, parts[0].test
    assert (np.bincount(train.labels).tolist(), np.bincount(test.labels).tolist()) == ([15, 45], [5, 15])
    assert sorted([*train.images[:, 0], *test.images[:, 0]]) == list(range(80))
    same, other = (np.array_equal(part.test.images, test.images) for part in parts[1:])
    assert (same, other) == (True, False)


def test_a_test_table_is_read_as_the_training_table_was() -> None:
    found = decode(test="class,year,colour,alcohol\n10,2020,white,11\n")
    assert found.test.images.tolist() == [[11, 0, 0, 1, 2020]]
    assert found.test.labels.tolist() == [1]


def test_a_test_table_needs_the_columns_trained_on_and_no_others() -> None:
    found = decode(test="alcohol,colour,class,note\n11,white,10,\n", drop=("year",))
    assert found.test.images.tolist() == [[11, 0, 0, 1]]


@pytest.mark.parametrize(
    ("text", "declared", "message"),
    [
        (
            CSV.replace("12.5", ""),
            {},
            "wine.csv: column 'alcohol', row 3: the value is missing (1 in the table); fill it in",
        ),
        (CSV.replace("12.5", "12.5%"), {}, "wine.csv: column 'alcohol', row 3: '12.5%', expected a number"),
        (CSV.replace("12.5", "inf"), {}, "wine.csv: column 'alcohol', row 3: inf, expected a finite number"),
        (CSV, {"label": "clas"}, "wine.csv: no column 'clas', given as source.label (did you mean 'class'?)"),
        (CSV, {"separator": ";"}, "wine.csv: no column 'class', given as source.label; it has 'alcohol,colour"),
        (CSV, {"drop": ("class",)}, "wine.csv: expected the label 'class' and at least one other column"),
        (CSV.replace(",10\n", ",9\n"), {}, "wine.csv: column 'class' has 1 distinct values, expected 2 to 256"),
        (CSV, {"label": "alcohol"}, "wine.csv: column 'alcohol', row 1: 14.2, expected a whole number or a name"),
        (CSV + "1,2\n3,4,5,6,7\n", {}, "wine.csv: not a table that can be read (Error tokenizing data"),
        (CSV + "11,rosé,2020,11\n", {}, "wine.csv: source.test_share=0.5 cannot give each class a row in both parts"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) and value.startswith("wine") else "",
)
def test_what_is_wrong_is_one_line_with_column_and_row(text: str, declared: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        decode(text, None, **declared)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("alcohol,class\n1,9\n", "test.csv: no column 'colour' and 'year', which wine.csv has"),
        (
            "alcohol,colour,year,class\n1,rosé,2019,9\n",
            "test.csv: column 'colour', row 1: 'rosé' is not a category of the",
        ),
        ("alcohol,colour,year,class\n1,red,2019,11\n", "test.csv: column 'class', row 1: 11 is not a class of the"),
        (
            "alcohol,colour,year,class\n-,red,2019,9\n",
            "test.csv: column 'alcohol', row 1: '-', expected a finite number",
        ),
    ],
)
def test_a_test_table_with_something_else_in_it(test: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        decode(test=test)
    assert str(raised.value).startswith(message)
