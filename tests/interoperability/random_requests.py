"""Random requests, fitting the API's schema or not, that schemathesis makes of its OpenAPI file.

No request may be answered with a 500 or outside the schema, but for what the real server does so as well.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode

from omi_sync import Sandbox

# What the file does not say of a refusal, and the real server does.
REFUSALS = {400, 402, 404, 405, 413, 422}

CALENDAR_SECONDS = 1e11

RECORDS = {
    "conversation_id": ("conv_standup", "conv_design", "conv_noise", "conv_locked"),
    "memory_id": ("mem_coffee", "mem_lisbon", "mem_locked"),
    "action_item_id": ("item_search", "item_train", "item_locked"),
    "goal_id": ("goal_5a1d0c7e42b9", "goal_2b7e9d4410cf", "goal_c06f8812be73"),
    "key_id": ("key_full",),
}


def check(path: Path, examples: int) -> Iterator[str]:
    """Give a sentence for each kind of answer that does not fit."""
    schema = schemathesis.openapi.from_path(str(path))
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            troubles: dict[str, str] = {}
            with Sandbox(write_limit=None) as sandbox:
                _ask(operation, mode, examples, sandbox, statuses, troubles)
            yield from (f"{operation.label}: {kind}: {example}" for kind, example in troubles.items())
    print(f"random requests by status: {dict(sorted(statuses.items()))}")


def _ask(
    operation: Any,
    mode: GenerationMode,
    examples: int,
    sandbox: Sandbox,
    statuses: Counter[int],
    troubles: dict[str, str],
) -> None:
    signed_in = "/keys" in operation.path
    token = sandbox.id_token if signed_in else sandbox.api_key
    draw = random.Random(1)

    @settings(
        max_examples=examples, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        sandbox.reset()
        for name in case.path_parameters:
            # Random ids alone would meet nothing.
            if name in RECORDS and draw.random() < 0.7:
                case.path_parameters[name] = draw.choice(RECORDS[name])
        # The tool makes up a key of its own.
        case.headers["Authorization"] = f"Bearer {token}"
        response = case.call(base_url=sandbox.url)
        statuses[response.status_code] += 1
        trouble = _trouble(case, response)
        if trouble is not None:
            sent = f"{response.request.method} {response.request.url} {response.request.body!r}"
            troubles.setdefault(trouble, f"{sent[:600]} -> {response.status_code} {response.content[:300]!r}")

    # Where nothing can be wrong with a request, there are no such cases.
    try:
        run()
    except schemathesis.errors.SchemathesisError as error:
        if mode is GenerationMode.POSITIVE:
            troubles[type(error).__name__] = str(error)
    except Exception as error:
        if mode is GenerationMode.POSITIVE or "Unsatisfiable" not in type(error).__name__:
            raise


def _trouble(case: Any, response: Any) -> str | None:
    if response.status_code >= 500:
        return None if breaks_the_real_server(case, response.request) else "an answer of 500"
    if response.status_code < 300:
        try:
            case.operation.validate_response(response)
        except Exception as error:
            return f"an answer outside the schema ({type(error).__name__})"
        return None
    if "Authorization" not in response.request.headers and response.status_code in {401, 403}:
        # Sometimes the key is what the tool leaves out.
        return None
    if response.status_code not in REFUSALS:
        return f"an unexpected status {response.status_code}"
    detail = json.loads(response.content)["detail"]
    if isinstance(detail, list):
        fits = all({"loc", "msg", "type", "input"} <= set(each) for each in detail)
        return None if fits else "a refusal outside the schema"
    return None if isinstance(detail, str) else "a refusal that is no text"


def breaks_the_real_server(case: Any, request: Any) -> bool:
    """Return whether *request* is one of those that are known to be a 500 there as well."""
    ids = [unquote(part) for part in request.url.partition("?")[0].split("/")]
    if any(re.fullmatch(r"\.|\.\.|__.*__", name, re.DOTALL) or len(name.encode()) > 1500 for name in ids):
        return True
    body = case.body if isinstance(case.body, Mapping) else {}
    if case.path.startswith("/v1/dev/user/goals"):
        low, high = body.get("min_value"), body.get("max_value")
        unit, outcome = body.get("unit"), body.get("desired_outcome")
        if case.method == "PATCH":
            # One bound may be beyond the stored other one.
            crossed = low is not None or high is not None
        else:
            crossed = low is not None and high is not None and float(low) > float(high)
        long_unit = isinstance(unit, str) and len(unit) > 64
        return crossed or long_unit or (isinstance(outcome, str) and not outcome.strip())
    if not (case.method == "POST" and case.path.startswith("/v1/dev/user/conversations")):
        return False
    segments = body.get("transcript_segments") or []
    ends = [float(each["end"]) for each in segments if isinstance(each, Mapping) and each.get("end")]
    # A zone in one time only, or an end beyond the calendar.
    return any(body.get(name) for name in ("started_at", "finished_at")) or max(ends, default=0) > CALENDAR_SECONDS
