from __future__ import annotations

import pytest

from pipeline.cli.formatting import duration, percent


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "0 s"),
        (99.4, "99 s"),
        (100, "1:40 min"),
        (119.7, "2:00 min"),
        (3599, "59:59 min"),
        (5999.8, "1:40 h"),
        (4800 * 60, "80:00 h"),
    ],
)
def test_a_duration_reads_as_people_say_it(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_a_share_is_given_in_percent() -> None:
    assert percent(0.97846) == "97.85 %"
