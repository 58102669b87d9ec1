"""User-creatable objects: what object-add makes and object-del takes away."""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, TypeVar

from qmpd.block.throttle import ThrottleConfig
from qmpd.errors import GenericError, NotServed

_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z", re.ASCII)
_INT64_MAX: Final = 2**63 - 1


class UserObject(ABC):
    """One object of the container; `id` is its name there."""

    qom_type: ClassVar[str]

    def __init__(self, object_id: str) -> None:
        self.id = object_id
        self.users = 0
        """How many nodes, exports or devices hold on to it."""

    @abstractmethod
    def configure(self, properties: Mapping[str, Any]) -> None:
        """Set what object-add was given (JSON values, `qom-type` and `id` left out).

        :raises GenericError: QEMU's text for a value it refuses
        """


class IOThread(UserObject):
    """A thread for I/O, in name: it has QEMU's parameters, the work is done elsewhere."""

    qom_type = "iothread"

    @dataclass(frozen=True)
    class Parameters:
        """In the order in which they are read; times in nanoseconds."""

        aio_max_batch: int = 0
        thread_pool_min: int = 0
        thread_pool_max: int = 64
        poll_max_ns: int = 32768
        poll_grow: int = 0
        poll_shrink: int = 0

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        self.parameters = self.Parameters()
        self.thread_id = threading.get_native_id()

    def configure(self, properties: Mapping[str, Any]) -> None:
        """See `UserObject.configure`."""
        for name, value in properties.items():
            if not 0 <= value <= _INT64_MAX:
                raise GenericError(f"{name} value must be in range [0, {_INT64_MAX}]")
            self.parameters = replace(self.parameters, **{name.replace("-", "_"): value})
        low, high = self.parameters.thread_pool_min, self.parameters.thread_pool_max
        if not high or low > high:
            raise GenericError("bad thread-pool-min/thread-pool-max values")


class ThrottleGroup(UserObject):
    """Limits that the nodes of a group share."""

    qom_type = "throttle-group"

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        self.config = ThrottleConfig()

    def configure(self, properties: Mapping[str, Any]) -> None:
        """See `UserObject.configure`."""
        config = ThrottleConfig()
        single = {k[2:]: v for k, v in properties.items() if k.startswith("x-")}
        if any(value < 0 for value in single.values()):
            raise GenericError("Property values cannot be negative")
        config.update(single)
        if "limits" in properties:
            config.update(properties["limits"])
        config.check()
        self.config = config


ObjectT = TypeVar("ObjectT", bound=UserObject)

OBJECT_TYPES: Final = {cls.qom_type: cls for cls in (IOThread, ThrottleGroup)}
"""What object-add can make; the schema's other types are refused as not served."""


@dataclass
class ObjectContainer:
    """The objects of one machine, ``/objects`` of its QOM tree, oldest first."""

    objects: dict[str, UserObject] = field(default_factory=dict)

    def add(self, qom_type: str, object_id: str, properties: Mapping[str, Any]) -> None:
        """Command object-add.

        :raises GenericError: the id is malformed or taken, or a property is refused
        :raises NotServed: for a type that qmpd does not have
        """
        if not _IDENTIFIER.match(object_id):
            raise GenericError("Parameter 'id' expects an identifier")
        cls = OBJECT_TYPES.get(qom_type)
        if cls is None:
            raise NotServed(f"Objects of type '{qom_type}' are not served by qmpd")
        new = cls(object_id)
        new.configure(properties)
        if object_id in self.objects:
            raise GenericError(
                f"attempt to add duplicate property '{object_id}' to object (type 'container')"
            )
        self.objects[object_id] = new

    def remove(self, object_id: str) -> None:
        """Command object-del.

        :raises GenericError: there is none of this id, or it is in use
        """
        found = self.objects.get(object_id)
        if found is None:
            raise GenericError(f"object '{object_id}' not found")
        if found.users:
            raise GenericError(f"object '{object_id}' is in use, can not be deleted")
        del self.objects[object_id]

    def of_type(self, cls: type[ObjectT]) -> list[ObjectT]:
        """All objects of class `cls`, oldest first."""
        return [entry for entry in self.objects.values() if isinstance(entry, cls)]
