"""The objects of ML `datetime`: moments, dates, times of day and spans. Each wraps a host value that stays inside."""

from __future__ import annotations

from launcher.runtime.library import Object

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from typing import Any, ClassVar

    Number = int | float
else:
    # The C module: 3.11's `datetime` first runs the whole pure Python one, 2 ms for nothing.
    import _datetime as dt

END_OF_DAY = (23, 59, 59, 999999)


def _same_names(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _both_cases(*names: str) -> dict[str, str]:
    """`addDays` and `add_days` for the method `add_days`."""
    table: dict[str, str] = {}
    for name in names:
        first, *rest = name.split("_")
        table |= {name: name, first + "".join([word.capitalize() for word in rest]): name}
    return table


def is_leap_year(year: int) -> bool:
    """Whether the Gregorian calendar gives the year a 29 February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    """How many days the month has; 0 for a month that does not exist."""
    if not 1 <= month <= 12:
        return 0
    if month == 2:
        return 29 if is_leap_year(year) else 28
    return 30 if month in {4, 6, 9, 11} else 31


class TimeDelta(Object):
    """A span of time."""

    __slots__ = ("value",)
    methods: ClassVar = {
        **_same_names("days", "seconds", "add", "subtract", "multiply", "abs"),
        "totalSeconds": "total_seconds",
        "totalMinutes": "total_minutes",
        "totalHours": "total_hours",
        "totalDays": "total_days",
        "isNegative": "is_negative",
    }

    def __init__(self, value: dt.timedelta) -> None:
        self.value = value

    def days(self) -> int:
        return self.value.days

    def seconds(self) -> int:
        return self.value.seconds

    def total_seconds(self) -> float:
        return self.value.total_seconds()

    def total_minutes(self) -> float:
        return self.value.total_seconds() / 60

    def total_hours(self) -> float:
        return self.value.total_seconds() / 3600

    def total_days(self) -> float:
        return self.value.total_seconds() / 86400

    def add(self, other: TimeDelta) -> TimeDelta:
        return TimeDelta(self.value + _span(other))

    def subtract(self, other: TimeDelta) -> TimeDelta:
        return TimeDelta(self.value - _span(other))

    def multiply(self, k: Number) -> TimeDelta:
        return TimeDelta(self.value * k)

    def is_negative(self) -> bool:
        return self.value < dt.timedelta()

    def abs(self) -> TimeDelta:
        return TimeDelta(abs(self.value))


def _span(delta: object) -> dt.timedelta:
    if not isinstance(delta, TimeDelta):
        raise TypeError(f"expected a TimeDelta, got {type(delta).__name__}")
    return delta.value


class _Written:
    """What has an ISO form."""

    __slots__ = ()
    value: Any

    def iso(self) -> str:
        return str(self.value.isoformat())


class _OfDay(_Written):
    """What has a place within a day."""

    __slots__ = ()

    def hour(self) -> int:
        return int(self.value.hour)

    def minute(self) -> int:
        return int(self.value.minute)

    def second(self) -> int:
        return int(self.value.second)


class _OfCalendar(_Written):
    """What has a place in the calendar."""

    __slots__ = ()

    def year(self) -> int:
        return int(self.value.year)

    def month(self) -> int:
        return int(self.value.month)

    def day(self) -> int:
        return int(self.value.day)

    def weekday(self) -> int:
        return int(self.value.weekday())


class Time(_OfDay, Object):
    """A time of day."""

    __slots__ = ("value",)
    value: dt.time
    methods: ClassVar = {**_same_names("hour", "minute", "second", "microsecond"), "toISOString": "iso"}

    def __init__(self, value: dt.time) -> None:
        self.value = value

    def microsecond(self) -> int:
        return self.value.microsecond


class Date(_OfCalendar, Object):
    """A day of the calendar."""

    __slots__ = ("value",)
    value: dt.date
    methods: ClassVar = {
        **_same_names("year", "month", "day", "weekday", "diff"),
        **_both_cases("is_weekend", "add_days", "subtract_days"),
        "toISOString": "iso",
        "toString": "iso",
    }

    def __init__(self, value: dt.date) -> None:
        self.value = value

    def day_value(self) -> dt.date:
        return self.value

    def is_weekend(self) -> bool:
        return self.value.weekday() >= 5

    def add_days(self, n: Number) -> Date:
        return Date(self.value + dt.timedelta(days=n))

    def subtract_days(self, n: Number) -> Date:
        return Date(self.value - dt.timedelta(days=n))

    def diff(self, other: Date) -> int:
        if not isinstance(other, (Date, DateTimeObject)):
            raise TypeError(f"expected a Date, got {type(other).__name__}")
        return (self.value - other.day_value()).days


class DateTimeObject(_OfCalendar, _OfDay, Object):
    """A moment: local time without a zone, unless it was parsed with one."""

    __slots__ = ("value",)
    value: dt.datetime
    methods: ClassVar = {
        **_same_names(
            "year", "month", "day", "hour", "minute", "second", "weekday", "timestamp",
            "format", "date", "time", "diff", "add", "subtract",
        ),
        **_both_cases(
            "add_days", "add_hours", "add_minutes", "add_seconds",
            "start_of_day", "end_of_day", "start_of_month", "end_of_month", "start_of_year", "end_of_year",
            "is_same_day", "is_before", "is_after", "is_same",
        ),
        "toString": "iso",
        "toISOString": "iso",
    }  # fmt: skip

    def __init__(self, value: dt.datetime) -> None:
        self.value = value

    def day_value(self) -> dt.date:
        return self.value.date()

    def timestamp(self) -> float:
        return self.value.timestamp()

    def add_days(self, n: Number) -> DateTimeObject:
        return DateTimeObject(self.value + dt.timedelta(days=n))

    def add_hours(self, n: Number) -> DateTimeObject:
        return DateTimeObject(self.value + dt.timedelta(hours=n))

    def add_minutes(self, n: Number) -> DateTimeObject:
        return DateTimeObject(self.value + dt.timedelta(minutes=n))

    def add_seconds(self, n: Number) -> DateTimeObject:
        return DateTimeObject(self.value + dt.timedelta(seconds=n))

    def _at(self, month: int, day: int, clock: tuple[int, int, int, int]) -> DateTimeObject:
        hour, minute, second, microsecond = clock
        return DateTimeObject(
            self.value.replace(month=month, day=day, hour=hour, minute=minute, second=second, microsecond=microsecond)
        )

    def start_of_day(self) -> DateTimeObject:
        return self._at(self.value.month, self.value.day, (0, 0, 0, 0))

    def end_of_day(self) -> DateTimeObject:
        return self._at(self.value.month, self.value.day, END_OF_DAY)

    def start_of_month(self) -> DateTimeObject:
        return self._at(self.value.month, 1, (0, 0, 0, 0))

    def end_of_month(self) -> DateTimeObject:
        return self._at(self.value.month, days_in_month(self.value.year, self.value.month), END_OF_DAY)

    def start_of_year(self) -> DateTimeObject:
        return self._at(1, 1, (0, 0, 0, 0))

    def end_of_year(self) -> DateTimeObject:
        return self._at(12, 31, END_OF_DAY)

    def is_same_day(self, other: DateTimeObject) -> bool:
        return self.value.date() == _moment(other).date()

    def format(self, layout: str = "%Y-%m-%d %H:%M:%S") -> str:
        return self.value.strftime(layout)

    def date(self) -> Date:
        return Date(self.value.date())

    def time(self) -> Time:
        return Time(self.value.time())

    def diff(self, other: DateTimeObject) -> TimeDelta:
        return TimeDelta(self.value - _moment(other))

    def add(self, delta: TimeDelta) -> DateTimeObject:
        return DateTimeObject(self.value + _span(delta))

    def subtract(self, delta: TimeDelta) -> DateTimeObject:
        return DateTimeObject(self.value - _span(delta))

    def is_before(self, other: DateTimeObject) -> bool:
        return self.value < _moment(other)

    def is_after(self, other: DateTimeObject) -> bool:
        return self.value > _moment(other)

    def is_same(self, other: DateTimeObject) -> bool:
        return self.value == _moment(other)


def _moment(other: object) -> dt.datetime:
    if not isinstance(other, DateTimeObject):
        raise TypeError(f"expected a DateTimeObject, got {type(other).__name__}")
    return other.value
