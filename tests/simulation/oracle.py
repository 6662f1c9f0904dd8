"""Holds what the user was told against what really happened.

The oracle knows the promises of docs/reliability.md, the script and the world's record; it knows nothing of the
client's code. Each rule is a function that yields what breaks it.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from omi_async.sandbox.server import API_KEY

from .script import Call, Script, Together
from .user import Experience, JobTold, Told
from .world import Record, Seen

_BASE = "/v1/dev/user"
# By operation: method, path and whether the body carries the text.
_REQUESTS = {
    "update": ("PATCH", f"{_BASE}/conversations/{{}}"),
    "request": ("PATCH", f"{_BASE}/conversations/{{}}"),
    "delete": ("DELETE", f"{_BASE}/conversations/{{}}"),
    "get": ("GET", f"{_BASE}/conversations/{{}}"),
    "get transcript": ("GET", f"{_BASE}/conversations/{{}}?include_transcript=true"),
    "list": ("GET", f"{_BASE}/conversations?"),
    "list memories": ("GET", f"{_BASE}/memories?"),
    "list action items": ("GET", f"{_BASE}/action-items?"),
    "list goals": ("GET", f"{_BASE}/goals?"),
    "list folders": ("GET", f"{_BASE}/folders"),
    "list summaries": ("GET", f"{_BASE}/daily-summaries?"),
    "search memories": ("GET", f"{_BASE}/memories/vector/search?"),
    "current key": ("GET", "/v1/dev/key"),
    "create memories": ("POST", f"{_BASE}/memories/batch"),
    "create action items": ("POST", f"{_BASE}/action-items/batch"),
    "create": ("POST", f"{_BASE}/conversations"),
    "create from segments": ("POST", f"{_BASE}/conversations/from-segments"),
    "create memory": ("POST", f"{_BASE}/memories"),
    "update memory": ("PATCH", f"{_BASE}/memories/{{}}"),
    "delete memory": ("DELETE", f"{_BASE}/memories/{{}}"),
    "create action item": ("POST", f"{_BASE}/action-items"),
    "update action item": ("PATCH", f"{_BASE}/action-items/{{}}"),
    "delete action item": ("DELETE", f"{_BASE}/action-items/{{}}"),
    "create goal": ("POST", f"{_BASE}/goals"),
    "update goal": ("PATCH", f"{_BASE}/goals/{{}}"),
    "delete goal": ("DELETE", f"{_BASE}/goals/{{}}"),
}
_SHARED = {name for name in _REQUESTS if name.startswith(("list", "search", "current"))}  # anybody's requests look so
_READS = {"get", "get transcript", *_SHARED}
_ONCE = {
    "create",
    "create action item",
    "create action items",
    "create goal",
}  # the server cannot tell a repetition from a second one
_MARGIN = 0.01  # seconds
_DAY = 86400.0  # seconds; no word closes a window for longer


class Case:
    """One run, as the rules look at it."""

    def __init__(self, script: Script, record: Record, experience: Experience, world: Any) -> None:
        self.script, self.record, self.experience, self.world = script, record, experience, world
        self.computing = sum(step.compute for step in _calls(script.user.steps))
        self.deletes = Counter(
            (told.operation, told.id) for told in experience.calls if told.operation.startswith("delete")
        )
        self.deletes.update(("delete", each) for job in experience.jobs if job.life == 1 for each in set(job.job.ids))

    def requests(self, told: Told) -> list[Seen]:
        """The requests of one call."""
        method, path = _REQUESTS[told.operation]
        path = path.format(told.id)
        text = told.text.encode()
        return [
            seen
            for seen in self.record.requests
            if seen.method == method
            and (seen.path == path or (path.endswith("?") and seen.path.startswith(path)))
            and (method in ("GET", "DELETE") or text in seen.body)
            and (method != "GET" or told.began <= seen.at <= told.ended + 2 * self.script.world.latency + _MARGIN)
        ]

    def has_left(self, told: Told) -> bool:
        """Whether anything of the call's requests was ever written."""
        method, path = _REQUESTS[told.operation]
        mark = told.text.encode() if told.text else f"{method} {path.format(told.id)} ".encode()
        return any(mark in data for _, data in self.record.left)

    def was_read(self, told: Told, seen: Seen) -> bool:
        """Whether the API's own answer reached a call that still waited for it."""
        if not seen.proper or seen.answered is None:
            return False
        latency = self.script.world.latency
        arrived = seen.answered + latency
        in_time = told.attempt is None or arrived - seen.at < told.attempt - 4 * latency - 1.3 - self.computing
        before = told.ended - _MARGIN - self.computing
        return in_time and arrived < before and (seen.dropped is None or seen.dropped > arrived)

    def is_alone(self, told: Told) -> bool:
        """Whether no other call makes the same request."""
        return not told.operation.startswith("delete") or self.deletes[told.operation, told.id] == 1


