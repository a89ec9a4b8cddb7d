"""What watchers see of a streamed answer."""

from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta, ToolCallPart, ToolCallPartDelta

from amas.agents.model_stream import EVERY_S, TAIL_CHARS, Teller


def word(text: str) -> PartDeltaEvent:
    return PartDeltaEvent(index=0, delta=TextPartDelta(content_delta=text))


def test_a_flood_of_words_is_a_note_now_and_then() -> None:
    told: list[str] = []
    now_s = 0.0
    teller = Teller(told.append, clock_s=lambda: now_s)
    teller.hear(PartStartEvent(index=0, part=TextPart(content="Once")))
    for n in range(1000):
        now_s = n * 0.01
        teller.hear(word(" more\n"))
    assert len(told) == 1 + round(9.99 // EVERY_S)
    assert told[0] == "Once"
    assert told[1].endswith("more more")
    assert all(len(note) <= TAIL_CHARS + 1 and "\n" not in note for note in told)
    assert told[-1].startswith("…")
    assert teller.chars == 4 + 6 * 1000


def test_a_structured_answer_is_seen_as_it_is_written() -> None:
    told: list[str] = []
    now_s = 0.0
    teller = Teller(told.append, clock_s=lambda: now_s)
    teller.hear(PartStartEvent(index=0, part=ToolCallPart("final_result", args='{"title": ')))
    now_s += EVERY_S
    teller.hear(PartDeltaEvent(index=0, delta=ToolCallPartDelta(args_delta='"Two"}')))
    assert told == ['{"title":', '{"title": "Two"}']
