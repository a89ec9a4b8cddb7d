"""What went wrong between two who speak TLS, in words: for whoever reads why something can't be reached. Pure.

An error of TLS mostly comes wrapped in a driver's; what the other side objects to comes as its alert (RFC 8446, 6.2). The codes
are OpenSSL's: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/.
"""

import ssl
from collections.abc import Iterator

_OTHERS = {
    9: "its certificate isn't valid yet: compare the clocks",
    10: "its certificate has expired: renew it",
    18: "{untrusted}",
    19: "{untrusted}",
    20: "{untrusted}",
    21: "{untrusted}",
    23: "its certificate was revoked: give it another",
    62: "its certificate is for another name than the one in the address: use that name, or give it one for this",
    64: "its certificate isn't for this IP address: use the name that it is for, or give it one for this",
}
"""By the code that the check of its certificate ended with."""
_UNTRUSTED = "its certificate is of an authority that isn't trusted here: name that with {trusted_by}"
_OWN = {
    "CERTIFICATE_REQUIRED": "it asks for a certificate, and none was shown: name one with {shown_by}",
    "UNKNOWN_CA": "it doesn't trust the authority of the certificate that {shown_by} names",
    "CERTIFICATE_EXPIRED": "the certificate that {shown_by} names has expired: renew it",
    "CERTIFICATE_REVOKED": "the certificate that {shown_by} names was revoked: get another",
    "BAD_CERTIFICATE": "it doesn't take the certificate that {shown_by} names",
    "CERTIFICATE_UNKNOWN": "it doesn't take the certificate that {shown_by} names",
    "UNSUPPORTED_CERTIFICATE": "the certificate that {shown_by} names isn't one for clients",
    "PROTOCOL_VERSION": "it doesn't speak TLS 1.3, and nothing older is spoken here",
    "UNSUPPORTED_PROTOCOL": "it doesn't speak TLS 1.3, and nothing older is spoken here",
    "WRONG_VERSION_NUMBER": "it doesn't speak TLS at this port",
}
"""By the end of the reason that OpenSSL gives."""
_ENDED = "it ended the connection: if it asks for certificates, let {shown_by} name one that it trusts and that hasn't expired"
"""Its alert mostly gets lost: with TLS 1.3 we are writing already when it looks at what we have shown."""


def tls_words(error: BaseException, *, trusted_by: str, shown_by: str) -> str:
    """Return why a connection with TLS failed, to stand behind the other's name and a colon; "" where TLS has no part in it.

    `trusted_by`, `shown_by`: what names the authorities that are trusted, and the certificate that is shown.
    """
    words = next(filter(None, map(_words, _chain(error))), "")
    return words.replace("{untrusted}", _UNTRUSTED).replace("{trusted_by}", trusted_by).replace("{shown_by}", shown_by)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _OTHERS.get(error.verify_code, f"its certificate can't be trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return next((said for end, said in _OWN.items() if reason.endswith(end)), f"TLS failed: {reason or error}")
    return _ENDED if isinstance(error, ConnectionResetError | BrokenPipeError) else ""
