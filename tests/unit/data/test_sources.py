"""What conf/dataset/NAME.yaml may contain."""

from typing import Any

import pytest

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.data import sources
from pipeline.data.sources import File, Table

TABLE = {"format": "table", "file": "wine.csv", "label": "cultivar", "test_share": 0.2}


def parse(source: Any, **values: Any) -> sources.DataSet:
    return sources.parse("wine", {"name": "wine", "validation_size": 30, "source": source} | values)


@pytest.mark.parametrize("name", rules.options("dataset"))
def test_each_file_of_conf_is_a_data_set(name: str) -> None:
    found = sources.find(name)
    assert found.name == name
    assert found.files
    # Only files with a published digest are fetched from the network.
    assert all(file.has_digest for file in found.files) or not found.source.mirrors


def test_a_file_is_declared_by_its_name_or_with_its_digest() -> None:
    digest = "0123456789abcdef" * 4
    with_digest = parse(TABLE | {"file": {"name": "wine.csv", "sha256": digest}})
    assert with_digest.files == (File("wine.csv", sha256=digest),)
    assert parse(TABLE).files == (File("wine.csv"),)
    assert parse(TABLE).source == Table(File("wine.csv"), "cultivar", test_share=0.2)


@pytest.mark.parametrize(
    ("source", "values", "message"),
    [
        ({}, {}, "source.format=null: expected one of idx, npz, table"),
        (TABLE | {"lable": "x"}, {}, "source.lable: no such key (did you mean 'label'?)"),
        (TABLE | {"test_share": 20}, {}, "source.test_share=20: expected a number over 0 and under 1, or null"),
        (TABLE | {"test_share": None}, {}, "source: expected either test_file, a second table, or test_share"),
        (TABLE | {"file": "../wine.csv"}, {}, "source.file.name=../wine.csv: expected a file name"),
        (TABLE | {"file": {"name": "a", "sha": "1"}}, {}, "source.file.sha: no such key (did you mean 'sha256'?)"),
        ({"format": "npz"}, {}, "source.file: missing"),
        ({"format": "idx", "classes": 300}, {}, "source.classes=300: expected the number of classes, 2 to 256"),
        (TABLE, {"name": "mnist"}, "name=mnist: expected wine, the name of the file"),
        (TABLE, {"validaton_seed": 1}, "validaton_seed: no such key (did you mean 'validation_seed'?)"),
        (TABLE, {"validation_size": -1}, "validation_size=-1: expected a whole number from 0 to"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_with_its_key(source: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(source, **values)
    assert str(raised.value).startswith(f"conf/dataset/wine.yaml: {message}")


def test_a_data_set_with_a_name_that_no_record_may_hold_is_refused() -> None:
    with pytest.raises(UserError, match="name=my wine: expected a name of at most 64 letters, digits, _ and -"):
        sources.parse("my wine", {"name": "my wine", "validation_size": 30, "source": TABLE})
