"""Calendar time as a value: seconds since 1970 UTC, for certificates, revocation lists and collateral.

Leap seconds are not counted, as in POSIX. Nothing here reads a clock; whoever verifies is handed `now`.
"""

import math
import re

from propolis.terms.requirement import Day

Seconds = float
"""Seconds since 1970-01-01T00:00:00Z."""

DAY = 86400
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


def seconds(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    """Return the seconds of a date in the proleptic Gregorian calendar. Raises ValueError when there is no such time."""
    if not (1 <= month <= 12 and 1 <= day <= _length(year, month) and hour < 24 and minute < 60 and second < 60):
        raise ValueError(f"no such time: {year}-{month}-{day} {hour}:{minute}:{second}")
    shifted = year - (month <= 2)  # a year from March, so that the leap day is its last
    era, of_era = divmod(shifted, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return days * DAY + hour * 3600 + minute * 60 + second


def _length(year: int, month: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and leap else _LENGTHS[month - 1]


def rfc3339(text: str) -> int:
    """Return the seconds of a time as in RFC 3339, with its zone. Raises ValueError."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("not a time as in RFC 3339, such as 2026-11-24T12:00:00Z")
    *date, sign, hours, minutes = found.groups()
    zone = 0
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError(f"no such zone: {sign}{hours}:{minutes}")
        zone = (int(hours) * 3600 + int(minutes) * 60) * (1 if sign == "+" else -1)
    return seconds(*(int(part) for part in date)) - zone


def day(now: Seconds) -> Day:
    """Return the day in UTC; a time that is no number or outside the years 0 to 9999 is its nearest end."""
    if not math.isfinite(now):
        return "9999-12-31" if now == math.inf else "0000-01-01"
    days = int(now // DAY) + 719468
    era, of_era = divmod(days, 146097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = era * 400 + year_of_era + (month <= 2)
    if not 0 <= year <= 9999:
        return "9999-12-31" if year > 0 else "0000-01-01"
    return f"{year:04}-{month:02}-{of_year - (153 * shifted + 2) // 5 + 1:02}"
