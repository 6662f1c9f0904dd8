"""Daily summaries."""

from omi_async import DailySummary

from ..statement import INTEGER, Call, Field, Operation, an_object, array, in_path, limited, nullable, read_off, text

PREFIX = "/v1/dev/user/daily-summaries"

_SUMMARY = read_off(DailySummary)
_DAY = Field(nullable(text(pattern=r"^\d{4}-\d{2}-\d{2}$")))

OPERATIONS = (
    Operation(
        id="listDailySummaries",
        method="GET",
        path=PREFIX,
        parameters={
            ("query", "limit"): Field(limited(INTEGER, 1, 100), default=30),
            ("query", "offset"): Field(limited(INTEGER, 0), default=0),
            ("query", "start_date"): _DAY,
            ("query", "end_date"): _DAY,
        },
        answers={"200": an_object({"summaries": Field(array(_SUMMARY), required=True)})},
    ),
    Operation(
        id="getDailySummary",
        method="GET",
        path=f"{PREFIX}/{{summary_id}}",
        parameters=in_path("summary_id"),
        answers={"200": _SUMMARY},
    ),
)

CALLS = {
    "listDailySummaries": Call(
        "daily_summaries.list", renamed={"limit": "page_size"}, filled=frozenset({"offset"}), own=frozenset({"limit"})
    ),
    "getDailySummary": Call("daily_summaries.get"),
}
