r"""Hand-made mistakes that the tests have to notice: `python -m tests.mutants [--only N] [--jobs 2]`.

Each mutant replaces one piece of text in a copy of the project and runs the tests that should fail because of it.
A mutant that survives shows a rule that no test holds. Before that, the same tests must pass without the mutant.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

import attrs

ROOT = Path(__file__).parents[1]

_COPIED = ("omi_async", "omi_sync", "tests", "docs", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")
_LIMIT = 150.0  # seconds for the tests of one mutant; one that hangs is noticed too

Verdict = Literal["killed", "killed by time", "SURVIVED", "STALE", "BROKEN"]


@attrs.frozen
class Mutant:
    """One mistake. `old` occurs exactly once in `file`; at least one test of `tests` fails with `new` in its place.

    Among `tests` may be options of pytest.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _of(file: str, *mutants: tuple[str, str, str, str]) -> list[Mutant]:
    return [Mutant(name, file, old, new, tuple(tests.split())) for name, old, new, tests in mutants]


_STATUSES = "tests/faults/test_statuses.py::"
_PROTOCOL = "tests/unit/test_protocol.py::"
_INPUT = "tests/unit/test_input.py::"
_REQUEST = "tests/unit/test_request.py::"
_ERRORS = "tests/unit/test_errors.py::"
_RETRY = "tests/unit/test_retry.py::"
_PROXIES = "tests/faults/test_proxies.py::"
_EVENTS = "tests/faults/test_events.py::"
_RETRY_AFTER = "tests/faults/test_retry_after.py::"
_PACING = "tests/unit/test_pacing.py::"
_CONNECTION = "tests/faults/test_connection.py::"
_BORROWED = "tests/faults/test_borrowed.py::"
_BROKEN = "tests/faults/test_broken_http.py::"
_BODY = "tests/faults/test_body.py::"
_WAYS = "tests/faults/test_ways.py::"
_SLOW = "tests/faults/test_slow.py::"
_SETTINGS = "tests/unit/test_settings.py::"
_LIST = "tests/unit/test_list.py::"
_RESOURCES = "tests/unit/test_resources.py::"
_BULK = "tests/faults/test_bulk.py::"
_ARCHIVE = "tests/faults/test_archive.py::"
_ARCHIVED = "tests/unit/test_archive_store.py::"
_EXPORTED = "tests/unit/test_archive_export.py::"
_JOURNAL = "tests/unit/test_journal.py::"
_REPORTS = "tests/faults/test_field_reports.py::"
_STRANGER = "tests/faults/test_strange_answers.py::"
_THREADS = "tests/process/test_threads.py::"

_SESSION = "--through-session "
"""The way over aiohttp that is taken where its short one is not."""

