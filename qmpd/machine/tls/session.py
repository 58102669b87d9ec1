"""One end of a TLS session (crypto/tlssession.c), in memory."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from qmpd.errors import GenericError
from qmpd.loop.stream import Disconnected

_PIECE: Final = 1 << 18
_ENDED: Final = "The TLS connection was non-properly terminated."

_REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        **dict.fromkeys((18, 19, 20, 21), "The certificate hasn't got a known issuer"),
        23: "The certificate has been revoked",
    }
)
"""Why a certificate is not accepted, by OpenSSL's number of it."""

_NO_MATCH: Final = (62, 64)
"""OpenSSL's numbers for a certificate that is for another host."""

_SHORT_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "commonName": "CN",
        "countryName": "C",
        "stateOrProvinceName": "ST",
        "localityName": "L",
        "organizationName": "O",
        "organizationalUnitName": "OU",
        "streetAddress": "STREET",
        "userId": "UID",
        "domainComponent": "DC",
        "emailAddress": "EMAIL",
    }
)


def reason_of(error: ssl.SSLCertVerificationError) -> str:
    """Why a certificate is not accepted (``qcrypto_tls_session_check_certificate``)."""
    return _REASONS.get(error.verify_code, "The certificate is not trusted")


class SslCipher:
    """A `qmpd.loop.secure.Cipher` of the ssl module.

    :param hostname: what the certificate of a server has to be for
    :param check: looks at a session once it has begun; raises GenericError to end it
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        check: Callable[[ssl.SSLObject], None],
        *,
        server: bool,
        hostname: str | None = None,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._check = check
        self._hostname = hostname
        try:
            self._session = context.wrap_bio(
                self._incoming, self._outgoing, server_side=server, server_hostname=hostname
            )
        except ValueError:
            raise _other_host(hostname) from None

    def handshake(self) -> bool:
        """Go on with the handshake; returns whether it is done.

        :raises GenericError: it has failed
        """
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in _NO_MATCH:
                raise _other_host(self._hostname) from None
            raise GenericError(reason_of(error)) from None
        except ssl.SSLEOFError:
            raise GenericError(f"TLS handshake failed: {_ENDED}") from None
        except ssl.SSLError as error:
            raise GenericError(f"TLS handshake failed: {error.reason or error}") from None
        self._check(self._session)
        return True

    def feed(self, data: bytes) -> None:
        """Take bytes of the wire; none: there are no more."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def outgoing(self) -> bytes:
        """Take what is to go out by the wire."""
        return self._outgoing.read()

    def read(self) -> bytes:
        """Take plain bytes, as many as there are.

        :raises Disconnected: there will be no more
        """
        try:
            data = self._session.read(_PIECE)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError:
            raise Disconnected(f"Cannot read from TLS channel: {_ENDED}") from None
        if not data:
            raise Disconnected
        return data

    def write(self, data: bytes) -> None:
        """Encrypt plain bytes.

        :raises Disconnected: the session has ended
        """
        view = memoryview(data)
        try:
            while view:
                view = view[self._session.write(view) :]
        except ssl.SSLError:
            raise Disconnected from None


def _other_host(hostname: str | None) -> GenericError:
    return GenericError(f"Certificate does not match the hostname {hostname}")


def distinguished_name(session: ssl.SSLObject) -> str:
    """The name of who is at the other end, as GnuTLS writes it (``gnutls_x509_crt_get_dn``)."""
    certificate: Mapping[str, Any] = session.getpeercert() or {}
    parts = []
    for group in certificate.get("subject", ()):
        pairs = [f"{_SHORT_NAMES.get(name, name)}={_escaped(value)}" for name, value in group]
        parts.append("+".join(pairs))
    return ",".join(parts)


def _escaped(value: str) -> str:
    text = "".join(f"\\{letter}" if letter in ',+"\\<>;' else letter for letter in value)
    if text[:1] in ("#", " "):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and len(text) > 1 else text
