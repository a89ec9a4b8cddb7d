"""What authors did wrong: goals, fleets, schedules, submissions, messages. Import these from `amas.errors`."""

from typing import ClassVar

from amas.errors.base import Actor, AmasError


class GoalError(AmasError):
    """The goal can't be planned as it stands."""

    code = "goal_error"
    act = "author"


class NoPlaybook(GoalError):
    """No playbook answers this goal."""

    code = "no_playbook"


class PlanRefused(GoalError):
    """The plan broke a rule of the validator."""

    code = "plan_refused"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("the plan was refused: " + "; ".join(problems))
        self.problems = problems


class GoalOverBudget(GoalError):
    """What the plan takes at least is more than the goal's budget; nothing was started."""

    code = "goal_over_budget"

    def __init__(self, sums: list[str]) -> None:
        super().__init__("; ".join(sums) + ": raise the budget, or ask for less")
        self.sums = sums


class InputUnusable(GoalError):
    """The goal's input is missing, empty or can't be read."""

    code = "input_unusable"


class ScheduleInvalid(AmasError):
    """A schedule can never be due, or has nothing to submit."""

    code = "schedule_invalid"
    act = "author"


class ScheduleChanged(AmasError):
    """Somebody else changed or dropped a schedule between a look at it and a change of it: look again."""

    code = "schedule_changed"


class FleetError(AmasError):
    """The fleet or a playbook file is wrong."""

    code = "fleet_error"
    act: ClassVar[Actor] = "author"


class FleetFileInvalid(FleetError):
    """A file has a mistake: the message names file, line, field and the mend."""

    code = "fleet_file_invalid"

    def __init__(self, message: str, *, path: str, line: int, field: str) -> None:
        """`line`: 0 where it is about the file, or folder, as a whole."""
        at = f"{path}:{line}" if line else path
        super().__init__(f"{at}: {field}: {message}" if field else f"{at}: {message}")
        self.path, self.line, self.field = path, line, field


class DesiredChanged(FleetError):
    """Somebody else changed what is wanted of the fleet between a look at it and a change of it: look again."""

    code = "desired_changed"
    act = "nobody"


class RolloutRefused(FleetError):
    """A roll-out can't be started, approved, promoted or aborted as it stands; the message says why and what would do."""

    code = "rollout_refused"


class AlertsChanged(FleetError):
    """Somebody else changed an alert or a run-book's run meanwhile: look again, decide again."""

    code = "alerts_changed"
    act = "nobody"


class RunBookRefused(FleetError):
    """There is no such run-book, run or silence, or it can't do what was asked of it now."""

    code = "runbook_refused"


class SubmissionError(AmasError):
    """A submission was refused whole; nothing was stored."""

    code = "submission_error"
    act: ClassVar[Actor] = "author"


class DependencyUnknown(SubmissionError):
    """A task needs another that is neither in the batch nor in the engine."""

    code = "dependency_unknown"


class CapabilityUnknown(SubmissionError):
    """No agent of the fleet can do what a task needs."""

    code = "capability_unknown"


class QueueFull(SubmissionError):
    """As many tasks as a queue may hold wait in it already: nothing was stored, try again when some have begun."""

    code = "queue_full"

    def __init__(self, queue: str, *, depth: int, bound: int, wanted: int, room_in_s: float | None) -> None:
        """`wanted`: tasks of the submission that are for this queue. `room_in_s`: None where nobody can tell yet."""
        when = (
            f"there should be room in about {room_in_s:.1f} s" if room_in_s is not None else "nobody can tell when there is room"
        )
        never = f"; so many never fit, send at most {bound} at a time" if wanted > bound else f"; {when}"
        super().__init__(f"the queue {queue!r} holds {depth} tasks and takes at most {bound}, so {wanted} more don't fit{never}")
        self.queue, self.depth, self.bound, self.wanted, self.room_in_s = queue, depth, bound, wanted, room_in_s


class IdempotencyConflict(SubmissionError):
    """This idempotency key was used before with another body."""

    code = "idempotency_conflict"


class RequestUnderWay(SubmissionError):
    """The first request under this idempotency key isn't answered yet: send it again in a moment."""

    code = "request_under_way"
    act = "nobody"


class ExpressionInvalid(SubmissionError):
    """A condition or reference is no JMESPath expression, or can't be worked out."""

    code = "expression_invalid"


class FlowInvalid(SubmissionError):
    """A flow has mistakes; nothing of it was started."""

    code = "flow_invalid"

    def __init__(self, name: str, problems: list[str]) -> None:
        shown = problems[:20]
        more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        super().__init__(f"the flow {name!r} can't start: {'; '.join(shown)}{more}")
        self.problems = problems


class PayloadTooLarge(SubmissionError):
    """An input, result or step is larger than may be carried, or too large for the engine while no artifact store is known."""

    code = "payload_too_large"


class MessageError(AmasError):
    """A message was not sent."""

    code = "message_error"
    act: ClassVar[Actor] = "author"


class MessageForbidden(MessageError):
    """The hierarchy doesn't let this sender send this to that recipient; it was audited."""

    code = "message_forbidden"


class MessageRefused(MessageError):
    """A message is forged, replayed, too old or expired, or has no such recipient; nobody got it."""

    code = "message_refused"


class InboxFull(MessageError):
    """As many messages as an inbox may hold wait in it already: nothing was stored, try again after `retry_after_s` seconds."""

    code = "inbox_full"

    def __init__(self, agent_id: str, *, held: int, retry_after_s: float) -> None:
        full = f"the inbox of {agent_id!r} holds {held} messages and takes no more"
        rationed = f"{agent_id!r} gets no more of this sender now, which has filled inboxes that nobody reads"
        super().__init__(f"{full if held else rationed}: try again in {retry_after_s:g} s")
        self.agent_id, self.held, self.retry_after_s = agent_id, held, retry_after_s


class ReplyOverdue(MessageError):
    """Nobody answered a request in the time that it gave."""

    code = "reply_overdue"
    act = "nobody"


class DeliveryUnreadable(AmasError):
    """A folder holds no record of a delivery that could be read."""

    code = "delivery_unreadable"
    act = "author"


class AccessError(AmasError):
    """An API key can't be made or revoked as it was asked."""

    code = "access_error"
    act = "author"


class KeyUnknown(AccessError):
    """No API key has this prefix."""

    code = "key_unknown"


class TokenRefused(AccessError):
    """An agent's token doesn't count."""

    code = "token_refused"


class TokenExpired(TokenRefused):
    """Its 24 hours are over: ask for a new one."""

    code = "token_expired"


class TokenForged(TokenRefused):
    """It isn't one that this fleet has signed."""

    code = "token_forged"


class TokenForAnother(TokenRefused):
    """It is for another audience, or another issuer's."""

    code = "token_for_another"


class TokenKeyUnknown(TokenRefused):
    """The key that signed it isn't one of this fleet's, or not any more."""

    code = "token_key_unknown"


class TokenRevoked(TokenRefused):
    """Its agent's tokens were revoked, or its agent is no more."""

    code = "token_revoked"


class SignInRefused(AccessError):
    """Who somebody is wasn't proved, or nothing was granted to them."""

    code = "sign_in_refused"


class WebhookError(AmasError):
    """A webhook can't be kept or found as it was asked."""

    code = "webhook_error"
    act = "author"


class WebhookUnknown(WebhookError):
    """No webhook has this id."""

    code = "webhook_unknown"


class WebhooksFull(WebhookError):
    """There are as many webhooks as are kept: remove one first."""

    code = "webhooks_full"
