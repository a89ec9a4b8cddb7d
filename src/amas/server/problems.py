"""Errors as RFC 9457 problem details: the one place where amas's error tree meets HTTP.

A problem's `type` is `urn:amas:problem:<code>` and stays; `detail` is one sentence for people. Who must act decides the status:
an author's mistake is 4xx, an operator's trouble is 503 with Retry-After, and anything unforeseen is a bare 500.
Source: https://www.rfc-editor.org/rfc/rfc9457
"""

import math
import re
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from amas import errors
from amas.observe import events
from amas.observe.logging import process_log
from amas.server.meant import told
from amas.server.patterns import in_words, words_of

PROBLEM_TYPE = "urn:amas:problem:"
MEDIA_TYPE = "application/problem+json"
TRACEBACK_CHARS_MAX = 8000
"""The end of a traceback names the place."""
RETRY_AFTER_S = 2
"""A killed engine is back within two seconds; a full disk isn't, but asking again costs nothing."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong with a request."""

    detail: str
    pointer: str = ""
    """Where in the body: a JSON pointer as a URI fragment, `#/retry/retries`."""
    parameter: str = ""
    """Which path, query or header parameter."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    """The last part of `type`."""
    errors: tuple[Fault, ...] = ()
    task_id: str = ""
    """The task that failed or was cancelled, where the result of one was asked for."""
    error_code: str = ""
    """What its agent called the failure."""


STATUS: tuple[tuple[type[errors.AmasError], int], ...] = (
    (errors.TaskUnknown, 404),
    (errors.WorkflowUnknown, 404),
    (errors.AgentUnknown, 404),
    (errors.LimitUnknown, 404),
    (errors.AgentTaken, 409),
    (errors.AgentsFull, 503),
    (errors.AttemptStale, 409),
    (errors.SessionLost, 410),
    (errors.ScheduleUnknown, 404),
    (errors.ScheduleInvalid, 422),
    (errors.ScheduleChanged, 412),
    (errors.TaskFailed, 409),
    (errors.TaskCancelled, 409),
    (errors.SignalRefused, 409),
    (errors.ResetRefused, 409),
    (errors.PayloadTooLarge, 413),
    (errors.QueueFull, 429),
    (errors.MessageForbidden, 403),
    (errors.InboxFull, 429),
    (errors.ReplyOverdue, 504),
    (errors.MessageError, 422),
    (errors.SecretUnreadable, 503),
    (errors.SealError, 503),
    (errors.SettingInvalid, 503),
    (errors.IdempotencyConflict, 409),
    (errors.RequestUnderWay, 409),
    (errors.SubmissionError, 422),
    (errors.GoalError, 422),
    (errors.KeyUnknown, 404),
    (errors.TokenRefused, 401),
    (errors.SignInRefused, 403),
    (errors.WebhookUnknown, 404),
    (errors.WebhookError, 409),
    (errors.AccessError, 409),
    (errors.ProviderFailed, 503),
    (errors.AuditError, 503),
    (errors.AlertsChanged, 409),
    (errors.RunBookRefused, 409),
    (errors.DesiredChanged, 409),
    (errors.FleetError, 422),
    (errors.BackupUnknown, 404),
    (errors.BackupBusy, 409),
    (errors.BackupError, 503),
    (errors.ArtifactLost, 410),
    (errors.ArtifactError, 503),
    (errors.EngineError, 503),
    (errors.RecordsError, 503),
    (errors.PlatformError, 503),
)
"""First match wins, so the narrow stand before the wide."""


class Refusal(Exception):
    """A request that this server can't take, with all that is in the way: mostly a body or parameter that breaks the contract."""

    def __init__(self, *faults: Fault, status: int = 422, code: str = "request_invalid") -> None:
        super().__init__("; ".join(fault.detail for fault in faults))
        self.faults, self.status, self.code = faults, status, code


def problem(status: int, code: str, detail: str, **more: object) -> Problem:
    """Return a problem; its title is the status's own phrase."""
    return Problem(
        type=PROBLEM_TYPE + code,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        **more,  # type: ignore[arg-type]
    )


