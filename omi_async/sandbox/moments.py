"""Dates and times in a body or a query, read and refused as pydantic 2 does it in its lax mode."""

import calendar
import re
from datetime import UTC, datetime, timedelta

from omi_async.sandbox.fields import Place, bad

_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d([T _]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.,]\d+)?)?(Z|[+−-]([01]\d|2[0-3]):?[0-5]\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_TIMESTAMP = re.compile(r"[+-]?\d+\.?\d*", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A larger timestamp counts milliseconds.
_LARGEST_SECONDS = 20_000_000_000
_YEAR_1 = -62_135_596_800
_YEAR_10000 = 253_402_300_800
_YEAR_ZERO = "year 0 is out of range"


def moment(value: object, place: Place) -> datetime:
    """Read a date, a date with a time or a timestamp; the result has no zone where a text has none."""
    if isinstance(value, str):
        try:
            return _moment(value)
        except ValueError as error:
            trouble = str(error)
        if trouble != _YEAR_ZERO:
            message = f"Input should be a valid datetime or date, {trouble}"
            raise bad("datetime_from_date_parsing", place, message, value, {"error": trouble})
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return _timestamp(value)
        except ValueError as error:
            trouble = str(error)
    else:
        raise bad("datetime_type", place, "Input should be a valid datetime", value)
    raise bad("datetime_parsing", place, f"Input should be a valid datetime, {trouble}", value, {"error": trouble})


def zoned_moment(value: object, place: Place) -> datetime:
    """Read a time that names its zone."""
    found = moment(value, place)
    if found.utcoffset() is None:
        raise bad("timezone_aware", place, "Input should have timezone info", value)
    return found


def _moment(value: str) -> datetime:
    if _TIMESTAMP.fullmatch(value):
        return _timestamp(float(value))
    if _MOMENT.fullmatch(value) and _day_trouble(value) is None:
        if value.startswith("0000"):
            raise ValueError(_YEAR_ZERO)
        # Python takes neither the small z nor the typographic minus.
        return datetime.fromisoformat(value.upper().replace("−", "-"))
    raise ValueError(_date_trouble(value))


def _date_trouble(value: str) -> str:
    """Return what is wrong with *value* for a date: that is how pydantic words it, whatever was the matter."""
    if len(value) < 10:
        return "input is too short"
    for part, pattern, trouble in (
        (value[:4], r"\d+", "invalid character in year"),
        (value[4], "-", "invalid date separator, expected `-`"),
        (value[5:7], r"\d+", "invalid character in month"),
        (value[7], "-", "invalid date separator, expected `-`"),
        (value[8:10], r"\d+", "invalid character in day"),
    ):
        if not re.fullmatch(pattern, part, re.ASCII):
            return trouble
    return _day_trouble(value) or "unexpected extra characters at the end of the input"


def _day_trouble(value: str) -> str | None:
    year, month, day = int(value[:4]), int(value[5:7]), int(value[8:10])
    if not 1 <= month <= 12:
        return "month value is outside expected range of 1-12"
    # Year 0 is a leap year to pydantic and none to calendar.
    if not 1 <= day <= calendar.monthrange(year or 4, month)[1]:
        return "day value is outside expected range"
    return None


def _timestamp(value: float) -> datetime:
    seconds = value if abs(value) <= _LARGEST_SECONDS else value / 1000
    if seconds < _YEAR_1:
        raise ValueError("dates before 0000 are not supported as unix timestamps")
    if seconds >= _YEAR_10000:
        raise ValueError("dates after 9999 are not supported as unix timestamps")
    return _EPOCH + (timedelta(seconds=value) if seconds == value else timedelta(milliseconds=value))
