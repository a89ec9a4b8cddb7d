"""What is said of TLS that failed, however deep in other errors it lies."""

import ssl

import pytest

from amas.errors.tls import tls_words


def alert(reason: str) -> ssl.SSLError:
    made = ssl.SSLError(1, "[SSL] something")
    made.reason = reason
    return made


def wrapped(error: Exception) -> Exception:
    try:
        try:
            raise error
        except OSError as inner:
            raise ValueError("a driver's own") from inner
    except ValueError as outer:
        return outer


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "it asks for a certificate, and none was shown: name one with MINE"),
        ("TLSV1_ALERT_UNKNOWN_CA", "it doesn't trust the authority of the certificate that MINE names"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "the certificate that MINE names has expired: renew it"),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", "the certificate that MINE names was revoked: get another"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "it doesn't speak TLS 1.3, and nothing older is spoken here"),
        ("WRONG_VERSION_NUMBER", "it doesn't speak TLS at this port"),
        ("SOMETHING_NEW", "TLS failed: SOMETHING_NEW"),
    ],
)
def test_an_alert_is_a_sentence(reason: str, words: str) -> None:
    assert tls_words(wrapped(alert(reason)), trusted_by="THEIRS", shown_by="MINE") == words


def test_what_has_nothing_to_do_with_tls_says_nothing() -> None:
    assert tls_words(wrapped(ConnectionRefusedError(111, "refused")), trusted_by="", shown_by="") == ""
    assert "let MINE name one" in tls_words(wrapped(ConnectionResetError(104, "reset")), trusted_by="", shown_by="MINE")
