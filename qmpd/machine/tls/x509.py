"""Credentials by certificates: ``tls-creds-x509`` (crypto/tlscredsx509.c)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from qmpd.base.override import override
from qmpd.errors import GenericError
from qmpd.machine.backends import Secret
from qmpd.machine.tls.authz import check_allowed
from qmpd.machine.tls.credentials import TlsCredentials
from qmpd.machine.tls.files import CredentialFiles, as_file
from qmpd.machine.tls.sanity import Chain, check_authority, check_own, check_pair
from qmpd.machine.tls.session import SslCipher, distinguished_name

if TYPE_CHECKING:
    from qmpd.loop.secure import Cipher


class TlsCredsX509(TlsCredentials):
    """A certificate, its key, and the authority that signs those of the other side."""

    qom_type = "tls-creds-x509"

    _context: ssl.SSLContext

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        """Read the files.

        :raises GenericError: one is missing, or will not do
        """
        super().configure(properties)
        self._sanity_check = properties.get("sanity-check", True)
        self._password_id = properties.get("passwordid")
        files = CredentialFiles(self.storage, self.directory)
        side = self.endpoint
        required = side == "server"
        authority = files.path("ca-cert.pem")
        assert authority is not None
        revoked = files.path("ca-crl.pem", required=False) if required else None
        own = files.path(f"{side}-cert.pem", required=required)
        key = files.path(f"{side}-key.pem", required=required)
        self._context = context = ssl.SSLContext(
            ssl.PROTOCOL_TLS_SERVER if required else ssl.PROTOCOL_TLS_CLIENT
        )
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if self.verifies_peer:
            context.verify_mode = ssl.CERT_OPTIONAL if required else ssl.CERT_REQUIRED
        trusted = _text(files.read(authority))
        certificate = None if own is None else files.read(own)
        if self._sanity_check:
            if own is not None and certificate is not None:
                check_own(_text(certificate), own, server=required)
            check_authority(trusted, authority)
        with ExitStack() as stack:
            _trust(context, trusted, f"CA certificate '{authority}'")
            if own is not None and key is not None and certificate is not None:
                chain = Chain(
                    stack.enter_context(as_file(certificate)),
                    stack.enter_context(as_file(files.read(key))),
                    self._password(),
                    own,
                    key,
                )
                if self._sanity_check:
                    check_pair(chain, trusted, authority, server=required)
                chain.load(context)
            if revoked is not None:
                _trust(context, _text(files.read(revoked)), f"CRL '{revoked}'")
                context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF

    def _password(self) -> bytes:
        """The password of the key.

        :raises GenericError: there is no secret that is it
        """
        if self._password_id is None:
            # nobody is asked at the terminal
            return b""
        wanted = self._password_id
        secret = self.objects.get(wanted)
        if secret is None and wanted != self.id:
            raise GenericError(f"No secret with id '{wanted}'")
        if not isinstance(secret, Secret):
            raise GenericError(f"Object with id '{wanted}' is not a secret")
        return secret.content

    @override
    def property_types(self) -> Mapping[str, str]:
        return {"passwordid": "string", "sanity-check": "bool", **super().property_types()}

    @override
    def get_property(self, name: str) -> tuple[Any, str]:
        if name == "sanity-check":
            return self._sanity_check, "bool"
        if name == "passwordid":
            return self._password_id or "", "string"
        return super().get_property(name)

    @override
    def client(self, hostname: str | None) -> Cipher:
        context = self._context
        context.check_hostname = self.verifies_peer and hostname is not None

        def check(_: ssl.SSLObject) -> None:
            if self.verifies_peer and hostname is None:
                raise GenericError("No hostname for certificate validation")

        return SslCipher(context, check, server=False, hostname=hostname)

    @override
    def server(self, authorization: str | None) -> Cipher:
        def check(session: ssl.SSLObject) -> None:
            if not self.verifies_peer:
                return
            if not session.getpeercert(binary_form=True):
                raise GenericError("Verify failed: No certificate was found.")
            if authorization is not None:
                check_allowed(self.objects, authorization, distinguished_name(session))

        return SslCipher(self._context, check, server=True)


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace")


def _trust(context: ssl.SSLContext, pem: str, what: str) -> None:
    """Have a context trust certificates, or know which are revoked.

    :raises GenericError: they are malformed
    """
    try:
        with as_file(pem.encode()) as path:
            context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise GenericError(f"Cannot load {what}: {error.reason or error}") from None
