"""Who gives a command, where nobody says it: this machine's user."""

import getpass


def me() -> str:
    """Return the user's name; `operator` for one without, as a container's may be."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
