"""The limits of one launch: parsed with units, merged to the most restrictive value."""

from __future__ import annotations

from launcher.capability.grant import NOWHERE, did_you_mean
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from launcher.capability.grant import Place

SIZE = "size"  # bytes
TIME = "time"  # seconds
COUNT = "count"
CPUS = "cpus"  # thousandths of a processor

# Name -> unit, least, most. The most keeps every value inside what the kernel's files take (a signed 64-bit number,
# PID_MAX_LIMIT, NR_OPEN); the least of memory is what no process starts below.
TABLE: dict[str, tuple[str, int, int]] = {
    "max_memory": (SIZE, 1 << 20, 1 << 62),
    "max_cpu_time": (TIME, 1, 10**9),
    "max_wall_time": (TIME, 1, 10**9),
    "max_processes": (COUNT, 1, 1 << 22),
    "max_open_files": (COUNT, 3, 1 << 20),
    "max_file_size": (SIZE, 0, 1 << 62),
    "max_disk": (SIZE, 0, 1 << 62),
    "max_files": (COUNT, 0, 1 << 32),
    "max_output": (SIZE, 0, 1 << 62),
    "cpus": (CPUS, 1, 1 << 22),
    "max_jobs": (COUNT, 0, 1 << 20),
    "max_io_read": (SIZE, 1 << 10, 1 << 62),
    "max_io_write": (SIZE, 1 << 10, 1 << 62),
}

# Suffix -> multiplier, in thousandths so that 1.5 and ms stay whole numbers. IEC suffixes are binary, SI decimal; a
# bare `K` or `M` means either to different people, so it is refused.
_SIZE_SUFFIXES = {"": 1, "B": 1}
_SIZE_SUFFIXES |= {f"{letter}iB": 1 << (10 * power) for power, letter in enumerate("KMGTPE", 1)}
_SIZE_SUFFIXES |= {f"{letter}B": 1000**power for power, letter in enumerate("kMGTPE", 1)} | {"KB": 1000}
UNITS: dict[str, dict[str, int]] = {
    SIZE: {suffix: 1000 * factor for suffix, factor in _SIZE_SUFFIXES.items()},
    TIME: {"": 1000, "ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000},
    COUNT: {"": 1000},
    CPUS: {"": 1000, "m": 1},
}
_EXAMPLES = {SIZE: "10MiB, 10MB or 10485760", TIME: "90, 30s, 15m or 1h", COUNT: "64", CPUS: "2, 0.5 or 500m"}


class Limits:
    """One attribute a limit, None where there is none: bytes (of `max_io_*` in a second), seconds, counts; `cpus` in
    thousandths of a processor.
    """

    __slots__ = tuple(TABLE)

    max_memory: int | None
    max_cpu_time: int | None
    max_wall_time: int | None
    max_processes: int | None
    max_open_files: int | None
    max_file_size: int | None
    max_disk: int | None
    max_files: int | None
    max_output: int | None
    cpus: int | None
    max_jobs: int | None
    max_io_read: int | None
    max_io_write: int | None

    def __init__(self, **values: int | None) -> None:
        for name in TABLE:
            setattr(self, name, values.pop(name, None))
        if values:
            raise TypeError(f"no such limit: {' '.join(values)}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and self.to_data() == other.to_data()

    def __hash__(self) -> int:
        return hash(tuple(self.to_data().items()))

    def __repr__(self) -> str:
        return f"Limits({', '.join([f'{name}={value}' for name, value in self.to_data().items()])})"

    def merged(self, other: Limits) -> Limits:
        """Of each limit the most restrictive value; an absent one restricts nothing."""
        return Limits(**{name: _least(getattr(self, name), getattr(other, name)) for name in TABLE})

    def to_data(self) -> dict[str, Any]:
        """The limits that there are, by name."""
        return {name: value for name in TABLE if (value := getattr(self, name)) is not None}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Limits:
        """The inverse of `to_data`."""
        return cls(**data)

    @staticmethod
    def parse(name: str, value: Any, place: Place = NOWHERE) -> int:
        """The number of base units that `value` means for the limit `name`.

        A size is bytes or `10MiB`, `10MB`; a time seconds or `1h`, `15m`, `30s`; `cpus` a number of processors.
        Raises DocumentError for an unknown limit, an unknown unit, a fraction of a base unit, or a value out of range.
        """
        if name not in TABLE:
            raise DocumentError(f"unknown limit {name!r}", hint=did_you_mean(name, TABLE), place=str(place))
        unit, least, most = TABLE[name]
        return parse_quantity(name, value, unit, place, least=least, most=most)


def parse_quantity(
    name: str, value: Any, unit: str, place: Place = NOWHERE, *, least: int = 0, most: int = 1 << 62
) -> int:
    """`value` of the constraint `name` in base units of SIZE, TIME, COUNT or CPUS. Raises DocumentError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        _refuse(name, value, "is not a quantity", unit, place)
    if isinstance(value, int) and value.bit_length() > 64:  # str() of a longer one may raise
        _refuse(name, f"a number of {value.bit_length()} bits", "is out of range", unit, place)
    number, suffix = _split(str(value).strip())
    factor = UNITS[unit].get(suffix)
    thousandths = _thousandths(number)
    if factor is None or thousandths is None:
        _refuse(name, value, f"is not a {unit}" if unit != CPUS else "is not a number of processors", unit, place)
    scaled = thousandths * factor
    # `thousandths` counts thousandths of the number, `factor` thousandths of a base unit; processors stay thousandths.
    divisor = 1000 if unit == CPUS else 1_000_000
    amount, rest = divmod(scaled, divisor)
    if rest and unit != SIZE:
        _refuse(name, value, "is finer than the unit that is enforced", unit, place)
    if not least <= amount <= most:
        _refuse(name, value, f"is out of range ({least} to {most})", unit, place)
    return amount


def _split(text: str) -> tuple[str, str]:
    """The number and the suffix: `1.5 GiB` -> (`1.5`, `GiB`)."""
    end = 0
    while end < len(text) and text[end] in "0123456789.":
        end += 1
    return text[:end], text[end:].strip()


def _thousandths(number: str) -> int | None:
    """`12` or `1.5` in thousandths; None for anything else, more than three decimals, or a length that is an attack."""
    whole, dot, fraction = number.partition(".")
    if len(number) > 24 or len(fraction) > 3 or not whole.isdigit() or (dot and not fraction.isdigit()):
        return None
    return int(whole) * 1000 + int(fraction.ljust(3, "0") or "0")


def _least(left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return right if left is None else left
    return min(left, right)


def _refuse(name: str, value: Any, what: str, unit: str, place: Place) -> NoReturn:
    raise DocumentError(
        f"{name}: {str(value)[:80]!r} {what}", hint=f"write it like {_EXAMPLES[unit]}", place=str(place)
    )
