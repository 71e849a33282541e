from __future__ import annotations

from typing import Any

import pytest

from launcher.capability import Limits, Place
from launcher.errors import DocumentError

GOOD: list[tuple[str, Any, int]] = [
    ("max_memory", "10MiB", 10 << 20),
    ("max_memory", "10MB", 10_000_000),
    ("max_memory", 10485760, 10485760),
    ("max_memory", "10485760", 10485760),
    ("max_memory", "1.5 GiB", 3 << 29),
    ("max_file_size", "1KB", 1000),
    ("max_wall_time", "1h", 3600),
    ("max_wall_time", "30s", 30),
    ("max_wall_time", 30, 30),
    ("max_wall_time", "2000ms", 2),
    ("max_cpu_time", "1.5m", 90),
    ("max_processes", 64, 64),
    ("cpus", 2, 2000),
    ("cpus", 0.5, 500),
    ("cpus", "500m", 500),
    ("cpus", "1.25", 1250),
]


@pytest.mark.parametrize(("name", "value", "expected"), GOOD)
def test_quantities(name: str, value: Any, expected: int) -> None:
    assert Limits.parse(name, value) == expected


BAD: list[tuple[str, Any]] = [
    ("max_memory", "10M"),
    ("max_memory", "10 potatoes"),
    ("max_memory", "MiB"),
    ("max_memory", -1),
    ("max_memory", True),
    ("max_memory", None),
    ("max_memory", [1]),
    ("max_memory", "1e9"),
    ("max_memory", float("nan")),
    ("max_memory", float("inf")),
    ("max_memory", "9" * 30),
    ("max_memory", "8EiB"),
    ("max_memory", 4096),
    ("max_wall_time", "500ms"),
    ("max_wall_time", 0),
    ("max_wall_time", "1.2345s"),
    ("max_processes", "64s"),
    ("max_processes", 1.5),
    ("max_processes", 0),
    ("cpus", "0.0001"),
    ("cpus", 0),
    ("max_memory", "\u0661MiB"),
    ("max_memory", "1\u0661MiB"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_quantities_name_the_place(name: str, value: Any) -> None:
    with pytest.raises(DocumentError) as caught:
        Limits.parse(name, value, Place("p.yaml", 3, 7))
    assert str(caught.value).startswith("p.yaml:3:7: ")
    assert caught.value.hint


def test_a_number_too_long_to_print_is_an_error_too() -> None:
    with pytest.raises(DocumentError):
        Limits.parse("max_memory", 10**5000)


def test_an_unknown_limit_names_the_nearest() -> None:
    with pytest.raises(DocumentError) as caught:
        Limits.parse("max_memoy", 1)
    assert "max_memory" in caught.value.hint


def test_the_most_restrictive_wins() -> None:
    merged = Limits(max_memory=5, cpus=2000).merged(Limits(max_memory=7, max_jobs=1))
    assert merged == Limits(max_memory=5, cpus=2000, max_jobs=1)


def test_round_trip() -> None:
    limits = Limits(max_memory=1 << 30, max_wall_time=60)
    assert Limits.from_data(limits.to_data()) == limits
    assert limits.to_data() == {"max_memory": 1 << 30, "max_wall_time": 60}