MUTANTS: list[Mutant] = [
    *_of(
        "omi_async/paging.py",
        (
            "a turn to fetch that no loop gives back",
            "        if self._place is not place:\n",
            "        if self._place is None:\n",
            "tests/process/test_lifetime.py::test_listing_on_the_next_loop",
        ),
        (
            "the first page without news taken for the end",
            "_EMPTY_PAGES_TO_STOP = 2",
            "_EMPTY_PAGES_TO_STOP = 1",
            f"{_LIST}test_gaps {_LIST}test_each_exactly_once",
        ),
        (
            "anchored within the second",
            "time.replace(microsecond=0) + timedelta(seconds=1)",
            "time.replace(microsecond=0)",
            f"{_LIST}test_bounds",
        ),
        (
            "offsets of rows that have moved",
            "self._anchor, self._offset = anchor, 0",
            "self._offset += len(page)",
            f"{_LIST}test_deleting_as_one_goes",
        ),
        (
            "one second begun anew with every page",
            "if anchor == self._anchor:",
            "if False:",
            f"{_LIST}test_a_crowded_second",
        ),
        (
            "pages of known rows taken for hidden ones",
            "if len(page) < self.size or self._offset >= len(self._seen):",
            "if True:",
            f"{_LIST}test_bounds {_LIST}test_each_exactly_once",
        ),
        (
            "an ignored end trusted",
            "            self._anchored = False",
            "            self._anchored = True",
            f"{_LIST}test_servers_of_another_kind {_LIST}test_servers_of_another_order",
        ),
        (
            "later than the caller's end",
            "else min(second, self._end)",
            "else second",
            f"{_LIST}test_a_crowded_second",
        ),
        (
            "rows outside the bounds handed out",
            "inside = [row for row in new if self._is_inside(self._moment(row))]",
            "inside = new",
            f"{_REPORTS}test_rows_outside_the_bounds",
        ),
        (
            "asking on behind the bounds",
            "behind = bool(new) and not inside and self._anchored",
            "behind = False",
            f"{_REPORTS}test_rows_outside_the_bounds",
        ),
        (
            "an offset that leaves hidden rows out",
            "return asked if self._fills_pages or not came else came",
            "return came or asked",
            f"{_RESOURCES}test_memories",
        ),
        (
            "an offset by what was asked of a server that gives less",
            "return asked if self._fills_pages or not came else came",
            "return asked",
            f"{_RESOURCES}test_memories_of_a_server_that_gives_less",
        ),
        (
            "a page of known rows taken for an empty one",
            "self._empty = 0 if came else self._empty + 1",
            "self._empty = 0 if new else self._empty + 2",
            f"{_RESOURCES}test_a_page_of_memories_that_moved",
        ),
        (
            "an ignored offset trusted",
            "is_endless = self._repeated > len(self._seen)",
            "is_endless = False",
            f"{_RESOURCES}test_a_server_that_ignores_the_offset",
        ),
        (
            "known rows from behind a page taken for the end",
            "new > 0 or (came > 0 and current.offset >= self._size)",
            "new > 0",
            f"{_RESOURCES}test_action_items_of_a_page_that_comes_again",
        ),
        (
            "rows without a date passed over in silence",
            "self.gaps = self.gaps or current.has_dateless",
            "pass",
            f"{_RESOURCES}test_action_items",
        ),
    ),
    *_of(
        "omi_async/_protocol/meaning.py",
        # What an answer says about the write
        (
            "a 5xx taken for a refusal",
            'case _ if 500 <= status < 600:\n            return _Meaning(ServerError, "unknown"',
            'case _ if 500 <= status < 600:\n            return _Meaning(ServerError, "not_applied"',
            f"{_STATUSES}test_failure_on_every_attempt {_PROTOCOL}test_every_status",
        ),
        (
            "a 408 taken for a refusal",
            '_Meaning(StatusError, "unknown", retryable=True)',
            '_Meaning(StatusError, "not_applied", retryable=True)',
            f"{_STATUSES}test_too_late_or_too_early {_PROTOCOL}test_every_status",
        ),
        (
            "a 499 taken for a refusal",
            "case 408 | 425 | 460 | 499:",
            "case 408 | 425 | 460:",
            f"{_STRANGER}test_nobody_waited_for_the_answer",
        ),
        (
            "a 460 taken for a refusal",
            "case 408 | 425 | 460 | 499:",
            "case 408 | 425 | 499:",
            f"{_STRANGER}test_nobody_waited_for_the_answer",
        ),
        (
            "a change done by any 2xx",
            "    done(answer, 200, 201)\n",
            "",
            f"{_STATUSES}test_other_2xx",
        ),
        (
            "a conflict after a new text taken for a refusal",
            "elif status in (404, 409) and request.may_change_id:",
            "elif status == 404 and request.may_change_id:",
            f"{_STRANGER}test_a_conflict_after_a_new_text",
        ),
        (
            "a missing record after a new text taken for a refusal",
            "elif status in (404, 409) and request.may_change_id:",
            "elif status == 409 and request.may_change_id:",
            "tests/unit/test_resources.py::test_a_memory_that_may_have_moved",
        ),
        (
            "the scope read after masking",
            "_SCOPE.search(raw) if isinstance(raw, str)",
            "_SCOPE.search(detail) if isinstance(detail, str)",
            f"{_STRANGER}test_the_scope_is_not_masked",
        ),
        (
            "a 429 taken for unknown",
            '_Meaning(RateLimitError, "not_applied", retryable=True)',
            '_Meaning(RateLimitError, "unknown", retryable=True)',
            f"{_STATUSES}test_missing_after_a_throttled_delete",
        ),
        (
            "a 429 not repeated",
            '_Meaning(RateLimitError, "not_applied", retryable=True)',
            '_Meaning(RateLimitError, "not_applied", retryable=False)',
            f"{_STATUSES}test_throttled_without_headers",
        ),
        (
            "refusals repeated",
            '_Meaning(_REFUSALS.get(status, StatusError), "not_applied", retryable=False)',
            '_Meaning(_REFUSALS.get(status, StatusError), "not_applied", retryable=True)',
            f"{_STATUSES}test_refusals",
        ),
        (
            "refusals taken for unknown",
            '_Meaning(_REFUSALS.get(status, StatusError), "not_applied", retryable=False)',
            '_Meaning(_REFUSALS.get(status, StatusError), "unknown", retryable=False)',
            f"{_STATUSES}test_refusals",
        ),
        ("501 repeated", "case 501 | 505 | 511:", "case 505 | 511:", f"{_BROKEN}test_every_status"),
        (
            "redirects repeated",
            '{target}.", retryable=False)',
            '{target}.", retryable=True)',
            f"{_SESSION}tests/faults/test_redirects.py::test_not_followed",
        ),
        (
            "a 3xx read as a success",
            "if 200 <= answer.status < 300:",
            "if 200 <= answer.status < 400:",
            "tests/faults/test_redirects.py",
        ),
        (
            "the server's word not to try again ignored",
            'detail.get("retryable") is False',
            'detail.get("retryable") is None',
            f"{_STATUSES}test_server_asks_not_to_retry",
        ),
        # Whose word it is
        (
            "any page taken for the API's word",
            "own = _speaks(request, status, document)",
            "own = True",
            f"{_STATUSES}test_refused_on_the_way {_PROTOCOL}test_every_status_from_in_between",
        ),
        (
            "any 404 taken for the record's",
            "return detail in (request.missing, _NO_SUCH_ROUTE)",
            "return isinstance(detail, str)",
            f"{_STATUSES}test_failed_delete_and_other_words {_PROTOCOL}test_missing",
        ),
        (
            "a missing route taken for a missing record",
            "elif status == 404 and raw == _NO_SUCH_ROUTE:",
            "elif False:",
            f"{_STATUSES}test_missing_route",
        ),
        (
            "a missing record shown by whatever stands in between",
            " and not failure.from_intermediary and request",
            " and request",
            f"{_STATUSES}test_failed_delete_and_other_words",
        ),
        (
            "a missing record shown by any 404 or 410",
            "return isinstance(failure, NotFoundError) and",
            "return failure.status in (404, 410) and",
            f"{_STATUSES}test_failed_delete_and_other_words {_RETRY}test_not_gone_after_doubt",
        ),
        (
            "a refusal on the way not repeated",
            "        retryable = status != 407  #",
            "        pass  #",
            f"{_STATUSES}test_refused_on_the_way",
        ),
        (
            "whatever stands in between passed over in silence",
            "from_intermediary=not own,",
            "from_intermediary=False,",
            f"{_STATUSES}test_refused_on_the_way",
        ),
        # When to come back
        (
            "Retry-After of any status",
            "if status not in (429, 503):",
            "if False:",
            f"{_RETRY_AFTER}test_not_where_a_retry_is_a_guess {_RETRY_AFTER}test_not_where_there_is_no_retry",
        ),
        (
            "Retry-After in any digits",
            'if re.fullmatch("[0-9]{1,9}", value):',
            "if value.isdigit():",
            f"{_RETRY_AFTER}test_not_a_wait {_RETRY_AFTER}test_any_text",
        ),
        (
            "Retry-After without a ceiling",
            "return min(float(value), _RETRY_AFTER_CEILING)",
            "return float(value)",
            f"{_RETRY_AFTER}test_seconds {_RETRY_AFTER}test_any_text",
        ),
        (
            "dates by the local clock only",
            'since = _http_date(headers.get("Date", "")) or datetime',
            "since = datetime",
            f"{_RETRY_AFTER}test_date",
        ),
    ),
    *_of(
        "omi_async/_protocol/masking.py",
        (
            "the key repeated in an error",
            r'text = _KEY.sub(r"omi_\1_***", text[: 4 * limit])',
            "text = text[: 4 * limit]",
            "tests/faults/test_secrets.py::test_an_echoed_key_is_masked",
        ),
        (
            "the request's own words repeated in an error",
            "            self._collect(parse(request.body))\n",
            "            pass\n",
            f"{_PROTOCOL}test_repeated_words",
        ),
        (
            "the request's own numbers repeated in an error",
            "                self._add(*_forms(repr(value)))\n",
            "                pass\n",
            f"{_PROTOCOL}test_repeated_numbers",
        ),
        (
            "the query repeated in an error",
            "            self._add(value, *_forms(value))\n",
            "            pass\n",
            f"{_PROTOCOL}test_repeated_words {_STRANGER}test_repeated_in_any_form",
        ),
        (
            "whole numbers masked as they were sent alone",
            'return (whole[1], f"{whole[1]}.0") if whole else (number,)',
            "return (number,)",
            f"{_STRANGER}test_repeated_whole_numbers",
        ),
        (
            "the rest of a longer text shown behind a shorter one",
            "end = max(end, stop)",
            "end = stop",
            f"{_STRANGER}test_texts_within_texts",
        ),
        (
            "texts within a URL shown",
            'if "%" in view.text:',
            "if False:",
            f"{_STRANGER}test_repeated_in_any_form",
        ),
        (
            "texts within a query shown",
            'if "+" in view.text:',
            "if False:",
            f"{_STRANGER}test_repeated_in_any_form",
        ),
        (
            "escaped texts shown",
            r'if "\\" in text:',
            "if False:",
            f"{_STRANGER}test_repeated_in_any_form",
        ),
        (
            "texts in capitals shown",
            "text = _lowered(view.text)",
            "text = view.text",
            f"{_STRANGER}test_repeated_in_any_form",
        ),
        (
            "the beginning of a text shown",
            "_BEGINNING = 20",
            "_BEGINNING = 21",
            f"{_STRANGER}test_a_beginning_is_masked",
        ),
        (
            "words that say nothing masked",
            "_SHORTEST = 4",
            "_SHORTEST = 3",
            f"{_PROTOCOL}test_short_words_are_not_masked",
        ),
    ),
    *_of(
        "omi_async/_protocol/collection.py",
        (
            "another conversation accepted",
            "if found.id != record_id:",
            "if False:",
            f"{_STATUSES}test_another_record",
        ),
        ("denied success accepted", "if not success:", "if False:", f"{_STATUSES}test_success_false"),
        (
            "success of any kind accepted",
            "if type(success) is not bool:",
            "if success is None:",
            f"{_STATUSES}test_success_of_another_kind",
        ),
        (
            "a deletion done by any 2xx",
            "    done(answer, 200, 204)\n",
            "",
            f"{_STATUSES}test_other_2xx",
        ),
        (
            "a deletion done by a 201",
            "done(answer, 200, 204)",
            "done(answer, 200, 201, 204)",
            f"{_STATUSES}test_other_2xx",
        ),
        (
            "another id asked for again where the change gives one",
            "retryable=not may_change_id,",
            "",
            f"{_STRANGER}test_another_id_after_a_new_text",
        ),
        (
            "nothing taken for a success",
            "if answer.body or answer.status != 204:",
            "if answer.body:",
            f"{_STATUSES}test_nothing_after_a_delete {_PROTOCOL}test_empty_deletion",
        ),
        (
            "a deletion that is never read as done before",
            "result_if_missing=functools.partial(Deletion, id=record_id, confirmed=False)",
            "result_if_missing=None",
            f"{_STATUSES}test_delete_that_then_finds_nothing",
        ),
    ),
    *_of(
        "omi_async/_protocol/arguments.py",
        (
            "keys sent as names and filters",
            "if _WHOLE_KEY.search(value):",
            "if False:",
            f"{_STRANGER}test_a_key_in_the_wrong_place",
        ),
        (
            "names that begin like a key refused",
            r"_[^\s/]{16}",
            "_",
            f"{_STRANGER}test_what_only_looks_like_a_key",
        ),
        (
            "ids may climb",
            'A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}")',
            'A-Za-z0-9._~-]{1,128}")',
            f"{_INPUT}test_bad_ids_are_refused",
        ),
        (
            "only the beginning of an id looked at",
            "_ID.fullmatch(",
            "_ID.match(",
            f"{_INPUT}test_bad_ids_are_refused",
        ),
        (
            "ids of any length",
            '[A-Za-z0-9._~-]{0,127}")',
            '[A-Za-z0-9._~-]*")',
            f"{_INPUT}test_long_ids_are_refused",
        ),
        ("ids that no server stores", "(?!__.*__$)", "", f"{_INPUT}test_bad_ids_are_refused"),
        ("a key taken for an id", "(?!(?i:omi_(dev|mcp)_))", "", f"{_INPUT}test_bad_ids_are_refused"),
        (
            "padded titles sent",
            "plain = plain.strip()",
            "pass",
            f"{_INPUT}test_bad_titles_are_refused {_INPUT}test_the_body_byte_for_byte",
        ),
        (
            "titles of 500 characters refused",
            "    if length > longest:",
            "    if length >= longest:",
            "tests/unit/test_input.py tests/unit/test_protocol.py",
        ),
        (
            "titles that show nothing sent",
            "if not any(map(_is_seen, plain)):",
            "if not plain.strip():",
            f"{_INPUT}test_bad_titles_are_refused",
        ),
        (
            "letters that are drawn as blanks taken for text",
            " and character not in _UNSEEN_LETTERS",
            "",
            f"{_INPUT}test_bad_titles_are_refused",
        ),
        (
            "lone surrogates sent",
            r'"[\ud800-\udfff]"',
            r'"[\udc01-\udfff]"',
            f"{_INPUT}test_lone_surrogates_are_refused",
        ),
        (
            "discarded of any kind",
            "if type(value) is not bool:",
            "if value not in (True, False):",
            f"{_INPUT}test_values_of_another_type",
        ),
    ),
    *_of(
        "omi_async/_protocol/raw.py",
        (
            "a path with a key sent",
            '    arguments.check_no_key(path, "path")\n',
            "",
            f"{_STRANGER}test_a_key_in_the_wrong_place",
        ),
        (
            "NaN and infinity sent",
            "if isinstance(value, float) and not isfinite(value):",
            "if False:",
            "tests/faults/test_hostile.py::test_numbers_beyond_all_bounds",
        ),
        (
            "integers that lose digits sent",
            "if isinstance(value, int) and abs(value) > arguments.LARGEST_INTEGER:",
            "if False:",
            f"{_REPORTS}test_large_integers",
        ),
        (
            "integers that lose digits handed on",
            "elif isinstance(value, (int, float)) and abs(value) > arguments.LARGEST_INTEGER:",
            "elif False:",
            f"{_REQUEST}test_an_unreadable_success",
        ),
        (
            "nothing taken for any success",
            "if answer.body or answer.status != 204:",
            "if answer.body:",
            f"{_REQUEST}test_an_unreadable_success",
        ),
    ),
    *_of(
        "omi_async/_protocol/convert.py",
        (
            "plain fields of any type",
            "kind if kind in _PLAIN else None",
            "kind if kind in (*_PLAIN, int) else None",
            f"{_PROTOCOL}test_wrong_kinds",
        ),
        (
            "week dates taken for dates",
            'marks == "--T::Z"',
            'marks[2:] == "T::Z"',
            f"{_PROTOCOL}test_not_times",
        ),
        (
            "anything is a boolean",
            "if type(value) is not bool:",
            "if value is None:",
            f"{_PROTOCOL}test_wrong_kinds",
        ),
        (
            "anything is a string",
            "def _string(value: Any, _: Any) -> str:\n    if type(value) is not str:",
            "def _string(value: Any, _: Any) -> str:\n    if value is None:",
            f"{_PROTOCOL}test_wrong_kinds",
        ),
        (
            "a boolean is an integer",
            "if type(value) is not int:",
            "if not isinstance(value, int):",
            f"{_PROTOCOL}test_wrong_kinds",
        ),
        (
            "integers that lose digits elsewhere",
            "if abs(value) > _LARGEST:",
            "if False:",
            f"{_REPORTS}test_large_integers",
        ),
        (
            "numbers of any size",
            " or abs(value) > _LARGEST or not isfinite(value)",
            "",
            f"{_PROTOCOL}test_numbers_that_do_not_fit",
        ),
        (
            "anything is an array",
            "if type(value) is not list:",
            "if value is None:",
            f"{_PROTOCOL}test_wrong_kinds",
        ),
        (
            "a name twice",
            "if len(members) != len(pairs):",
            "if False:",
            f"{_PROTOCOL}test_names_twice {_BODY}test_name_twice_after_a_delete",
        ),
        (
            "NaN accepted",
            "_decoder = json.JSONDecoder(parse_constant=_refuse_constant)",
            "_decoder = json.JSONDecoder()",
            f"{_PROTOCOL}test_not_json",
        ),
        (
            "numbers of any size in long transcripts",
            "if numbers and not -_LARGEST <=",
            "if False and not -_LARGEST <=",
            f"{_PROTOCOL}test_long_transcripts",
        ),
        (
            "any kind of value in long transcripts",
            "if not allowed.issuperset(map(type, column)):",
            "if False:",
            f"{_PROTOCOL}test_long_transcripts",
        ),
        (
            "unknown members kept in long transcripts",
            " or set(map(len, rows)) != {len(fields)}",
            "",
            f"{_PROTOCOL}test_long_transcripts",
        ),
        (
            "every bad row looked at",
            "for position, each in enumerate(value):\n",
            "for position, each in [row for row in enumerate(value) if not _is_good(row[1], element)]:\n",
            f"{_REPORTS}test_the_first_bad_row_is_explained_alone",
        ),
        (
            "text that is not UTF-8 patched up",
            'body.decode("utf-8")',
            'body.decode("utf-8", "replace")',
            f"{_BODY}test_not_utf_8",
        ),
        (
            "times without a zone",
            "return time if usual or time.tzinfo is not None else time.replace(tzinfo=UTC)",
            "return time",
            f"{_PROTOCOL}test_times",
        ),
        (
            "new categories refused",
            "return members.get(text, text)",
            "return members[text]",
            f"{_PROTOCOL}test_open_enumerations",
        ),
    ),
    *_of(
        "omi_async/errors.py",
        (
            "an error without an outcome taken for a refusal",
            'outcome: Outcome = "unknown",',
            'outcome: Outcome = "not_applied",',
            f"{_ERRORS}test_every_class_is_safe_by_its_text_alone",
        ),
        (
            "errors rebuilt from their text alone",
            "return self.text, values",
            "return (self.text,)",
            f"{_ERRORS}test_every_class_is_rebuilt_from_its_args",
        ),
        (
            "objects in the values of errors",
            "return [attrs.asdict(issue) for issue in value] if isinstance(value, tuple) else value",
            "return value",
            f"{_ERRORS}test_every_class_is_rebuilt_from_json",
        ),
    ),
    *_of(
        "omi_async/resources/memories.py",
        (
            "any object taken for nothing found",
            "    items: tuple[MemoryMatch, ...]\n",
            "    items: tuple[MemoryMatch, ...] = ()\n",
            f"{_STRANGER}test_nothing_found",
        ),
    ),
    *_of(
        "omi_async/resources/conversations.py",
        (
            "zones refused where there are none to know",
            ' and _is_zone("America/New_York"))',
            ")",
            "tests/unit/test_resources.py::test_zones",
        ),
        (
            "one window for reads of every kind",
            '_TRANSCRIPT_WINDOWS = windows("GET", f"{_CONVERSATIONS.path}?include_transcript=true")',
            "_TRANSCRIPT_WINDOWS = (_CONVERSATIONS.reads,)",
            f"{_REPORTS}test_windows_by_kind",
        ),
        (
            "transcripts that count as no reads",
            '_TRANSCRIPT_WINDOWS = windows("GET", f"{_CONVERSATIONS.path}?include_transcript=true")',
            '_TRANSCRIPT_WINDOWS = windows("GET", f"{_CONVERSATIONS.path}?include_transcript=true")[:1]',
            f"{_REPORTS}test_windows_by_kind",
        ),
        (
            "one window for writes of every kind",
            "    request.windows = _SEGMENTS_WINDOWS\n",
            "",
            f"{_REPORTS}test_windows_by_kind",
        ),
    ),
    *_of(
        "omi_async/retry.py",
        (
            "rate windows shared by all keys",
            "return Retrier(transport, self._timeout, self.policy, self.watchers)",
            "self.transport = transport\n        return self",
            "tests/faults/test_with_key.py::test_own_windows",
        ),
        (
            "a lost read in doubt",
            'unknown = self.maybe_applied and self._request.effect != "none"',
            "unknown = self.maybe_applied",
            "tests/faults/test_outcomes.py::test_lost_for_good",
        ),
        (
            "a text sent twice",
            'if self._request.effect == "once":',
            'if self._request.effect == "twice":',
            "tests/faults/test_outcomes.py::test_lost_once",
        ),
        (
            "a text sent on a kept connection",
            'self._last = self._next(fresh=request.effect == "once")',
            "self._last = self._next(fresh=False)",
            f"{_RETRY}test_fresh_connection_for_what_is_done_once",
        ),
        (
            "somebody else's conflict waited for",
            "failure.status == 409 and self.maybe_applied and self._request.still_running_on_409",
            "failure.status == 409 and self._request.still_running_on_409",
            "tests/faults/test_creates.py::test_in_progress_for_another",
        ),
        (
            "an equal timeout taken for none",
            "self._timeout is DEFAULT_TIMEOUT",
            "self._timeout == DEFAULT_TIMEOUT",
            "tests/unit/test_create.py::test_limits",
        ),
        (
            "an unknown attempt forgotten",
            '        if failure.outcome == "unknown":\n            self.maybe_applied = True',
            '        self.maybe_applied = failure.outcome == "unknown"\n        if self.maybe_applied:',
            f"{_STATUSES}test_refused_after_an_unknown_attempt",
        ),
        (
            "every missing record taken for deleted",
            "if self.maybe_applied and says_missing(",
            "if says_missing(",
            f"{_STATUSES}test_missing_after_a_throttled_delete",
        ),
        (
            "no missing record taken for deleted",
            "if self.maybe_applied and says_missing(",
            "if False and says_missing(",
            f"{_STATUSES}test_delete_that_then_finds_nothing",
        ),
        (
            "a request counted that did not leave",
            "if not self._last.connected:\n                for gate",
            "if False:\n                for gate",
            f"{_REPORTS}test_what_did_not_leave_is_not_counted",
        ),
        (
            "every window closed by one refusal",
            "self._gates[0].refused(failure)",
            "[gate.refused(failure) for gate in self._gates]",
            f"{_REPORTS}test_windows_by_kind",
        ),
        (
            "a cancelled request taken for one that did not leave",
            "self.maybe_applied = self.maybe_applied or self._last.connected",
            "pass",
            f"{_BULK}test_cancelled_while_closing",
        ),
        (
            "the budget never spent",
            "self.tokens -= cost",
            "pass",
            f"{_RETRY}test_budget_is_spent",
        ),
        (
            "the budget without an end",
            "if cost > self.tokens:",
            "if cost > self.FULL:",
            f"{_RETRY}test_budget_arithmetic",
        ),
        (
            "the budget without a brim",
            "self.tokens = min(self.FULL, self.tokens + amount)",
            "self.tokens = self.tokens + amount",
            f"{_RETRY}test_budget_stays_in_bounds",
        ),
        (
            "the first success earns nothing",
            "self._budget.deposit(Budget.FIRST_TRY_INCOME)",
            "pass",
            f"{_RETRY}test_budget_is_earned_back",
        ),
        (
            "a successful retry gives nothing back",
            "            self._budget.deposit(self._spent)\n            self._ended",
            "            self._ended",
            f"{_RETRY}test_recovering_retries_never_spend_the_budget",
        ),
        (
            "throttling costs as much as failure",
            "Budget.THROTTLED_COST if isinstance",
            "Budget.RETRY_COST if isinstance",
            f"{_RETRY}test_budget_after_one_call",
        ),
        (
            "one attempt too many",
            "if self.attempts >= self._policy.attempts:",
            "if self.attempts > self._policy.attempts:",
            f"{_RETRY}test_attempts",
        ),
        (
            "a wait beyond the time for the call",
            "if left is not None and state.upcoming_sleep >= left:",
            "if left is not None and left < 0:",
            f"{_SLOW}test_no_wait_that_would_not_fit {_RETRY}test_wait_that_would_take_all_the_time",
        ),
        (
            "no limit of the whole call",
            "self._end = None if timeout.total is None else",
            "self._end = None if timeout.total != -1 else",
            f"{_SLOW}test_total_ends_the_call {_RETRY}test_time_left_is_told",
        ),
        (
            "any Retry-After waited for",
            "failure.retry_after > self._policy.retry_after_limit",
            "failure.retry_after < 0",
            f"{_RETRY}test_long_retry_after {_RETRY_AFTER}test_longer_than_the_rest_of_the_time",
        ),
        (
            "Retry-After ignored",
            "if failure.retry_after:",
            "if False:",
            f"{_RETRY_AFTER}test_wait_as_asked",
        ),
        (
            "all return at the same moment after Retry-After",
            "return failure.retry_after + policy.random() * initial",
            "return failure.retry_after",
            f"{_RETRY_AFTER}test_not_all_at_once",
        ),
        (
            "no jitter",
            "return policy.random() * min(",
            "return min(",
            f"{_RETRY}test_waits_stay_within_bounds tests/faults/test_load.py::test_no_thundering_herd",
        ),
        (
            "waits that do not grow",
            "initial * 2.0 ** (self.attempts - 1)",
            "initial",
            f"{_RETRY}test_waits_grow",
        ),
        (
            "waits without a bound",
            "min(policy.maximum, initial",
            "max(0.0, initial",
            f"{_RETRY}test_waits_grow {_RETRY}test_waits_stay_within_bounds",
        ),
        (
            "a second try on a kept connection",
            'self._next(fresh=self.maybe_applied or self._request.effect == "once")',
            'self._next(fresh=self._request.effect == "once")',
            f"{_CONNECTION}test_lost_on_a_kept_connection {_RETRY}test_fresh_connection",
        ),
        (
            "attempts not told",
            "failure.attempts = self.attempts",
            "failure.attempts = 1",
            f"{_RETRY}test_attempts",
        ),
        (
            "the machinery in the traceback",
            "not for the machinery of the retries.\n            failure = error.with_traceback(None)",
            "not for the machinery of the retries.\n            failure = error",
            f"{_THREADS}test_traceback_is_short_and_honest {_RETRY}test_error_stands_alone",
        ),
    ),
    *_of(
        "omi_async/pacing.py",
        ("closed for longer than a day", "_LONGEST = 86400.0", "_LONGEST = 1e9", f"{_PACING}test_a_day_at_most"),
        (
            "a closed window sleeps with the machine",
            "min(until.clock - self._clock(), until.day - time.time())",
            "until.clock - self._clock()",
            f"{_PACING}test_a_machine_that_sleeps",
        ),
        (
            "a count that is never taken back",
            "            self._used -= 1\n",
            "            pass\n",
            f"{_PACING}test_taken_back",
        ),
        (
            "a count taken back from the next window",
            "if self._used and moment >= self._opened:",
            "if self._used:",
            f"{_PACING}test_taken_back_too_late",
        ),
    ),
    *_of(
        "omi_async/_wire/session.py",
        (
            "aiohttp sends a DELETE again",
            "        raise lost",
            "            raise\n        raise lost",
            f"{_SESSION}{_CONNECTION}test_every_answer_is_lost",
        ),
        (
            "redirects followed",
            "allow_redirects=False",
            "allow_redirects=True",
            f"{_SESSION}tests/faults/test_redirects.py::test_not_followed",
        ),
        (
            "the key for every origin",
            "if request.url.origin() == origin:",
            "if True:",
            f"{_BORROWED}test_the_key_is_for_one_origin",
        ),
        (
            "cookies sent",
            "request.headers.popall(name)",
            "pass",
            f"{_BODY}test_cookies_of_a_borrowed_session",
        ),
        (
            "a request that did not leave taken for one that did",
            "attempt.connected = self._borrowed",
            "attempt.connected = True",
            f"{_SESSION}{_SLOW}test_connect_limit_to_the_moment {_SLOW}test_no_limit "
            f"{_CONNECTION}test_connecting_hangs tests/faults/test_tls.py::test_handshake_cut "
            "tests/process/test_cancellation.py",
        ),
        (
            "a foreign connector trusted to tell",
            "attempt.connected = self._borrowed",
            "attempt.connected = False",
            "tests/faults/test_borrowed.py",
        ),
        (
            "a request that follows the rest of another, through the session",
            "            if refused_unread(request, answer):\n",
            "            if False:\n",
            f"{_WAYS}test_answered_before_the_request_was_read",
        ),
        (
            "a borrowed connection given up for session tickets",
            "if protocol is not None and request.is_ssl():",
            "if False:",
            "tests/faults/test_tls.py::test_session_tickets",
        ),
        (
            "a borrowed connection on which something waits",
            "            handler = _cleanly(handler)\n",
            "",
            f"{_REPORTS}test_something_waits_on_a_borrowed_connection",
        ),
    ),
    *_of(
        "omi_async/_wire/connection.py",
        (
            "a request that left taken for one that did not",
            "                attempt.connected = True\n",
            "",
            f"{_CONNECTION}test_every_answer_is_lost",
        ),
        (
            "a kept connection is fresh enough",
            "not (attempt.fresh or link.distrusted)",
            "not link.distrusted",
            f"{_CONNECTION}test_lost_on_a_kept_connection {_CONNECTION}test_second_loss_waits",
        ),
        (
            "a distrusted connection used again",
            "not (attempt.fresh or link.distrusted)",
            "not attempt.fresh",
            f"{_CONNECTION}test_poisoned_connection_is_not_kept",
        ),
        (
            "a connection that has spoken unasked used again",
            " and not protocol.should_close",
            "",
            f"{_BROKEN}test_bytes_on_an_idle_connection",
        ),
        (
            "a connection used on which something waits",
            " and not link.something_waits()",
            "",
            f"{_REPORTS}test_something_waits_on_a_kept_connection",
        ),
        (
            "a new connection used on which something waits",
            "if fit and not protocol.should_close and not link.something_waits():",
            "if is_new or (fit and not protocol.should_close and not link.something_waits()):",
            f"{_REPORTS}test_a_server_that_speaks_first",
        ),
        (
            "bodies of any size",
            "_BODY_LIMIT = 8 * 2**20",
            "_BODY_LIMIT = 8 * 2**30",
            f"{_BODY}test_too_large",
        ),
        (
            "error bodies of any size",
            "_ERROR_BODY_LIMIT = 64 * 2**10",
            "_ERROR_BODY_LIMIT = 64 * 2**30",
            f"{_BODY}test_error_without_end",
        ),
        (
            "compressed bodies of any size",
            "if hdrs.CONTENT_ENCODING not in headers:",
            "if True:",
            f"{_BODY}test_too_large {_BODY}test_memory",
        ),
        (
            "a body announced as too large read all the same",
            "        if size > limit:",
            "        if False:",
            f"{_BODY}test_announced_as_too_large",
        ),
        (
            "broken HTTP taken for a refusal",
            '"the server\'s answer is not proper HTTP.", outcome="unknown"',
            '"the server\'s answer is not proper HTTP.", outcome="not_applied"',
            f"{_BROKEN}test_broken_answer",
        ),
        (
            "a refusal lost with its explanation",
            "        if good:\n            raise\n",
            "        raise\n",
            f"{_BODY}test_error_that_breaks_off",
        ),
        (
            "idle connections kept as long as the server does",
            "_KEEPALIVE = 4.0",
            "_KEEPALIVE = 15.0",
            f"{_CONNECTION}test_idle_connections_are_given_up_first",
        ),
    ),
    *_of(
        "omi_async/_wire/direct.py",
        (
            "a connection kept whose answer was not read",
            "        except BaseException:\n            _drop(connection)",
            "        except BaseException:\n            connection.release()",
            f"{_REPORTS}test_late_answer_to_a_cancelled_call",
        ),
        (
            "a request that follows the rest of another",
            "            if transport.get_write_buffer_size() or refused_unread(request, answer):\n",
            "            if transport.get_write_buffer_size():\n",
            f"{_WAYS}test_answered_before_the_request_was_read",
        ),
        (
            "a request that is sent after it was given up",
            "        connection.protocol.abort()",
            "        pass",
            f"{_WAYS}test_given_up_while_it_was_sent",
        ),
        (
            "a request that was not sent taken for one that may have been",
            "                attempt.connected = False\n",
            "",
            f"{_WAYS}test_closed_before_a_byte_was_sent",
        ),
        (
            "a preliminary answer taken for the answer",
            "if not 100 <= message.code < 200 or message.code == 101:",
            "if True:",
            f"{_BROKEN}test_interim_answers",
        ),
        (
            "objects in the place of methods passed by",
            "type(each) is FunctionType and each",
            "each",
            f"{_WAYS}test_whoever_replaced_the_sessions_requests_sees_them",
        ),
        (
            "wrappers passed by",
            ' and each.__code__.co_qualname.startswith("ClientSession.")',
            "",
            f"{_WAYS}test_whoever_replaced_the_sessions_requests_sees_them",
        ),
        (
            "middlewares passed by",
            "            and not session._middlewares\n",
            "",
            f"{_WAYS}test_through_a_session_with_middlewares",
        ),
        (
            "traces passed by",
            "            and not session.trace_configs\n",
            "",
            f"{_WAYS}test_tracing_that_was_put_into_every_session_sees_requests",
        ),
        (
            "any aiohttp taken for a known one",
            "            _KNOWN\n            and not session",
            "            not session",
            f"{_WAYS}test_through_the_session_with_another_aiohttp",
        ),
    ),
    *_of(
        "omi_async/client.py",
        (
            "closing one key closes all",
            "            self._transport.leave()",
            "            await self._transport.pool.aclose()",
            "tests/faults/test_with_key.py::test_closing_one_key",
        ),
    ),
    *_of(
        "omi_async/_wire/pool.py",
        (
            "the connections of the parent let go of in a forked child",
            "            keep_forever(self)\n",
            "            pass\n",
            "tests/process/test_fork.py::test_async_client_collected_in_a_child",
        ),
        (
            "connections that outlive their loop",
            "            anext(self._end).send(None)\n",
            "            pass\n",
            "tests/process/test_lifetime.py::test_loop_closed_in_between",
        ),
        (
            "two loops that come at once both served",
            '        if self.__dict__.setdefault("loop", loop) is not loop:\n            raise other_loop()\n',
            "        self.loop = loop\n",
            "tests/process/test_lifetime.py::test_loops_that_come_at_once",
        ),
        (
            "the client closed by the end of its loop alone",
            "        self._disarm()\n        await self._close(owned)",
            "        await self._end.aclose() if self._end is not None else await self._close(owned)",
            "tests/process/test_lifetime.py::test_closed_as_its_loop_ends",
        ),
        (
            "connections opened on a loop that is ending",
            "        if self.closing:\n            raise loop_ends()\n",
            "",
            "tests/process/test_lifetime.py::test_called_as_its_loop_ends",
        ),
        (
            "a client moved off a loop that still runs",
            "self.is_inherited or self.loop.is_closed()",
            "True",
            "tests/process/test_lifetime.py::test_two_running_loops",
        ),
        (
            "closing that waits for what nobody reads",
            "async with asyncio.timeout(_CLOSE_GRACE):\n            await session.close()",
            "async with asyncio.timeout(None):\n            await session.close()",
            f"{_WAYS}test_closing_while_nobody_reads",
        ),
        (
            "the environment's proxy used",
            "trust_env=False",
            "trust_env=True",
            f"{_SESSION}{_SETTINGS}test_the_environment_reaches_no_request",
        ),
        (
            "closing that is cut short leaves calls without limits",
            "            self.sending.end_all()\n            self.sending.close()",
            "            self.sending.close()",
            f"{_REPORTS}test_closing_cut_short",
        ),
        (
            "a slot kept after the attempt",
            "            self.slots.release()\n            if self.closing",
            "            if self.closing",
            f"{_SLOW}test_one_connection_for_many_calls",
        ),
        (
            "no limit to what is on the wire",
            "self.slots = asyncio.Semaphore(max_connections)",
            "self.slots = asyncio.Semaphore(10_000)",
            "tests/faults/test_load.py::test_slow_server",
        ),
    ),
    *_of(
        "omi_async/_wire/transport.py",
        (
            "calls under way ended with their key's client",
            "self.closed if attempt.first else self.pool.closed",
            "self.closed",
            "tests/faults/test_with_key.py::test_closing_one_key_with_a_call_that_backs_off",
        ),
        (
            "a cut answer taken for a refusal",
            '"the answer broke off.", outcome="unknown"',
            '"the answer broke off.", outcome="not_applied"',
            f"{_BROKEN}test_cut_anywhere",
        ),
        (
            "a timeout taken for a refusal",
            "text if attempt.connected else text + self._hint(), outcome=outcome",
            'text, outcome="not_applied"',
            f"{_SLOW}test_every_attempt_stalls",
        ),
        (
            "a lost connection taken for a refusal",
            '"the connection was lost.", outcome=outcome',
            '"the connection was lost.", outcome="not_applied"',
            f"{_CONNECTION}test_every_answer_is_lost",
        ),
        (
            "refused certificates tried again",
            "case aiohttp.ClientConnectorCertificateError():",
            "case asyncio.CancelledError():",
            "tests/faults/test_tls.py::test_bad_certificate",
        ),
        (
            "no limit of an attempt",
            "place.sending.within(_shorter(attempt.limit, left))",
            "place.sending.within(left)",
            f"{_SLOW}test_first_attempt_stalls",
        ),
        (
            "aiohttp's error behind ours",
            "failure = self._failure(error, attempt, place, timed_out=deadline.expired)",
            "raise self._failure(error, attempt, place, timed_out=deadline.expired) from error",
            "tests/faults/test_secrets.py::test_nothing_hangs_on",
        ),
    ),
    *_of(
        "omi_async/_wire/deadline.py",
        (
            "a deadline earlier than the timer overlooked",
            "if deadline.when < self._next:",
            "if self._timer is None:",
            "tests/unit/test_deadline.py",
        ),
        (
            "the timer not set again",
            "if following < inf:",
            "if False:",
            "tests/unit/test_deadline.py",
        ),
        (
            "a cancellation from elsewhere taken for the deadline",
            "self._task.uncancel() <= self._cancelling and ",
            "self._task.uncancel() >= 0 and ",
            "tests/unit/test_deadline.py",
        ),
        (
            "a timer for each call",
            "        # The timer stays:",
            "        self._next = inf\n        # The timer stays:",
            "tests/unit/test_deadline.py",
        ),
    ),
    *_of(
        "omi_async/_late.py",
        (
            "a fork in the middle of an import",
            "before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release",
            "before=lambda: None",
            f"{_REPORTS}test_a_fork_waits_for_an_import",
        ),
    ),
    *_of(
        "omi_async/client.py",
        ("keys of any characters", r"omi_dev_[\x21-\x7e]+", "omi_dev_.+", f"{_SETTINGS}test_bad_keys"),
        (
            "keys of any length",
            "if len(key) > _KEY_LIMIT:",
            "if False:",
            f"{_SETTINGS}test_bad_keys",
        ),
        (
            "the key repeated in a refusal",
            '"api_key must be omi_dev_ followed by visible ASCII characters."',
            'f"api_key must be omi_dev_ followed by visible ASCII characters: {key}"',
            f"{_SETTINGS}test_bad_keys",
        ),
        (
            "plain HTTP to anybody",
            'if parts.scheme == "http" and not _is_loopback(parts.hostname):',
            "if False:",
            f"{_SETTINGS}test_bad_base_urls",
        ),
        ("a fragment dropped", 'if "?" in url or "#" in url:', 'if "?" in url:', f"{_SETTINGS}test_bad_base_urls"),
        (
            "any path in the base URL",
            r're.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", path)',
            r're.match(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", path)',
            f"{_SETTINGS}test_bad_base_urls",
        ),
        (
            "clients pickled",
            "def __reduce__(self) -> NoReturn:",
            "def _reduce(self) -> NoReturn:",
            "tests/faults/test_secrets.py::test_no_client_is_copied",
        ),
    ),
    *_of(
        "omi_async/bulk.py",
        (
            "a coroutine function that nobody awaits",
            " or iscoroutinefunction(on_progress)",
            "",
            f"{_REPORTS}test_settings_that_cannot_work",
        ),
    ),
    *_of(
        "omi_async/_jobs/items.py",
        (
            "a set with a journal",
            "if isinstance(container, Set) and not isinstance(container, (KeysView, ItemsView)):",
            "if False:",
            f"{_REPORTS}test_settings_that_cannot_work",
        ),
        (
            "settled items skipped without a turn for others",
            "await asyncio.sleep(0)",
            "pass",
            f"{_REPORTS}test_settled_items_leave_turns_for_others",
        ),
        (
            "what was refused kept in the journal",
            'return "<refused>" if isinstance(self.request, Exception) else self.id',
            "return self.id",
            f"{_REPORTS}test_a_refused_id_is_not_kept",
        ),
        (
            "a key given for an id shown by its outcome",
            'return "<key>" if is_key(name) else name',
            "return name",
            f"{_REPORTS}test_a_refused_id_is_not_kept",
        ),
        (
            "an earlier run's doubt forgotten",
            "item = item._replace(maybe_applied=entry.status != BulkStatus.FAILED, tried_before=True)",
            "pass",
            f"{_BULK}test_resumed",
        ),
    ),
    *_of(
        "omi_async/_jobs/workers.py",
        (
            "a job that changed items says that nothing was changed",
            'stopped.outcome = "unknown" if changed else reason.outcome',
            "stopped.outcome = reason.outcome",
            "tests/faults/test_reported.py::test_stopped_after_items_were_done",
        ),
        (
            "a reason's sentence about its outcome taken for the job's",
            "reason._told(with_outcome=False) if changed else str(reason)",
            "str(reason)",
            "tests/faults/test_reported.py::test_stopped_after_items_were_done",
        ),
        (
            "a job that was left looks finished",
            "        if self._complete:",
            "        if True:",
            f"{_BULK}test_leaving_early",
        ),
        (
            "a job that leaves items out looks finished",
            "self._intake.exhausted and not self._held_back\n",
            "self._intake.exhausted\n",
            f"{_REPORTS}test_left_at_the_end_of_the_input",
        ),
        (
            "waiting that is given up ends the job",
            "        await self.outcome_ready()\n        self._slots.release()",
            "        try:\n            await self.outcome_ready()\n        except asyncio.CancelledError:\n"
            "            self.begin_closing()\n            raise\n        self._slots.release()",
            f"{_BULK}test_waiting_given_up",
        ),
        (
            "an item of an id that was under way left out in silence",
            "                self._held_back.appendleft(following)",
            "                pass",
            f"{_REPORTS}test_left_at_the_end_of_the_input",
        ),
        (
            "a request that was cut off not reported",
            "if call is None or not call.maybe_applied:",
            "if True:",
            f"{_BULK}test_cancelled_while_closing",
        ),
        (
            "an item cut off between its attempts forgotten",
            "item = item._replace(attempts=item.attempts + call.attempts, failure=call.refused)",
            "pass",
            "tests/faults/test_reported.py::test_cut_off_between_attempts",
        ),
        (
            "closing that is cut short does not wait for what was sent",
            "            while self._busy_workers():\n                with suppress",
            "            while False:\n                with suppress",
            "tests/faults/test_reported.py::test_cancelled_again_and_again "
            "tests/faults/test_reported.py::test_cancelled_while_the_journal_waits",
        ),
        (
            "an item lost on the way to the disk",
            "        finally:\n            # Cancelled while",
            "        except asyncio.CancelledError:\n            raise\n        else:\n            # Cancelled while",
            f"{_BULK}test_cancelled_while_noting",
        ),
        (
            "throttled items forgotten at the end",
            "if item.failure is not None:",
            "if False:",
            f"{_BULK}test_throttled_items_are_reported_at_the_end",
        ),
        (
            "a foreign cancellation taken for the job's own",
            "if task is not None and task.cancelling():",
            "if True:",
            f"{_REPORTS}test_a_foreign_cancellation_in_the_input",
        ),
        (
            "every item sent to a server without the operation",
            "_FATAL = (RouteNotFoundError, ClientClosedError",
            "_FATAL = (ClientClosedError",
            f"{_REPORTS}test_a_missing_route_stops_the_job",
        ),
    ),
    *_of(
        "omi_async/archive/pull.py",
        (
            "a server's shorter pages taken for gaps",
            "            self._sizes.largest = self._pages.size = len(rows)",
            "            pass",
            f"{_ARCHIVE}test_everything_once_and_then_nothing",
        ),
        (
            "a page that is too much ends the run",
            "if error.retry_after or not sweep.shorten():",
            "if True:",
            f"{_ARCHIVE}test_pages_that_are_too_much",
        ),
        (
            "a run waits for no window",
            "await windows.opened(self._tell)",
            "pass",
            f"{_ARCHIVE}test_at_the_pace_of_the_windows",
        ),
        (
            "one that cannot be had ends every run",
            "self._failures > _MOST_FAILURES",
            "self._failures > 0",
            f"{_ARCHIVE}test_one_that_cannot_be_had",
        ),
        (
            "missing once the clock is set back",
            "return max(now(), self._began_at)",
            "return now()",
            f"{_ARCHIVE}test_a_clock_that_is_set_back",
        ),
        (
            "locked ones end the list",
            "if not {each.id for each in behind} <= {each.id for each in rows}:",
            "if True:",
            f"{_ARCHIVE}test_many_locked",
        ),
    ),
    *_of(
        "omi_async/archive/notes.py",
        (
            "a gap forgotten by the next run",
            'f"UPDATE gaps SET is_certain = 1',
            'f"UPDATE gaps SET is_certain = 0',
            f"{_ARCHIVE}test_gaps",
        ),
        (
            "any server's conversations in one archive",
            "elif known != server:",
            "elif False:",
            f"{_ARCHIVE}test_another_server",
        ),
    ),
    *_of(
        "omi_async/archive/keep.py",
        (
            "deleted without a copy",
            "        raise failure.with_traceback(None)",
            "        return",
            f"{_ARCHIVE}test_kept_before_it_is_deleted",
        ),
        (
            "a copy of an earlier run not believed",
            "if has_copy and not error.from_intermediary:",
            "if False:",
            f"{_ARCHIVE}test_resumed_after_the_deletion",
        ),
    ),
    *_of(
        "omi_async/archive/export.py",
        (
            "an edited note written over",
            "stamp.view == each.digest and not stamp.is_intact",
            "False",
            f"{_EXPORTED}test_an_edited_note",
        ),
        (
            "an edited note not kept",
            "if home is not None and (stamp is None or not stamp.is_intact):",
            "if False:",
            f"{_EXPORTED}test_an_edited_note",
        ),
        (
            "a foreign file written over",
            "if was_taken and os.path.lexists(path) and not _is_one_file(home, path):",
            "if False:",
            f"{_EXPORTED}test_a_file_of_another",
        ),
        (
            "a note behind a link taken for another's",
            "sorted({path, *candidates}",
            "sorted(candidates",
            f"{_EXPORTED}test_a_folder_behind_a_link",
        ),
        (
            "a formula in a table",
            "if text.startswith(_FORMULA) else text",
            "if False else text",
            f"{_EXPORTED}test_a_table",
        ),
    ),
    *_of(
        "omi_async/archive/search.py",
        ("one of the words is enough", '" AND ".join(terms)', '" OR ".join(terms)', f"{_EXPORTED}test_search"),
    ),
    *_of(
        "omi_async/archive/rows.py",
        (
            "a row without a transcript in the place of the whole",
            " or (had_transcript and not document.has_transcript):",
            ":",
            f"{_ARCHIVED}test_changes",
        ),
    ),
    *_of(
        "omi_async/archive/store.py",
        (
            "stored in a file that is gone",
            "or (self._identity() == self._identities)",
            "or True",
            f"{_ARCHIVED}test_removed_meanwhile",
        ),
        (
            "two that fill one archive",
            "await self._run(self._lock)",
            "pass",
            f"{_ARCHIVE}test_two_archives_of_one_file",
        ),
    ),
    *_of(
        "omi_async/journal.py",
        (
            "a cancelled opening leaves the journal open",
            "await (await opening).aclose()",
            "await opening",
            f"{_REPORTS}test_cancelled_while_opening",
        ),
        (
            "the older of two writes comes last",
            "connection.execute(_REOPEN)",
            "pass",
            f"{_JOURNAL}test_the_last_write_wins",
        ),
        (
            "journals of the first format refused",
            'if notes.get("format") == 1 and',
            "if False and",
            f"{_JOURNAL}test_older_format",
        ),
        (
            "journals of the first format given to any job",
            " and f\"conversations.{notes.get('job')}\" == job:",
            ":",
            f"{_JOURNAL}test_older_format_of_another_job",
        ),
    ),
    *_of(
        "omi_sync/_bridge.py",
        (
            "an interrupted call goes on",
            "if self._coroutine is None:\n            self.task.cancel()",
            "if self._coroutine is None:\n            pass",
            "tests/process/test_interrupts.py::test_interrupted_call_that_does_not_end",
        ),
        (
            "a foreign cancellation taken for the end of the loop",
            " and task is not None and task.cancelling():",
            ":",
            f"{_REPORTS}test_a_foreign_cancellation_in_the_input",
        ),
        (
            "its own thread waited for",
            "if thread.ident == threading.get_ident() and thread.is_alive():",
            "if False:",
            f"{_THREADS}test_call_from_the_own_loop_thread",
        ),
        (
            "the loop's thread taken along in a fork",
            'keep_forever(self.__dict__.pop("_thread", None))',
            "pass",
            "tests/process/test_fork.py::test_fork_after_use",
        ),
        (
            "close does not wait for the thread",
            "            thread.stop()\n            thread.join(_CLOSE_LIMIT)",
            "            thread.stop()",
            "tests/faults/test_load.py::test_no_thread_is_left",
        ),
        (
            "a job that another thread ends does not wait for what is under way",
            "        if thread is not None and not sys.is_finalizing():\n            thread.join(_CLOSE_LIMIT)",
            "        del thread",
            "tests/process/test_lifetime.py::test_close_during_a_job_of_another_thread",
        ),
        (
            "a dead loop waited for",
            "if not thread.is_alive() and not self._done.acquire(blocking=False):",
            "if False:",
            f"{_THREADS}test_dead_loop_is_not_waited_for",
        ),
        (
            "two threads of one client serve",
            "if not self._claim.acquire(blocking=False):\n            return\n",
            "self._claim.acquire(blocking=False)\n",
            "tests/faults/test_reported.py::test_interrupted_while_the_thread_starts",
        ),
        (
            "context variables lost",
            "thread.submit(handoff.start, thread, context=copy_context())",
            "thread.submit(handoff.start, thread, context=Context())",
            "tests/process/test_context.py::test_context_of_the_caller",
        ),
        (
            "an input asked for more before an outcome is handed over",
            "        if self._done.acquire(blocking=False):\n            return True\n        if work:",
            "        if work:",
            "tests/faults/test_reported.py::test_an_input_that_the_loop_fills",
        ),
        (
            "a lookup that the end of the client waits for",
            "self.loop.set_default_executor(_Lookups())",
            "pass",
            "tests/faults/test_reported.py::test_a_lookup_that_hangs",
        ),
        (
            "a thread that keeps the program alive",
            'name=f"omi-sync-{next(_numbers)}", daemon=True',
            'name=f"omi-sync-{next(_numbers)}", daemon=False',
            "tests/process/test_exit.py::test_end_of_the_program",
        ),
        (
            "no warning about a forgotten client",
            'warnings.warn(f"{name} made at',
            '(lambda *_, **__: None)(f"{name} made at',
            "tests/process/test_lifetime.py::test_forgotten_client",
        ),
    ),
    *_of(
        "omi_sync/_iterate.py",
        (
            "on_progress called on the loop's thread",
            "return lambda value: put(partial(call, value))",
            "return call",
            f"{_REPORTS}test_on_progress_is_called_on_the_callers_thread",
        ),
        (
            "a live input taken for a list",
            "self.pulled() > self._taken and time.monotonic() < self._wished_at + self._patience",
            "False",
            f"{_REPORTS}test_a_live_input_starts_slowly",
        ),
        (
            "an interrupt within the input not noticed",
            "return self._wish is not None and not self._wish.done() and self._wish not in self._wishes",
            "return False",
            "tests/faults/test_reported.py::test_interrupted_within_the_input",
        ),
        (
            "a foreign cancellation in an input of the synchronous side",
            "except (Exception, asyncio.CancelledError) as failure:  # noqa: BLE001 - the job raises it",
            "except Exception as failure:  # noqa: BLE001 - the job raises it",
            f"{_REPORTS}test_a_foreign_cancellation_in_the_input",
        ),
        (
            "what an interrupt cuts off not reported",
            "        except BaseException:\n            _rest(bridge, target, fed)",
            "        except BaseException:\n            pass",
            f"{_REPORTS}test_an_interrupt_loses_nothing",
        ),
    ),
    *_of(
        "omi_async/_wire/proxy.py",
        (
            "a proxy that refuses asked again",
            "retryable=passing",
            "retryable=True",
            f"{_PROXIES}test_refusal",
        ),
        (
            "a hint where no proxy is wanted",
            "or proxy_bypass_environment(str(origin.host), proxies)",
            "",
            f"{_PROXIES}test_hint",
        ),
    ),
    *_of(
        "omi_async/client.py",
        (
            "the key sent in the clear through a proxy elsewhere",
            'if base_url.startswith("http://") and not _is_loopback(host.lower()):',
            "if not host:",
            f"{_PROXIES}test_key_in_the_clear",
        ),
    ),
    *_of(
        "omi_async/events.py",
        (
            "a foreign cancellation in on_progress ends a worker",
            "except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001",
            "except Exception as error:  # noqa: BLE001",
            f"{_REPORTS}test_a_foreign_cancellation_in_on_progress",
        ),
        (
            "what a hook raises raised",
            "except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001",
            "except ZeroDivisionError as error:  #",
            f"{_EVENTS}test_what_a_hook_raises",
        ),
        (
            "what a handler of the log raises raised",
            "with suppress(Exception):",
            "with suppress(ZeroDivisionError):",
            f"{_EVENTS}test_logging_that_raises",
        ),
        (
            "an id told with the path",
            '"request" if "/" in request.operation else request.operation',
            "request.operation",
            f"{_EVENTS}test_calls_without_a_method",
        ),
        (
            "failures printed where nobody set up logging",
            " and _log.hasHandlers()",
            "",
            f"{_EVENTS}test_silent_without_logging",
        ),
    ),
    *_of(
        "omi_async/retry.py",
        (
            "a read told as a change",
            'return "unknown" if unknown and self._request.effect != "none" else "not_applied"',
            'return "unknown" if unknown else "not_applied"',
            f"{_EVENTS}test_a_read_changes_nothing",
        ),
    ),
    *_of(
        "omi_sync/_bridge.py",
        (
            "the hook called on the client's own thread",
            "return lambda event: _callers.get().put(partial(tell, watcher, event))",
            "return watcher",
            f"{_EVENTS}test_the_caller_s_thread",
        ),
    ),
]


