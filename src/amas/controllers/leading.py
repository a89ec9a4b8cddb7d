"""What the leader's lease is called, and how long it is: said by who leads, and by who saw a leader's process end."""

DUTY = "controllers"
LEASE_S = 3.0
"""A dead leader's duties rest this long, unless its parent saw it die: half of a host's lease, so that it hardly adds to a host's
recovery. Its renewals are calls of the loop that serves and does the duties: less would be lost while that is busy."""