def judge(script: Script, record: Record, experience: Experience, world: Any) -> list[str]:
    """What breaks a promise, in words."""
    case = Case(script, record, experience, world)
    found: list[str] = []
    for told in [*experience.calls, *([experience.probe] if experience.probe else [])]:
        # An answer that comes unasked in the place of the right one cannot be told from it.
        strayed = any(seen.strayed for seen in case.requests(told))
        for rule in _CALL_RULES if not strayed else _RULES_OF_ANY_ANSWER:
            found += [f"{rule.__name__[1:]}: {told}: {words}" for words in rule(case, told)]
    for job in experience.jobs:
        for job_rule in _JOB_RULES:
            found += [
                f"{job_rule.__name__[1:]}: job {job.number} ({job.ends}): {words}" for words in job_rule(case, job)
            ]
    for whole in _RULES:
        found += [f"{whole.__name__[1:]}: {words}" for words in whole(case)]
    return found


# Calls


def _no_false_success(case: Case, told: Told) -> Iterator[str]:
    if told.operation in _READS or told.how not in ("result", "unconfirmed"):
        return
    applied = [seen for seen in case.requests(told) if seen.applied is not None and seen.applied <= told.ended]
    if told.operation == "request" and any(seen.answer.startswith("200 ") for seen in case.requests(told)):
        return  # any JSON is an answer there
    if told.how == "result" and not applied:
        yield "was not applied"
    if told.how == "unconfirmed" and not applied and not told.id.startswith("x"):
        yield "the record is still there"
    if told.how == "unconfirmed" and told.id.startswith("x") and case.is_alone(told):
        attempts = case.requests(told)
        no_other = all(arrival.kind == "accepted" for arrival in case.script.world.arrivals)
        if len(attempts) == 1 and attempts[0].proper and no_other and not case.script.world.idle:
            yield "the API has refused the only attempt"


def _no_false_not_applied(case: Case, told: Told) -> Iterator[str]:
    if told.how != "error":
        return
    if told.operation in _READS:
        if told.outcome != "not_applied":
            yield "a read changes nothing"
        return
    applied = any(seen.applied is not None for seen in case.requests(told))
    if told.outcome == "not_applied" and applied and case.is_alone(told):
        yield "was applied"
    if told.outcome not in ("not_applied", "unknown"):
        yield "an outcome that does not exist"


def _no_doubt_without_a_request(case: Case, told: Told) -> Iterator[str]:
    in_doubt = told.how == "error" and told.outcome == "unknown"
    if in_doubt and not case.script.user.borrowed and not case.has_left(told):
        yield "nothing has left"


def _one_request_an_attempt(case: Case, told: Told) -> Iterator[str]:
    if told.operation in _SHARED or not case.is_alone(told):
        return
    if told.operation in _READS and sum(told.id == other.id for other in case.experience.calls) > 1:
        return
    sent = case.requests(told)
    if told.attempts is not None and len(sent) > told.attempts:
        yield f"the server saw {len(sent)} requests"
    if len(sent) > told.allowed:
        yield f"{told.allowed} attempts were allowed, the server saw {len(sent)}"
    if told.attempts is not None and told.attempts > told.allowed:
        yield f"{told.allowed} attempts were allowed"


def _once_is_once(case: Case, told: Told) -> Iterator[str]:
    if told.operation not in _ONCE:
        return
    sent = case.requests(told)
    if sum(seen.applied is not None for seen in sent) > 1:
        yield "was made twice"
    for seen in sent:
        if seen.nth > 1 and not case.script.user.borrowed:
            yield "went out on a connection that had served before"


