"""What the API refuses, as errors: by the status of the problem (RFC 9457), whose `code` is stable.

RestError
├── Invalid       400, 413, 415, 422: what was sent; `errors` says where
├── Forbidden     401, 403: who asks
├── NotFound      404
├── Conflict      409, 412: as things stand
├── Gone          410
├── Busy          429, 503, 504: later, and the client has tried for as long as it was told to
└── Unreachable   nobody answered
"""

import msgspec


class Place(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request."""

    detail: str
    pointer: str = ""
    parameter: str = ""


class Problem(msgspec.Struct, frozen=True):
    """An error as the API tells it."""

    code: str = ""
    detail: str = ""
    errors: tuple[Place, ...] = ()


class RestError(Exception):
    """The API said no."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(_sentence(problem) or f"the API answered {status}")
        self.status, self.code, self.errors = status, problem.code, problem.errors


class Invalid(RestError):
    """What was sent can't be taken."""


class Forbidden(RestError):
    """Who asks may not."""


class NotFound(RestError):
    """There is no such thing."""


class Conflict(RestError):
    """It can't be as things stand."""


class Gone(RestError):
    """It was there."""


class Busy(RestError):
    """It can't be now."""


class Unreachable(RestError):
    """Nobody answered."""


_KINDS: dict[int, type[RestError]] = {
    **dict.fromkeys((400, 413, 415, 422), Invalid),
    **dict.fromkeys((401, 403), Forbidden),
    404: NotFound,
    **dict.fromkeys((409, 412), Conflict),
    410: Gone,
    **dict.fromkeys((429, 503, 504), Busy),
}


def _sentence(problem: Problem) -> str:
    """Return what is wrong, and where: "Expected `str`, got `int` (#/capability)"."""
    where = [place.pointer or place.parameter for place in problem.errors]
    unsaid = [place for place in where if place and place not in problem.detail]
    return f"{problem.detail} ({', '.join(unsaid)})" if unsaid else problem.detail


def error_of(status: int, body: bytes) -> RestError:
    """Return the error that an answer stands for."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        problem = Problem(detail=f"the API answered {status}")
    return _KINDS.get(status, RestError)(status, problem)


def unreachable(error: Exception, *, url: str) -> Unreachable:
    """Return the error that stands for no answer."""
    return Unreachable(0, Problem(code="unreachable", detail=f"{url} doesn't answer: {error or type(error).__name__}"))
