"""ML `datetime`: dates, times and spans between them."""

from __future__ import annotations

from launcher.runtime.stdlib._declare import module
from launcher.runtime.stdlib._moments import Date, DateTimeObject, Time, TimeDelta, days_in_month, is_leap_year

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from typing import TypeVar

    Made = TypeVar("Made")
    Number = int | float
    Day = DateTimeObject | Date
else:
    import _datetime as dt  # as in _moments


def _made(what: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"Invalid {what} components: {error}") from None


def _now(tz: object = None) -> DateTimeObject:
    """Local time; any zone means the UTC clock, still without a zone (as the first implementation has it)."""
    clock = dt.datetime.now() if tz is None else dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)
    return DateTimeObject(clock)


def _today() -> Date:
    return Date(dt.date.today())


def _create(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> DateTimeObject:
    return DateTimeObject(_made("datetime", lambda: dt.datetime(year, month, day, hour, minute, second)))


def _create_date(year: int, month: int, day: int) -> Date:
    return Date(_made("date", lambda: dt.date(year, month, day)))


def _create_time(hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0) -> Time:
    return Time(_made("time", lambda: dt.time(hour, minute, second, microsecond)))


def _create_delta(days: Number = 0, hours: Number = 0, minutes: Number = 0, seconds: Number = 0) -> TimeDelta:
    return TimeDelta(dt.timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))


def _from_timestamp(t: Number) -> DateTimeObject:
    return DateTimeObject(dt.datetime.fromtimestamp(t))


def _parse_iso(s: str) -> DateTimeObject:
    return DateTimeObject(dt.datetime.fromisoformat(s))


def _calculate_age(birth: Day, at: Day | None = None) -> int:
    born = _day(birth)
    then = dt.date.today() if at is None else _day(at)
    return then.year - born.year - ((then.month, then.day) < (born.month, born.day))


def _day(moment: Day) -> dt.date:
    if not isinstance(moment, (DateTimeObject, Date)):
        raise TypeError(f"expected a DateTimeObject or Date, got {type(moment).__name__}")
    return moment.day_value()


def _add_business_days(moment: DateTimeObject, n: int) -> DateTimeObject:
    step = 1 if n >= 0 else -1
    weeks, rest = divmod(abs(n), 5)
    # Whole weeks at once, so that a large n is no long loop; from a weekend the first step leaves it.
    start = moment.value
    if weeks and start.weekday() >= 5:
        weeks, rest = weeks - 1, rest + 5
    current = start + dt.timedelta(days=7 * weeks * step)
    while rest:
        current += dt.timedelta(days=step)
        rest -= current.weekday() < 5
    return DateTimeObject(current)


def _create_time_zone(hours: int, minutes: int = 0, name: str | None = None) -> dict[str, object]:
    sign = "-" if hours < 0 else "+"
    return {"hours": hours, "minutes": minutes, "name": name or f"UTC{sign}{abs(hours)}:{abs(minutes):02d}"}


def _business_days_between(a: Day, b: Day) -> int:
    first, last = _day(a), _day(b)
    if last < first:
        return 0
    weeks, rest = divmod((last - first).days + 1, 7)
    return weeks * 5 + sum((first.weekday() + i) % 7 < 5 for i in range(rest))


def _is_weekend(moment: Day) -> bool:
    return _day(moment).weekday() >= 5


def _is_weekday(moment: Day) -> bool:
    return _day(moment).weekday() < 5


def _utc() -> str:
    return "UTC"


_N = "datetime.now"
_C = "datetime.create"

MODULE = module(
    "datetime",
    "Dates, times and spans between them.",
    (
        ("now", _now, _N, "now([tz]): the local time; with a zone, the UTC clock"),
        ("today", _today, _N, "today(): the local date"),
        ("create", _create, _C, "create(y, m, d[, h, mi, s]): a DateTimeObject"),
        ("createDate", _create_date, _C, "createDate(y, m, d): a Date"),
        ("createTime", _create_time, _C, "createTime([h, m, s, us]): a Time"),
        ("createDelta", _create_delta, _C, "createDelta([days, hours, minutes, seconds]): a TimeDelta"),
        ("fromTimestamp from_timestamp", _from_timestamp, _C, "fromTimestamp(t): seconds since 1970, as local time"),
        ("parseISO", _parse_iso, _C, "parseISO(s): ISO 8601"),
        ("calculateAge calculate_age", _calculate_age, _C, "calculateAge(birth[, at]): whole years"),
        ("addBusinessDays add_business_days", _add_business_days, _C, "addBusinessDays(dt, n): skips weekends"),
        ("createTimeZone", _create_time_zone, _C, "createTimeZone(h[, m, name]): {hours, minutes, name}"),
        ("daysInMonth days_in_month", days_in_month, "", "daysInMonth(y, m): 0 for a bad month"),
        (
            "businessDaysBetween business_days_between",
            _business_days_between,
            "",
            "businessDaysBetween(a, b): both ends included",
        ),
        ("isWeekend is_weekend", _is_weekend, "", "isWeekend(dt)"),
        ("isWeekday is_weekday", _is_weekday, "", "isWeekday(dt)"),
        ("isLeapYear", is_leap_year, "", "isLeapYear(y)"),
        ("utc", _utc, "", "utc(): the name of the zone"),
    ),
)
