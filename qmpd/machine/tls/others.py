"""Credentials without certificates: ``tls-creds-anon`` and ``tls-creds-psk``."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.override import override
from qmpd.errors import GenericError, NotServed
from qmpd.machine.tls.credentials import TlsCredentials
from qmpd.machine.tls.files import CredentialFiles, as_file
from qmpd.machine.tls.session import SslCipher

if TYPE_CHECKING:
    from qmpd.loop.secure import Cipher

_GROUP: Final = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""The group ffdhe2048 of RFC 7919, for servers that are given none."""


class TlsCredsAnon(TlsCredentials):
    """No credentials: what is said is private, but nobody knows who says it."""

    qom_type = "tls-creds-anon"

    _context: ssl.SSLContext

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        super().configure(properties)
        is_server = self.endpoint == "server"
        self._context = context = ssl.SSLContext(
            ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT
        )
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # anonymous key exchange has gone with TLS 1.3
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ADH:@SECLEVEL=0")
        if is_server:
            self._set_group(context)

    def _set_group(self, context: ssl.SSLContext) -> None:
        files = CredentialFiles(self.storage, self.directory)
        path = files.path("dh-params.pem", required=False)
        data = _GROUP.encode() if path is None else files.read(path)
        with as_file(data) as file:
            try:
                context.load_dh_params(file)
            except ssl.SSLError as error:
                raise GenericError(
                    f"Unable to load DH parameters from {path}: {error.reason or error}"
                ) from None

    @override
    def client(self, hostname: str | None) -> Cipher:
        return SslCipher(self._context, _accept, server=False)

    @override
    def server(self, authorization: str | None) -> Cipher:
        return SslCipher(self._context, _accept, server=True)


def _accept(_: ssl.SSLObject) -> None:
    """Nobody has to prove who he is."""


class TlsCredsPsk(TlsCredentials):
    """A key that both sides know, which Python's ssl cannot do."""

    qom_type = "tls-creds-psk"

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        """Refuse.

        :raises NotServed: always
        """
        raise NotServed(
            "Objects of type 'tls-creds-psk' are not served by qmpd: the ssl module of Python"
            " has no sessions by keys that both sides know before 3.13"
        )
