"""What `make bench`, `make bench-peers` and `make bench-science` measure; nothing here is a test.

A part is one module of `parts/` with one idea: `async def measure(*, quick: bool) -> Measured`. `quick` makes the counts small
enough for a test, which only looks that every figure comes out. `results.json` holds all of them: flat keys first, which others
read, then `details` by part, which the page and the plots show.
"""