def _over_by_its_limit(case: Case, told: Told) -> Iterator[str]:
    if told.limit is not None and told.operation not in _SHARED and told.took > told.limit + case.computing + _MARGIN:
        yield f"took {told.took:.2f} s of {told.limit}"


def _nobody_elses_exception(case: Case, told: Told) -> Iterator[str]:
    if told.how not in ("result", "unconfirmed", "error") and not told.lost:
        yield told.text_of_error or told.how
    if told.how in ("CancelledError", "TimeoutError"):
        yield "nobody asked for that"


def _no_answer_to_anothers_call(case: Case, told: Told) -> Iterator[str]:
    if told.how not in ("result", "unconfirmed") or not told.answer:
        return
    match told.operation:
        case "list" | "list memories" | "list action items" | "list goals":
            ids = told.answer.split()
            if len(set(ids)) < len(ids):
                yield "a row twice"
        case "update" | "update memory" | "update action item" | "update goal":
            if told.answer != f"{told.id} {told.text}":
                yield f"was told of {told.answer}"
        case "create memory" | "create memories" | "create action item" | "create action items" | "create goal":
            if not told.answer.endswith(f" {told.text}"):
                yield f"was told of {told.answer}"
        case _:
            if told.answer.split()[0] != told.id:
                yield f"was told of {told.answer}"


def _nothing_sent_after_the_end(case: Case, told: Told) -> Iterator[str]:
    if told.operation in _READS or not case.is_alone(told):
        return
    for seen in case.requests(told):
        if seen.at > told.ended + case.script.world.latency + _MARGIN + case.computing + _sleeping(case):
            yield f"a request arrived {seen.at - told.ended:.2f} s after it was over"
        if told.after_close:
            yield "a request of a closed client"


def _only_the_apis_words(case: Case, told: Told) -> Iterator[str]:
    if told.how != "error" or told.intermediary or told.status is None or not 400 <= told.status < 500:
        return
    if told.error == "RateLimitError" or not case.is_alone(told) or told.operation in _SHARED:
        return
    sent = case.requests(told)
    words = {"404 router"}
    of_no_record = told.operation.startswith("create") or told.operation == "request"
    if of_no_record:  # any JSON with a detail is taken for the API's
        words.add("404 of another")
    if not any(seen.status == told.status or seen.answer in words for seen in sent):
        yield f"the API never said {told.status}"
    if told.error == "NotFoundError" and not of_no_record and not any(seen.status == 404 for seen in sent):
        yield "the API never said that it is missing"


def _tried_again(case: Case, told: Told) -> Iterator[str]:
    if told.how != "error" or told.operation in _SHARED or case.experience.closed_at is not None:
        return
    if told.operation in _ONCE | {"request"} and told.outcome == "unknown":
        return
    passing = told.error in ("TransportError", "RequestTimeoutError") or told.status in (408, 425, 500, 502, 503, 504)
    if told.attempts is None or not (passing or told.intermediary) or told.retry_after is not None:
        return
    if any(seen.answer in ("503 never", "429", "429 waits", "409") for seen in case.requests(told)):
        return
    left = math.inf if told.limit is None else told.limit - told.took
    if 0 < told.attempts < told.allowed and left > 8.1 and len(case.record.requests) < 30:
        yield f"was given up after {told.attempts} of {told.allowed} attempts, with {left:.1f} s left"


def _not_tried_again(case: Case, told: Told) -> Iterator[str]:
    if told.operation in _READS or not case.is_alone(told):
        return
    for seen in case.requests(told)[:-1]:
        if seen.status in (400, 401, 402, 403, 404, 422) and case.was_read(told, seen):
            yield f"the API had refused it with {seen.status}"


def _believed(case: Case, told: Told) -> Iterator[str]:
    """The API's answer came whole and in time, and the call failed all the same."""
    if told.how != "error" or told.operation in _SHARED or case.experience.closed_at is not None:
        return
    sent = case.requests(told)
    if not sent or told.attempts != len(sent) or not case.is_alone(told) or _sleeping(case):
        return
    seen = sent[-1]
    if seen.status == 200 and case.was_read(told, seen):
        yield f"#{seen.number} was answered with {seen.status}"


