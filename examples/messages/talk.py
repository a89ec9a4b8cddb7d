import asyncio

from amas import Fleet

TEXT = "The boiler stands at 15 psi and weighs 900 lb."


async def main() -> None:
    async with Fleet.connect() as fleet:
        review = await fleet.submit("text.review", TEXT)
        print(await review.result(timeout_s=30))
        edit = await fleet.submit("text.edit")
        print(*await edit.result(timeout_s=30), sep="\n")


asyncio.run(main())
