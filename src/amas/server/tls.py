"""TLS for the control plane's servers, 1.3 and nothing older; with AMAS_TLS_CA, only for who shows a certificate of it."""

import ssl

from amas.errors import SettingInvalid
from amas.settings import ServerSettings


def tls_of(settings: ServerSettings) -> ssl.SSLContext | None:
    """Return what the servers speak TLS with, None where no certificate is set; SettingInvalid when it can't be used."""
    if settings.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        named = f"AMAS_TLS_CERT {settings.tls_cert} and AMAS_TLS_KEY {settings.tls_key}"
        raise SettingInvalid(f"{named} can't be used: {error.strerror or error}") from error
    if settings.tls_ca is not None:
        try:
            context.load_verify_locations(settings.tls_ca)
        except OSError as error:
            raise SettingInvalid(f"AMAS_TLS_CA {settings.tls_ca} can't be used: {error.strerror or error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