def _no_refusal_without_a_window(case: Case, told: Told) -> Iterator[str]:
    """A call that is refused here, without a request, was told of a window that is still closed."""
    if told.how != "error" or told.error != "RateLimitError" or told.operation in _SHARED:
        return
    if any(map(_is_throttled, case.requests(told))):
        return
    if any(clock.steps < 0 for clock in case.script.world.clocks):
        return
    windows = _windows(told.operation)
    # A machine may sleep while an answer is on its way, which then is read, and counts, as if it had just been given.
    slept = sum(clock.sleeps for clock in case.script.world.clocks)
    for seen in case.record.requests:
        waits = _asked_to_wait(seen)
        if waits is None or _window_of(seen) not in windows:
            continue
        if (seen.answered or 0.0) + slept + waits + 2.5 >= told.began:
            return
    yield "no window is closed"


def _windows(operation: str) -> set[str]:
    match operation:
        case "get" | "list":
            return {"reads"}
        case "get transcript":
            return {"reads", "transcripts"}
        case "create from segments":
            return {"writes", "segments"}
        case "update" | "delete" | "create" | "request":
            return {"writes"}
        case _:
            return {_resource(_REQUESTS[operation][1])}


def _resource(path: str) -> str:
    resource = path.partition("?")[0].removeprefix(_BASE).split("/")[1]
    return "reads" if resource in ("folders", "daily-summaries") else resource  # which are read like conversations


def _window_of(seen: Seen) -> str:
    if not seen.path.startswith(f"{_BASE}/conversations"):
        return _resource(seen.path)
    if seen.method == "GET":
        return "transcripts" if "include_transcript=true" in seen.path else "reads"
    return "segments" if seen.path.endswith("from-segments") else "writes"


def _asked_to_wait(seen: Seen) -> float | None:
    if seen.waits is not None:
        return min(seen.waits, _DAY)
    return 60.0 if seen.answer == "429" else None


def _sleeping(case: Case) -> float:
    return sum(clock.sleeps for clock in case.script.world.clocks)


def _no_secrets(case: Case, told: Told) -> Iterator[str]:
    if API_KEY in told.text_of_error or (len(told.text) >= 4 and told.text in told.text_of_error):
        yield "its text or the key stands in the error"


def _closed_is_closed(case: Case, told: Told) -> Iterator[str]:
    if told.after_close and told.how == "error" and told.error != "ClientClosedError":
        yield "the client was closed"
    if told.after_close and told.how in ("result", "unconfirmed"):
        yield "the client was closed"
    if told.error == "ClientClosedError" and case.experience.closed_at is None:
        yield "nobody has closed the client"


_CALL_RULES = (
    _no_false_success,
    _no_false_not_applied,
    _no_doubt_without_a_request,
    _one_request_an_attempt,
    _once_is_once,
    _over_by_its_limit,
    _nobody_elses_exception,
    _no_answer_to_anothers_call,
    _nothing_sent_after_the_end,
    _only_the_apis_words,
    _tried_again,
    _not_tried_again,
    _believed,
    _no_refusal_without_a_window,
    _no_secrets,
    _closed_is_closed,
)

_RULES_OF_ANY_ANSWER = (_over_by_its_limit, _nobody_elses_exception, _no_secrets, _nothing_sent_after_the_end)


# Jobs


def _sent(case: Case, job: JobTold, life: int | None = None) -> list[Seen]:
    """The requests of the job; the ids of a script's jobs are theirs alone."""
    method = "PATCH" if job.job.operation == "update" else "DELETE"
    paths = {f"{_BASE}/conversations/{each}" for each in job.job.ids}
    return [
        seen
        for seen in case.record.requests
        if seen.method == method
        and seen.path in paths
        and (life is None or (job.began <= seen.at and seen.at <= job.ended + (1.0 if job.finished else 0.0)))
    ]


def _id_of(seen: Seen) -> str:
    return seen.path.rpartition("/")[2]


