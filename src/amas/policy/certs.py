"""A certificate authority for development: what `amas certs` writes, so that TLS can be tried without asking anybody.

    ca.pem, ca.key            the authority; kept when they are there already, so that what trusts it goes on doing so
    server.pem, server.key    for the control plane, by the names and addresses that were asked for
    client.pem                a certificate with its key in one file, for commands where clients must show one

Keys are 0600. In production certificates come from elsewhere (cert-manager, a company's own authority, Let's Encrypt).
"""

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from amas.errors import SettingInvalid

CA_DAYS, DAYS = 3650, 90
"""Certificates are renewed every 90 days: run it again."""
SKEW = timedelta(minutes=5)
"""Clocks differ: a certificate that is made now is good a little earlier."""


def make_certificates(folder: Path, names: list[str]) -> None:
    """Write new certificates for a server of these names or addresses and for a client, and the authority where there is none."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority, key = _authority(folder)
        server, server_key = _issue(authority, key, names[0], names)
        _write(folder / "server.pem", _pem(server), mode=0o644)
        _write(folder / "server.key", _pem_key(server_key))
        client, client_key = _issue(authority, key, "amas client", [])
        _write(folder / "client.pem", _pem(client) + _pem_key(client_key))
    except (OSError, ValueError) as error:
        raise SettingInvalid(f"certificates can't be made in {folder}: {error}") from error


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate, key_file = folder / "ca.pem", folder / "ca.key"
    if certificate.exists():
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise OSError(f"{key_file} isn't a key that this command made")
        return x509.load_pem_x509_certificate(certificate.read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("amas development CA")
    builder = _builder(name, name, key.public_key(), CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = builder.add_extension(_usage(signs_certificates=True), critical=True).sign(key, hashes.SHA256())
    _write(key_file, _pem_key(key))
    _write(certificate, _pem(made), mode=0o644)
    return made, key


def _issue(
    authority: x509.Certificate, key: ec.EllipticCurvePrivateKey, title: str, names: list[str]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    own = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = _builder(_name(title), authority.subject, own.public_key(), DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    return builder.sign(key, hashes.SHA256()), own


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - SKEW)
    builder = builder.not_valid_after(now + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(title: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title[:64])])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(content)
    fresh.replace(path)
