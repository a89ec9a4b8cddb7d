import asyncio

from amas import Amounts, Fleet

TEXT = "A pump in the harbour has kept the old dock dry since 1911. It ran for the last time on Monday."


async def main() -> None:
    async with Fleet.connect() as fleet:
        task = await fleet.submit("text.headline", TEXT, budget=Amounts(usd=0.01))
        result = await task.result(timeout_s=60)
        print(result["output"]["headline"])
        print(result["usage"]["calls"], "calls,", result["usage"]["tokens"], "tokens")


asyncio.run(main())
