"""What watchers see of an answer while a model writes it: the end of the text so far, now and then.

Notes go through `Context.progress`, of which a host sends the last one of each attempt a few times a second, so neither a long
answer nor a fast model fills the journal. The text is for people's eyes: the answer itself comes from the stream's end.
"""

from collections.abc import Callable

from pydantic_ai.messages import (
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)

from amas.clock import monotonic_s

EVERY_S = 0.5
"""Twice a second is as fast as people read on."""
TAIL_CHARS = 200
"""Of the text so far: a line or two."""


class Teller:
    """Tells the end of a text that grows."""

    def __init__(self, tell: Callable[[str], None], *, clock_s: Callable[[], float] = monotonic_s) -> None:
        self._tell, self._clock_s = tell, clock_s
        self._told_s = float("-inf")
        self._tail = ""
        self.chars = 0

    def hear(self, event: ModelResponseStreamEvent) -> None:
        """Take what a stream brought, and tell it unless something was told just now."""
        if not (text := _text(event)):
            return
        self.chars += len(text)
        self._tail = (self._tail + text)[-TAIL_CHARS:]
        now_s = self._clock_s()
        if now_s - self._told_s >= EVERY_S:
            self._told_s = now_s
            shown = " ".join(self._tail.split())
            self._tell(f"…{shown}" if self.chars > TAIL_CHARS else shown)


def _text(event: ModelResponseStreamEvent) -> str:
    """Return what the model wrote: words, or a call's arguments, in which a structured answer comes."""
    match event:
        case PartStartEvent(part=TextPart(content=str(text))) | PartStartEvent(part=ToolCallPart(args=str(text))):
            return text
        case PartDeltaEvent(delta=TextPartDelta(content_delta=str(text))):
            return text
        case PartDeltaEvent(delta=ToolCallPartDelta(args_delta=str(text))):
            return text
        case _:
            return ""
