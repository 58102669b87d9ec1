"""Objects that say who may come: ``authz-simple`` and ``authz-list``."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from qmpd.base.override import override
from qmpd.errors import GenericError
from qmpd.machine.objects import UserObject


class Authorization(UserObject):
    """Says who may come (QEMU's QAuthZ)."""

    @abstractmethod
    def allows(self, identity: str) -> bool:
        """Whether somebody may come.

        :param identity: the name in his certificate
        """


class AuthzSimple(Authorization):
    """One may come."""

    qom_type = "authz-simple"

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        self._identity = ""

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        self._identity = properties["identity"]

    @override
    def property_types(self) -> Mapping[str, str]:
        return {"identity": "string"}

    @override
    def get_property(self, name: str) -> tuple[Any, str]:
        return (self._identity, "string") if name == "identity" else super().get_property(name)

    @override
    def set_property(self, name: str, value: Any) -> None:
        if name == "identity" and isinstance(value, str):
            self._identity = value
        else:
            super().set_property(name, value)

    @override
    def allows(self, identity: str) -> bool:
        return identity == self._identity


class AuthzList(Authorization):
    """The first rule that matches says whether somebody may come."""

    qom_type = "authz-list"

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        self._policy = "deny"
        self._rules: Sequence[Mapping[str, Any]] = ()

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        self._policy = properties.get("policy", "deny")
        self._rules = properties.get("rules", ())

    @override
    def property_types(self) -> Mapping[str, str]:
        return {"rules": "QAuthZListRule", "policy": "QAuthZListPolicy"}

    @override
    def get_property(self, name: str) -> tuple[Any, str]:
        if name == "policy":
            return self._policy, "QAuthZListPolicy"
        if name == "rules":
            return list(self._rules), "QAuthZListRule"
        return super().get_property(name)

    @override
    def allows(self, identity: str) -> bool:
        return allowed_by(self._policy, self._rules, identity)


def allowed_by(policy: str, rules: Sequence[Mapping[str, Any]], identity: str) -> bool:
    """Whether rules let somebody come (``qauthz_list_is_allowed``).

    :param policy: what holds where no rule matches, ``allow`` or ``deny``
    """
    for rule in rules:
        if rule.get("format", "exact") == "exact":
            matches = rule["match"] == identity
        else:
            matches = _glob_matches(rule["match"], identity)
        if matches:
            return bool(rule["policy"] == "allow")
    return policy == "allow"


def _glob_matches(pattern: str, text: str) -> bool:
    """Whether `text` is as `pattern` has it, with ``*`` and ``?`` (``g_pattern_match_simple``)."""
    parts = (".*" if each == "*" else "." if each == "?" else re.escape(each) for each in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def check_allowed(objects: Mapping[str, UserObject], object_id: str, identity: str) -> None:
    """Check that the object `object_id` lets somebody come (``qauthz_is_allowed_by_id``).

    :raises GenericError: it does not, or there is no such object
    """
    found = objects.get(object_id)
    if found is None:
        raise GenericError(f"Cannot find QAuthZ object ID {object_id}")
    if not isinstance(found, Authorization):
        raise GenericError(f"Object '{object_id}' is not a QAuthZ subclass")
    if not found.allows(identity):
        raise GenericError(f"TLS x509 authz check for {identity} is denied")
