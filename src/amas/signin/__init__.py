"""People who sign in on their own machine, for their commands and programs, with their organisation's account.

    provider.py   talks to the provider: device code, loopback, renewing, revoking
    kept.py       the file where sign-ins lie
    session.py    signs in, keeps the sign-in fresh, signs out

    with Client("https://fleet.example", auth=SignedIn("https://fleet.example")) as client: ...

The control plane says which provider that is (`GET /auth/commands`) and changes its tokens for its own, for a quarter of an
hour; then the provider is asked anew, so who is removed there is soon out here, too.
"""

from amas.signin.session import SignedIn

__all__ = ["SignedIn"]
