"""TLS for the control plane's servers, 1.3 and nothing older; with AMAS_TLS_CA, only for who shows a certificate of it.

A renewed certificate is taken up while the servers run: whoever connects from then on gets it. One that can't be used changes
nothing, and the log says why. Where the file of AMAS_TLS_CA has revocation lists beside the authorities, who they name is
refused.
"""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from amas.errors import SettingInvalid
from amas.observe import events
from amas.observe.logging import process_log
from amas.settings import ServerSettings

LOOK_S = 5.0
"""Between looks at the files, which cost three system calls."""
SOON = timedelta(days=14)
"""Who renews by hand hears of it so long before; what renews by itself does it earlier (cert-manager: a third of the time)."""
SAID_EVERY = timedelta(days=1)
_LIST = b"BEGIN X509 CRL"


def tls_of(settings: ServerSettings) -> ssl.SSLContext | None:
    """Return what the servers speak TLS with, None where no certificate is set; SettingInvalid when it can't be used."""
    if settings.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load(settings, context)
    return context


def ends(certificate: Path, *, now: datetime) -> datetime:
    """Return when a certificate expires; SettingInvalid when that has been, or it doesn't count yet, or can't be read."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingInvalid(f"AMAS_TLS_CERT {certificate} can't be used: {error}") from error
    if found.not_valid_after_utc <= now:
        raise SettingInvalid(
            f"AMAS_TLS_CERT {certificate} has expired on {found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it"
        )
    if found.not_valid_before_utc > now:
        since = f"{found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise SettingInvalid(f"AMAS_TLS_CERT {certificate} doesn't count before {since}: compare the clocks")
    return found.not_valid_after_utc


def _load(settings: ServerSettings, context: ssl.SSLContext) -> None:
    """Put what the settings name into a context; SettingInvalid when it can't be used."""
    assert settings.tls_cert is not None, "it is asked for"
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        named = f"AMAS_TLS_CERT {settings.tls_cert} and AMAS_TLS_KEY {settings.tls_key}"
        raise SettingInvalid(f"{named} can't be used: {error.strerror or error}") from error
    ends(settings.tls_cert, now=datetime.now(UTC))
    if settings.tls_ca is not None:
        try:
            context.load_verify_locations(settings.tls_ca)
            if _LIST in settings.tls_ca.read_bytes():
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        except OSError as error:
            raise SettingInvalid(f"AMAS_TLS_CA {settings.tls_ca} can't be used: {error.strerror or error}") from error
        context.verify_mode = ssl.CERT_REQUIRED


class Renewal:
    """Has running servers take up what was renewed, and says when nothing was."""

    def __init__(self, settings: ServerSettings, context: ssl.SSLContext) -> None:
        """`context`: what the servers speak TLS with, by `tls_of`."""
        assert settings.tls_cert is not None, "where there is none nothing is renewed"
        self._settings, self._context, self._certificate = settings, context, settings.tls_cert
        self._seen = self._stamps()
        self._until, self._say_after = ends(self._certificate, now=datetime.now(UTC)), datetime.min.replace(tzinfo=UTC)

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            self.look(now=datetime.now(UTC))
            await asyncio.sleep(LOOK_S)

    def look(self, *, now: datetime) -> None:
        """Take up files that have changed, and say once a day when the certificate expires soon."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps  # a certificate whose key comes a moment later is another change
            self._take_up(now)
        if self._until - now < SOON and now >= self._say_after:
            self._say_after, until = now + SAID_EVERY, f"{self._until:%Y-%m-%d %H:%M} UTC"
            process_log().warning("the certificate expires: renew it", event=events.CERTIFICATE_EXPIRES, until=until)

    def _take_up(self, now: datetime) -> None:
        try:
            _load(self._settings, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # what can't be used mustn't get into use by half
            _load(self._settings, self._context)
            self._until = ends(self._certificate, now=now)
        except SettingInvalid as error:
            process_log().error("a new certificate can't be used", event=events.CERTIFICATE_REFUSED, reason=str(error))
            return
        self._say_after = now
        until = f"{self._until:%Y-%m-%d %H:%M} UTC"
        process_log().info("took up a new certificate", event=events.CERTIFICATE_RENEWED, until=until)

    def _stamps(self) -> list[tuple[int, int]]:
        """Return by what a change of the files is noticed."""
        found = []
        for path in (self._settings.tls_cert, self._settings.tls_key, self._settings.tls_ca):
            try:
                stat = path.stat() if path else None
            except OSError:  # it is being replaced
                stat = None
            found.append((stat.st_mtime_ns, stat.st_ino) if stat else (0, 0))
        return found
