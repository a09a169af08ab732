"""Certificates for loopback servers: an authority, a server certificate for 127.0.0.1/localhost, a token signer."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FOR = datetime.timedelta(days=2)
# Certificates are born a little before now, so that a clock a few seconds behind still takes them.
BORN_BEFORE = datetime.timedelta(minutes=5)


@dataclass(frozen=True)
class Signer:
    """A private key and the certificate that names it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def certificate_der(self) -> bytes:
        """The certificate as DER, as an ``x5c`` header wants it (before base64)."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM, unencrypted: it lives as long as one test session."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True)
class ServerFiles:
    """What a TLS server and its clients read."""

    ca_file: Path
    certificate_file: Path
    key_file: Path


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: str, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BORN_BEFORE)
        .not_valid_after(now + VALID_FOR)
    )


def authority(common_name: str) -> Signer:
    """A certificate authority that signed itself; it may also sign tokens, as leaf and root in one."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(common_name, _name(common_name), key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Signer(key, certificate)


def loopback_server(issuer: Signer, hosts: Sequence[str] = ()) -> Signer:
    """A server certificate for 127.0.0.1, ::1 and localhost, and for hosts that a test stands in for."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
            *(x509.DNSName(host) for host in hosts),
        ]
    )
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    certificate = (
        _builder("localhost", issuer.certificate.subject, key.public_key())
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return Signer(key, certificate)


def write_server_files(folder: Path, hosts: Sequence[str] = ()) -> ServerFiles:
    """Make an authority and a loopback server certificate, and write what server and clients need into ``folder``."""
    issuer = authority("modelpack live tests")
    server = loopback_server(issuer, hosts)
    files = ServerFiles(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    files.ca_file.write_bytes(issuer.certificate_pem)
    files.certificate_file.write_bytes(server.certificate_pem)
    files.key_file.write_bytes(server.key_pem)
    files.key_file.chmod(0o600)
    return files
