import asyncio

from amas import Fleet


async def main() -> None:
    async with Fleet.connect() as fleet:
        task = await fleet.submit("text.look", "pears\napples\npears and plums\npears\n")
        told = await task.result(timeout_s=60)
        for name in ("words", "lines", "refused"):
            print(f"{name}: {told.get(name)}")


asyncio.run(main())
