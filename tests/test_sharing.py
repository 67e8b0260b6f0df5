"""Every command of docs/sharing.md is run by the test that is named here."""

from __future__ import annotations

import re

import pytest

from tests.clone import CHECKOUT

PAGE = (CHECKOUT / "docs" / "sharing.md").read_text("utf-8")

PUBLISH, REMOTE = "tests/test_publish.py", "tests/test_dvc_remote.py"
TESTS = {
    "python scripts/tracking_server.py start ~/mlflow": f"{PUBLISH}::test_the_server_says_where_it_is",
    "python scripts/tracking_server.py status ~/mlflow": f"{PUBLISH}::test_the_server_says_where_it_is",
    "python scripts/tracking_server.py stop ~/mlflow": f"{PUBLISH}::server",
    "python -m pipeline.publish to=http://127.0.0.1:5000": f"{PUBLISH}::test_it_is_what_sqlite_has",
    "python -m pipeline.publish": f"{PUBLISH}::test_without_an_address_it_is_the_one_in_conf",
    "dvc remote add --default storage /mnt/shared/overfitting-gap": f"{REMOTE}::test_a_folder_passes_it_on",
    "dvc push": f"{REMOTE}::test_a_folder_passes_it_on",
    "dvc pull": f"{REMOTE}::test_a_folder_passes_it_on",
    "dvc repro": f"{REMOTE}::test_a_folder_passes_it_on",
    "dvc remote add --default storage s3://group/overfitting-gap": f"{REMOTE}::test_an_s3_passes_it_on",
    "dvc remote modify storage endpointurl http://127.0.0.1:9000": f"{REMOTE}::test_an_s3_passes_it_on",
    "dvc remote modify --local storage access_key_id NAME": f"{REMOTE}::test_keys_stay_out_of_git",
}


def test_each_command_has_its_test() -> None:
    blocks = re.findall(r"(?ms)^```bash\n(.*?)^```", PAGE)
    assert [line for block in blocks for line in block.splitlines()] == [*TESTS]


@pytest.mark.parametrize("command", TESTS)
def test_the_test_that_is_named_is_there(command: str) -> None:
    path, _, name = TESTS[command].partition("::")
    assert f"def {name}(" in (CHECKOUT / path).read_text("utf-8")
