"""Whom clients of a fleet on this machine trust: the control plane's very certificate, which its home names.

Called by the command line and by programs; imports nothing that would make a command start later.
"""

import os
import ssl

from amas.errors import FleetNotRunning


def trusting(certificate: str) -> ssl.SSLContext:
    """Return a context that trusts the certificate in this file, whatever names stand in it, and shows AMAS_TLS_CLIENT's.

    FleetNotRunning where either can't be read.
    """
    try:
        context = ssl.create_default_context(cafile=certificate)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.check_hostname = False  # it is this very certificate that is trusted
        if mine := os.environ.get("AMAS_TLS_CLIENT", ""):
            certificate = mine
            context.load_cert_chain(mine)
    except OSError as error:
        why = f"{error.filename or certificate} can't be read as certificates: {error.strerror or error}"
        raise FleetNotRunning(f"the fleet's API speaks TLS, and {why}") from error
    return context