def problem_response(found: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that carries a problem."""
    extra = dict(headers or {})
    if found.status in (429, 503):
        extra.setdefault("retry-after", str(RETRY_AFTER_S))
    return Response(msgspec.json.encode(found), found.status, extra, MEDIA_TYPE)


def of_error(error: errors.AmasError) -> Problem:
    """Return the problem that stands for one of our errors."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    more = {"task_id": error.task_id, "error_code": error.error_code} if isinstance(error, errors.TaskFailed) else {}
    return problem(status, error.code, str(error), **more)


def answer_to(error: errors.AmasError | Refusal) -> Response:
    """Return the response that tells of one of our errors."""
    if isinstance(error, Refusal):
        return problem_response(problem(error.status, error.code, str(error), errors=error.faults))
    headers = {}
    if isinstance(error, errors.QueueFull) and error.room_in_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.room_in_s)))
    if isinstance(error, errors.InboxFull):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    return problem_response(of_error(error), headers)


_PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_PART = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def fault_of(error: msgspec.ValidationError, shape: Any = None, *, within: str = "") -> Fault:
    """Return msgspec's complaint with its place as a pointer; `within` is the pointer of what was being read, as a `shape`."""
    text = str(error)
    place = _PLACE.search(text)
    parts = [name or index for name, index in _PART.findall(place["path"])] if place else []
    if "..." in parts:  # msgspec doesn't say which key: the pointer names the object
        parts = parts[: parts.index("...")]
    detail = in_words(told(_PLACE.sub("", text), shape, parts))
    return Fault(detail=detail, pointer="#" + within + "".join(f"/{part}" for part in parts))


def _of_validation(error: RequestValidationError) -> Problem:
    faults = tuple(Fault(detail=_of_parameter(one), parameter=str(one["loc"][-1])) for one in error.errors()[:20])
    return problem(422, "request_invalid", "; ".join(fault.detail for fault in faults), errors=faults)


def _of_parameter(found: Mapping[str, Any]) -> str:
    """Return what is wrong with one parameter."""
    name = found["loc"][-1]
    if found["type"] == "string_pattern_mismatch":
        return f"{name} {words_of(found['ctx']['pattern'])}, not {found['input']!r}"
    wanted = str(found["msg"]).removeprefix("Input ")
    return f"{name} {wanted}, not {found['input']!r:.80}" if wanted != found["msg"] else f"{found['msg']}: {name}"


_HTTP_CODES = {404: "route_unknown", 405: "method_unknown"}


def install(app: FastAPI) -> None:
    """Have every error of `app` answered as a problem."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, errors.AmasError | Refusal)
        return answer_to(error)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(_of_validation(error))

    async def bottomless(_: Request, error: Exception) -> Response:
        del error  # its traceback is a thousand times the same line
        return problem_response(problem(400, "body_malformed", "the body is nested too deeply"))

    async def too_wide(request: Request, error: Exception) -> Response:
        if "serialize ints" not in str(error):
            return await unforeseen(request, error)
        what = "an integer in the body is too large: those from -2^63 to 2^64-1 are taken, write others as texts"
        return problem_response(problem(422, "request_invalid", what))

    async def gone(_: Request, error: Exception) -> Response:
        del error
        return problem_response(problem(400, "body_malformed", "the body ended before its end"))  # nobody is there to read it

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _HTTP_CODES.get(error.status_code, "http_error")
        detail = {
            404: f"there is no {request.url.path} here; /openapi.json lists what there is",
            405: f"{request.url.path} doesn't take {request.method}",
        }.get(error.status_code, str(error.detail))
        return problem_response(problem(error.status_code, code, detail), error.headers)

    async def unforeseen(request: Request, error: Exception) -> Response:
        where = "".join(traceback.format_exception(error))[-TRACEBACK_CHARS_MAX:]
        process_log().error(
            "a request failed in an unforeseen way", event=events.REQUEST_FAILED, path=request.url.path, traceback=where
        )
        return problem_response(problem(500, "internal_error", "something went wrong here; the control plane's log says what"))

    app.add_exception_handler(errors.AmasError, ours)
    app.add_exception_handler(Refusal, ours)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(RecursionError, bottomless)
    app.add_exception_handler(OverflowError, too_wide)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unforeseen)
