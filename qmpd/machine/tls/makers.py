"""What makes the objects that have to do with TLS, by their types."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from qmpd.machine.tls.authz import Authorization, AuthzList, AuthzSimple
from qmpd.machine.tls.others import TlsCredsAnon, TlsCredsPsk
from qmpd.machine.tls.x509 import TlsCredsX509

if TYPE_CHECKING:
    from qmpd.block.images import Storages
    from qmpd.machine.objects import UserObject
    from qmpd.machine.tls.credentials import TlsCredentials

_CREDENTIALS: Final[Mapping[str, type[TlsCredentials]]] = MappingProxyType(
    {kind.qom_type: kind for kind in (TlsCredsAnon, TlsCredsPsk, TlsCredsX509)}
)
_AUTHORIZATIONS: Final[Mapping[str, type[Authorization]]] = MappingProxyType(
    {kind.qom_type: kind for kind in (AuthzList, AuthzSimple)}
)


def make(
    qom_type: str, object_id: str, storage: Storages, objects: Mapping[str, UserObject]
) -> UserObject | None:
    """An object that has to do with TLS; None if the type is another one.

    :param storage: where its files lie
    :param objects: all objects of the machine
    """
    if qom_type in _CREDENTIALS:
        return _CREDENTIALS[qom_type](object_id, storage, objects)
    if qom_type in _AUTHORIZATIONS:
        return _AUTHORIZATIONS[qom_type](object_id)
    return None
