"""Bodies that may be left out, with their media type: the address says it all, and a body only who says so and why.

Not every shape without required fields is one: an empty `POST /api/pools/NAME/scale` would take a scale back that nobody meant.
"""

from amas.server.backup_shapes import NewBackup
from amas.server.desired_shapes import Wished, Word

BODILESS: frozenset[type] = frozenset({Word, Wished, NewBackup})