def _items(job: JobTold, each: str) -> list[str]:
    """The texts of the items of one id."""
    if job.job.operation == "delete":
        return [""] * job.job.ids.count(each)
    return [text for i, text in zip(job.job.ids, job.job.texts, strict=True) if i == each]


def _is_complete(case: Case, job: JobTold) -> Iterator[str]:
    if "complete" in job.ends and len(job.told) + job.resumed != len(job.job.ids):
        yield f"looks finished with {len(job.told)} of {len(job.job.ids)} items reported, {job.resumed} before"
    if job.job.take == "all" and job.finished and not job.ends and not _groups(case.script.user.steps):
        yield "the iteration has no end"


def _reported_once(case: Case, job: JobTold) -> Iterator[str]:
    more = Counter(told.id for told in job.told) - Counter(job.job.ids)
    if more:
        yield f"reported too often: {dict(more)}"
    if job.job.source != "list" and len(job.told) > job.pulled:
        yield "more reported than taken from the input"


def _sent_is_reported(case: Case, job: JobTold) -> Iterator[str]:
    if not job.finished:
        return
    told = Counter(each.id for each in job.told)
    sent = _sent(case, job, job.life)
    for each in sorted({_id_of(seen) for seen in sent}):
        bodies = {seen.body for seen in sent if _id_of(seen) == each}
        if told[each] < len(bodies):
            yield f"{each}: {len(bodies)} items left, {told[each]} were reported"


def _items_told_truly(case: Case, job: JobTold) -> Iterator[str]:
    sent = _sent(case, job, job.life)
    ever = [seen for seen in _sent(case, job) if seen.at <= job.ended + 1.0]  # and not what later lives sent
    strayed = {_id_of(seen) for seen in sent if seen.strayed}
    for each in sorted({told.id for told in job.told} - strayed):
        told = [told for told in job.told if told.id == each]
        texts = {seen.body for seen in sent if _id_of(seen) == each and seen.applied is not None}
        gone = any(_id_of(seen) == each and seen.applied is not None for seen in ever)
        done = sum(one.how == "done" for one in told)
        failed = [one for one in told if one.how == "failed"]
        if done > len(texts):
            yield f"{each}: {done} done, {len(texts)} applied"
        for one in told:
            own = one.text in _items(job, each) and one.answer == f"{each} {one.text}"
            if one.how == "done" and job.job.operation == "update" and not own:
                yield f"{each}: was told of {one.answer}"
            if one.how == "unconfirmed" and not gone and not each.startswith("x"):
                yield f"{each}: is said to be gone and is there"
            if one.how == "failed" and job.life > 1 and job.job.ids.count(each) == 1 and gone:
                yield f"{each}: failed, and an earlier life may have applied it"
            if one.how == "failed" and one.outcome != "not_applied":
                yield f"{each}: failed, with the outcome {one.outcome}"
        items = len(_items(job, each))
        comparable = job.job.operation == "update" or len(told) == len(failed)
        whole = job.finished and job.life == 1 and len(told) == items
        if whole and comparable and len(texts) > items - len(failed):
            yield f"{each}: {len(texts)} applied, {len(failed)} of {items} said to have failed"


def _ends_for_a_reason(case: Case, job: JobTold) -> Iterator[str]:
    answers = {seen.answer for seen in case.record.requests} | {
        str(seen.status) for seen in case.record.requests if seen.proper
    }
    for end in job.ends:
        match end:
            case "complete":
                good = True
            case "cancelled":
                good = job.job.take.startswith("cancel") or bool(_groups(case.script.user.steps))
            case "InputError":
                good = job.job.source == "failing"
            case "CancelledError":
                good = job.job.source == "cancelled" or job.job.take.startswith("cancel")
            case "BulkStoppedError by RateLimitError":
                good = not job.job.waits
            case "BulkStoppedError by AuthenticationError":
                good = "401" in answers
            case "BulkStoppedError by PermissionDeniedError":
                good = "403" in answers
            case "BulkStoppedError by RouteNotFoundError":
                good = "404 router" in answers
            case "BulkStoppedError by ClientClosedError" | "ClientClosedError":
                good = case.experience.closed_at is not None
            case "BulkStoppedError by OmiError":
                good = (
                    job.job.take in ("leave", "cancel", "cancel twice")
                    or job.job.close_limit > 0
                    or case.experience.closed_at is not None
                )
            case _:
                good = False
        if not good:
            yield f"ends with {end}"
    if job.job.source == "failing" and job.job.breaks < len(job.job.ids) and "complete" in job.ends:
        yield "the error of the input is lost"
    if job.job.source == "cancelled" and job.job.breaks < len(job.job.ids) and "complete" in job.ends:
        yield "a cancellation in the input is lost"


