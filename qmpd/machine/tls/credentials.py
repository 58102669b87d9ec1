"""What all TLS credentials have in common (crypto/tlscreds.c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.base.override import override
from qmpd.errors import GenericError, NotServed
from qmpd.machine.objects import UserObject

if TYPE_CHECKING:
    from qmpd.block.images import Storages
    from qmpd.loop.secure import Cipher


class TlsCredentials(UserObject):
    """Credentials of one side of TLS sessions.

    :param storage: where their files lie
    :param objects: all objects of the machine
    """

    def __init__(
        self, object_id: str, storage: Storages, objects: Mapping[str, UserObject]
    ) -> None:
        super().__init__(object_id)
        self.storage = storage
        self.objects = objects
        self.endpoint = "client"
        self.verifies_peer = True
        self.directory: str | None = None

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        """Take the properties that all have.

        :raises NotServed: there is a priority string, which is GnuTLS's
        """
        self.endpoint = properties.get("endpoint", "client")
        self.verifies_peer = properties.get("verify-peer", True)
        self.directory = properties.get("dir")
        if properties.get("priority", "NORMAL") != "NORMAL":
            raise NotServed(
                f"Priority strings of {self.qom_type} are GnuTLS's: qmpd has Python's ssl, and"
                " takes only 'NORMAL'"
            )

    @override
    def property_types(self) -> Mapping[str, str]:
        return {
            "priority": "string",
            "verify-peer": "bool",
            "dir": "string",
            "endpoint": "QCryptoTLSCredsEndpoint",
        }

    @override
    def get_property(self, name: str) -> tuple[Any, str]:
        values = {
            "verify-peer": self.verifies_peer,
            "dir": self.directory or "",
            "endpoint": self.endpoint,
            "priority": "",
        }
        if name in values:
            return values[name], self.property_types()[name]
        return super().get_property(name)

    def check_endpoint(self, endpoint: str) -> None:
        """Check whose credentials they are (``qcrypto_tls_creds_check_endpoint``).

        :raises GenericError: the other side's
        """
        if self.endpoint != endpoint:
            raise GenericError(f"Expected TLS credentials for a {endpoint} endpoint")

    def client(self, hostname: str | None) -> Cipher:
        """See `qmpd.loop.secure.Credentials.client`."""
        raise NotImplementedError

    def server(self, authorization: str | None) -> Cipher:
        """See `qmpd.loop.secure.Credentials.server`."""
        raise NotImplementedError


def find_credentials(
    objects: Mapping[str, UserObject], object_id: str, endpoint: str
) -> TlsCredentials:
    """The credentials `object_id` (``nbd_get_tls_creds``).

    :param endpoint: whose they have to be, ``client`` or ``server``
    :raises GenericError: there are no such
    """
    found = objects.get(object_id)
    if found is None:
        raise GenericError(f"No TLS credentials with id '{object_id}'")
    if not isinstance(found, TlsCredentials):
        raise GenericError(f"Object with id '{object_id}' is not TLS credentials")
    found.check_endpoint(endpoint)
    return found