def mutated(mutant: Mutant, root: Path) -> str:
    """The file's text with the mutant in it; ValueError if the mutant no longer fits."""
    text = (root / mutant.file).read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: its text occurs {text.count(mutant.old)} times in {mutant.file}")
    return text.replace(mutant.old, mutant.new)


def _copy(to: Path) -> Path:
    to.mkdir()
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.exists():
            shutil.copy(source, to / name)
    return to


def _passes(root: Path, tests: tuple[str, ...]) -> tuple[bool | None, str]:
    """Whether the tests pass there, None if their time ran out; and the end of what they said."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:randomly", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("OMI_TEST_FULL", None)
    process = subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return None, ""
    end = "\n".join(said.splitlines()[-4:])
    if process.returncode not in (0, 1):
        raise ValueError(f"pytest could not run {' '.join(tests)}:\n{end}")
    return process.returncode == 0, end


class _Bench:
    """Copies of the project to run mutants in, one for each that runs at the same time."""

    def __init__(self, folder: Path, copies: int) -> None:
        self._roots: SimpleQueue[Path] = SimpleQueue()
        for number in range(copies):
            self._roots.put(_copy(folder / f"copy{number}"))
        self._sound: dict[tuple[str, ...], str] = {}
        self._lock = threading.Lock()

    def judge(self, mutant: Mutant) -> tuple[Verdict, str]:
        root = self._roots.get()
        try:
            problem = self._problem(root, mutant.tests)
            if problem:
                return "BROKEN", problem
            return self._judge(root, mutant)
        except ValueError as problem_found:
            return "STALE" if "occurs" in str(problem_found) else "BROKEN", str(problem_found)
        finally:
            self._roots.put(root)

    def _problem(self, root: Path, tests: tuple[str, ...]) -> str:
        """Why the tests fail without any mutant, or nothing."""
        with self._lock:
            known = self._sound.get(tests)
        if known is None:
            passed, end = _passes(root, tests)
            known = "" if passed else f"fails without the mutant: {end}"
            with self._lock:
                self._sound[tests] = known
        return known

    @staticmethod
    def _judge(root: Path, mutant: Mutant) -> tuple[Verdict, str]:
        path = root / mutant.file
        original = path.read_text(encoding="utf-8")
        path.write_text(mutated(mutant, root), encoding="utf-8")
        try:
            passed, end = _passes(root, mutant.tests)
        finally:
            path.write_text(original, encoding="utf-8")
        if passed is None:
            return "killed by time", ""
        return ("SURVIVED", "") if passed else ("killed", end)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", type=int, nargs="*", help="the numbers of the mutants to run")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    numbers = arguments.only or range(1, len(MUTANTS) + 1)
    verdicts: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        bench = _Bench(Path(folder), arguments.jobs)
        running = {number: pool.submit(bench.judge, MUTANTS[number - 1]) for number in numbers}
        for number, future in running.items():
            verdict, said = future.result()
            verdicts[verdict] += 1
            mutant = MUTANTS[number - 1]
            print(f"{number:3} {verdict:14} {mutant.file:24} {mutant.name}", flush=True)
            if verdict in ("STALE", "BROKEN"):
                print(f"    {said}", flush=True)
    print(f"{len(running)} mutants in {time.monotonic() - began:.0f} s: {dict(verdicts)}")
    return 0 if set(verdicts) <= {"killed", "killed by time"} else 1


if __name__ == "__main__":
    sys.exit(main())