def _in_order(case: Case, job: JobTold) -> Iterator[str]:
    sent = _sent(case, job, job.life)
    for each in sorted(set(job.job.ids)):
        mine = [seen for seen in sent if _id_of(seen) == each]
        if job.job.operation == "update":
            texts = _items(job, each)
            places = [next((n for n, text in enumerate(texts) if text.encode() in seen.body), -1) for seen in mine]
            if places != sorted(places):
                yield f"{each}: sent in the order {places}"


def _goes_on(case: Case, job: JobTold) -> Iterator[str]:
    """No waiting in vain: the job takes no longer than the windows, the answers and the input explain."""
    if not job.finished or job.job.take not in ("all", "two at once", "limit"):
        return
    world = case.script.world
    waits = sum(_asked_to_wait(seen) or 0.0 for seen in case.record.requests)
    writes = sum(seen.method != "GET" for seen in case.record.requests)
    windows = (writes // world.write_limit + 1) * (world.window + 61.0) if world.write_limit else 0.0
    if windows and not any(seen.status == 429 for seen in case.record.requests):
        windows = 0.0
    faults = sum(turn.answer != "api" or turn.way != "whole" or turn.delay > 0 for turn in world.turns)
    slow = 10.0 + len(job.job.ids) * 1.0 + (faults + len(world.arrivals)) * 62.0 + case.computing + _sleeping(case)
    if job.ended - job.began > waits + windows + slow:
        yield f"took {job.ended - job.began:.0f} s, {waits + windows + slow:.0f} s can be explained"


def _no_waiting_in_vain(case: Case, job: JobTold) -> Iterator[str]:
    """While the window has room and nobody has asked the job to wait, it does not stand still."""
    limit, window = case.script.world.write_limit, case.script.world.window
    if case.script.world.clocks or not job.finished or job.job.take not in ("all", "two at once", "limit"):
        return
    moments = sorted({job.began, job.ended, *(seen.at for seen in case.record.requests)})
    for begin, end in itertools.pairwise(each for each in moments if job.began <= each <= job.ended):
        if end - begin < _LONG:
            continue
        told = [
            (seen.answered or 0.0) + (_asked_to_wait(seen) or 0.0) for seen in case.record.requests if seen.at < end
        ]
        left = [
            at for at, data in case.record.left if begin - window - 5.0 < at <= begin and not data.startswith(b"GET")
        ]
        if max(told, default=0.0) < begin + _LONG and (limit is None or len(left) < limit):
            yield f"stood still from {begin:.0f} to {end:.0f} s"


_LONG = 130.0  # seconds, in which a call without an answer has come to its end


def _no_asking_in_vain(case: Case, job: JobTold) -> Iterator[str]:
    """A closed window is not asked again and again."""
    refused = [seen for seen in _sent(case, job, job.life) if seen.status == 429 and seen.proper]
    rounds = len({round(seen.at + (seen.waits or 0.0)) for seen in refused})
    # Words are rounded to seconds: around the end of a window some come a little early.
    if len(refused) > 2 * job.job.concurrency + 3 * rounds:
        yield f"was refused {len(refused)} times in {rounds} windows"


def _settled_is_settled(case: Case, job: JobTold) -> Iterator[str]:
    """What an earlier life was told to be done is not sent again."""
    if job.life == 1:
        return
    sent = {_id_of(seen) for seen in _sent(case, job, job.life)}
    before = [other for other in case.experience.jobs if other.life < job.life and other.job.ids == job.job.ids]
    for each in sorted(sent):
        done = sum(told.id == each and told.how == "done" for other in before for told in other.told)
        if done == job.job.ids.count(each):
            yield f"{each} was done and is sent again"


def _comes_to_its_end(case: Case, job: JobTold) -> Iterator[str]:
    """In the last life all is well: everything is as the input has it."""
    if job.life != 3:
        return
    if job.ends != ["complete"]:
        yield "does not come to its end in a world where all is well"
        return
    late = {_id_of(seen) for seen in _sent(case, job) if seen.strayed or (seen.applied or 0.0) > seen.at + 0.5}
    for each in sorted(set(job.job.ids) - late):
        record = case.world.sandbox.conversations.get(each)
        if each.startswith("x") or any(step.id == each for step in _calls(case.script.user.steps)):
            continue
        if job.job.operation == "delete" and record is not None:
            yield f"{each} is still there"
        if job.job.operation == "update" and (record is None or record.title != _items(job, each)[-1]):
            yield f"{each} is not as the input has it last"


_JOB_RULES = (
    _is_complete,
    _reported_once,
    _sent_is_reported,
    _items_told_truly,
    _ends_for_a_reason,
    _in_order,
    _goes_on,
    _no_waiting_in_vain,
    _no_asking_in_vain,
    _settled_is_settled,
    _comes_to_its_end,
)


# The whole


def _a_closed_window_is_not_asked(case: Case) -> Iterator[str]:
    """After a 429 has told how long its window stays closed, nothing that it counts is sent before."""
    if case.script.world.clocks or case.script.user.max_connections < 100:
        return  # what waits for a connection had asked before
    latency = case.script.world.latency
    for refused in case.record.requests:
        read_at = (refused.answered or 0.0) + latency
        if (
            refused.status != 429
            or not refused.path.startswith(f"{_BASE}/conversations")
            or not refused.proper
            or refused.waits is None
            or refused.strayed
        ):
            continue
        if refused.dropped is not None and refused.dropped <= read_at:
            continue
        until = min([each - 1.0 for each in case.experience.lives if each > read_at], default=math.inf)
        until = min(until, read_at + refused.waits - 1.5)
        for seen in case.record.requests:
            if any(_is_throttled(other) and _same(other, seen) for other in case.record.requests[: seen.number]):
                continue  # it waits by its own word
            left = seen.at - 3 * latency - _MARGIN
            if read_at + case.computing + _MARGIN < left < until and _window_of(refused) in _counted_in(seen):
                yield f"#{seen.number}, {left - read_at:.1f} s after #{refused.number}: wait {refused.waits} s"


def _is_throttled(seen: Seen) -> bool:
    return seen.status == 429 or seen.answer.startswith("429")


def _same(one: Seen, other: Seen) -> bool:
    return (one.method, one.path, one.body) == (other.method, other.path, other.body)


def _counted_in(seen: Seen) -> set[str]:
    window = _window_of(seen)
    return {"transcripts": {"transcripts", "reads"}, "segments": {"segments", "writes"}}.get(window, {window})


def _nothing_strange(case: Case) -> Iterator[str]:
    yield from case.experience.strange


def _nothing_left_behind(case: Case) -> Iterator[str]:
    yield from case.experience.left_behind


def _good_requests(case: Case) -> Iterator[str]:
    for seen in case.record.requests:
        if seen.key != API_KEY:
            yield f"#{seen.number} has another key"
        if seen.overlapped:
            yield f"#{seen.number} was sent before the request before it was answered"
        if seen.path == "/elsewhere":
            yield f"#{seen.number} follows a redirect"


def _works_in_the_end(case: Case) -> Iterator[str]:
    probe = case.experience.probe
    if probe is not None and probe.how != "result" and probe.error != "RateLimitError":
        yield f"a call in a world where all is well: {probe}"


_RULES = (_a_closed_window_is_not_asked, _nothing_strange, _nothing_left_behind, _good_requests, _works_in_the_end)


def _calls(steps: tuple[Any, ...]) -> Iterator[Call]:
    for step in steps:
        if isinstance(step, Call):
            yield step
        elif isinstance(step, Together):
            yield from _calls(step.steps)


def _groups(steps: tuple[Any, ...]) -> list[Together]:
    return [step for step in steps if isinstance(step, Together) and step.group]
