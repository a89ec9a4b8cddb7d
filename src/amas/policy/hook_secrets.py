"""What posts to a webhook are signed with: a secret that the webhook names, or one that follows from the fleet's own.

The fleet's is AMAS_MESSAGE_SECRET, or the file in its home: a webhook's is derived from it with a label of its own, as agents'
keys are, so it is kept nowhere and tells nothing of any other. A named one is a variable of the control plane whose name begins
with AMAS_WEBHOOK_SECRET, so that nobody who may register a webhook has posts signed with what isn't meant for it; the variable
may refer on to any place of `amas.secrets`.
"""

import hmac
import os
import re
from base64 import b64encode

from amas.errors import SettingInvalid
from amas.policy.outbound import ENCODED
from amas.variables import secret_of

REFERENCE = re.compile(r"env:(AMAS_WEBHOOK_SECRET(?:_[A-Z0-9_]{1,60})?)")
_LABEL = b"amas webhook key 1\0"


def secret_for(hook_id: str, reference: str, *, fleet_secret: str) -> str:
    """Return the secret of a webhook; SettingInvalid where there is none to be had."""
    if not reference:
        if not fleet_secret:
            raise SettingInvalid("the fleet has no secret that a webhook's could follow from: set AMAS_MESSAGE_SECRET")
        return ENCODED + b64encode(hmac.digest(fleet_secret.encode(), _LABEL + hook_id.encode(), "sha256")).decode()
    named = REFERENCE.fullmatch(reference)
    if named is None:
        raise SettingInvalid(f"{reference!r} is no webhook's secret: name a variable such as env:AMAS_WEBHOOK_SECRET_CI")
    found = secret_of(named[1], os.environ.get(named[1], ""))
    if not found:
        raise SettingInvalid(f"{named[1]} isn't set where the control plane runs")
    return found
