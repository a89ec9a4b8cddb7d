"""A reviewer that asks a specialist for help, and tells its team what it found."""

import re

from amas import BaseAgent, Context, Message, MessageContext, MessageType, agent

SI = {"psi": (6.895, "kPa"), "mph": (1.609, "km/h"), "lb": (0.4536, "kg")}


@agent("text.review")
async def review(task: Context) -> list[str]:
    found = []
    for value, unit in re.findall(r"([\d.]+) (psi|mph|lb)\b", task.input):
        answer = await task.request("unit-expert-1", {"value": float(value), "unit": unit})
        found.append(f"{value} {unit} is {answer.payload}")
    await task.send("editor-1", MessageType.SHARE_FINDINGS, found)
    return found


class UnitExpert(BaseAgent):
    async def process_task(self, task: Context) -> str:
        return _in_si(task.input)

    async def on_message(self, ctx: MessageContext, message: Message) -> None:
        await ctx.reply(message, _in_si(message.payload))


def _in_si(quantity: dict) -> str:
    factor, unit = SI[quantity["unit"]]
    return f"{quantity['value'] * factor:.1f} {unit}"


@agent("text.edit")
async def edit(task: Context) -> list[str]:
    mail = await task.receive(wait_s=10)
    lines = [f"{message.sender}: {line}" for message in mail for line in message.payload]
    await task.acknowledge(mail)
    return lines
