"""Checks of certificates before they are used (``qcrypto_tls_creds_x509_sanity_check``)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from qmpd.errors import GenericError
from qmpd.machine.tls.certificate import (
    ANY_PURPOSE,
    ENCIPHERS_KEYS,
    FOR_CLIENTS,
    FOR_SERVERS,
    SIGNS,
    SIGNS_CERTIFICATES,
    Certificate,
    read_certificates,
)
from qmpd.machine.tls.session import reason_of

_FLIGHTS: Final = 6
"""How often the two sides of a handshake have their turn, at most."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A certificate and its key, in files as ssl wants them.

    `shown` is what messages call the certificate, `shown_key` the key.
    """

    certificate: str
    key: str
    password: bytes
    shown: str
    shown_key: str

    def load(self, context: ssl.SSLContext) -> None:
        """Have a context show the certificate.

        :raises GenericError: they do not belong together, or the key cannot be read
        """
        try:
            context.load_cert_chain(self.certificate, self.key, self.password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise GenericError(
                f"Cannot load certificate '{self.shown}' & key '{self.shown_key}': {reason}"
            ) from None


def check_own(pem: str, path: str, *, server: bool) -> None:
    """Check the certificate that is shown to the other side.

    :raises GenericError: it will not do
    """
    side = "server" if server else "client"
    try:
        certificate = read_certificates(pem)[0]
    except ValueError as error:
        raise GenericError(f"Unable to import {side} certificate {path}: {error}") from None
    _check_times(certificate, f"The {side} certificate {path}")
    if certificate.is_authority:
        raise GenericError(
            f"The certificate {path} basic constraints show a CA, but we need one for a {side}"
        )
    usages = certificate.usages
    if usages is not None and certificate.usage_is_critical:
        if SIGNS not in usages:
            raise GenericError(f"Certificate {path} usage does not permit digital signature")
        if ENCIPHERS_KEYS not in usages:
            raise GenericError(f"Certificate {path} usage does not permit key encipherment")
    wanted = FOR_SERVERS if server else FOR_CLIENTS
    purposes = certificate.purposes
    if (
        purposes is not None
        and certificate.purpose_is_critical
        and purposes.isdisjoint((wanted, ANY_PURPOSE))
    ):
        raise GenericError(f"Certificate {path} purpose does not allow use with a TLS {side}")


def check_authority(pem: str, path: str) -> None:
    """Check the certificates that sign those of the other side.

    :raises GenericError: they will not do
    """
    try:
        certificates = read_certificates(pem)
    except ValueError:
        raise GenericError(f"Unable to import CA certificate list {path}") from None
    for certificate in certificates:
        _check_times(certificate, f"The CA certificate {path}")
        if certificate.is_authority is None:
            raise GenericError(f"The certificate {path} is missing basic constraints for a CA")
        if not certificate.is_authority:
            raise GenericError(f"The certificate {path} basic constraints do not show a CA")
        usages = certificate.usages
        if (
            usages is not None
            and certificate.usage_is_critical
            and SIGNS_CERTIFICATES not in usages
        ):
            raise GenericError(f"Certificate {path} usage does not permit certificate signing")


def _check_times(certificate: Certificate, what: str) -> None:
    now = datetime.now(UTC)
    if certificate.ends < now:
        raise GenericError(f"{what} has expired")
    if certificate.begins > now:
        raise GenericError(f"{what} is not yet active")


def check_pair(chain: Chain, trusted: str, authority: str, *, server: bool) -> None:
    """Check that the authority has signed the own certificate: in a session with oneself.

    :param trusted: the certificates of the authority, and `authority` their file
    :raises GenericError: it has not
    """
    roles = ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT
    shows, checks = (ssl.SSLContext(role) for role in (roles if server else reversed(roles)))
    for context in (shows, checks):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    chain.load(shows)
    if not server:
        # a server has to show one: nobody looks at it
        chain.load(checks)
    checks.load_verify_locations(cadata=trusted)
    checks.verify_mode = ssl.CERT_REQUIRED
    try:
        _shake_hands(shows, checks, server=server)
    except ssl.SSLCertVerificationError as error:
        raise GenericError(
            f"Our own certificate {chain.shown} failed validation against {authority}:"
            f" {reason_of(error)}"
        ) from None
    except ssl.SSLError:
        # what else may go wrong real sessions will tell
        return


def _shake_hands(shows: ssl.SSLContext, checks: ssl.SSLContext, *, server: bool) -> None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    waiting = [
        checks.wrap_bio(down, up, server_side=not server),
        shows.wrap_bio(up, down, server_side=server),
    ]
    for _ in range(_FLIGHTS):
        for session in list(waiting):
            try:
                session.do_handshake()
                waiting.remove(session)
            except ssl.SSLWantReadError:
                continue
