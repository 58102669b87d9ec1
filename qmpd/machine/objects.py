"""User-creatable objects: what object-add makes and object-del takes away."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from qmpd.base.ghash import GHashTable
from qmpd.base.identifiers import check_id
from qmpd.base.override import override
from qmpd.base.qdict import QDict
from qmpd.block.model.aio_context import IOThreadContext
from qmpd.block.throttle.group import ThrottleGroup, ThrottleGroups
from qmpd.block.throttle.limits import BURST_LENGTH_MAX, LIMIT_NAMES, ThrottleConfig, limits_of
from qmpd.errors import GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.profile import Profile

_INT64_MAX: Final = 2**63 - 1


class UserObject(ABC):
    """A user-creatable object; `id` is its name in the container."""

    qom_type: ClassVar[str]
    derived_from: ClassVar[str] = ""
    """The type that it is derived from, where links ask for that."""

    def __init__(self, object_id: str) -> None:
        self.id = object_id
        self.gone = False
        """Whether it has been removed; who had it before still has it."""
        self.users = 0
        """Number of exports and devices that use it."""

    @property
    def in_use(self) -> bool:
        """Whether anything uses it."""
        return self.users > 0

    def added(self) -> None:  # noqa: B027 (most have nothing to do)
        """Called when it has been added to the container.

        :raises GenericError: it cannot be used
        """

    def removed(self) -> None:  # noqa: B027 (most have nothing to do)
        """Called when it has been removed from the container."""

    def get_property(self, name: str) -> tuple[Any, str]:
        """The value of a property and its QOM type.

        :raises GenericError: there is no such property
        """
        if name == "type":
            return self.qom_type, "string"
        raise GenericError(f"Property '{self.qom_type}.{name}' not found")

    def property_types(self) -> Mapping[str, str]:
        """Types of its properties by name, `type` left out, in the order of QOM's table."""
        return {}

    def set_property(self, name: str, value: Any) -> None:
        """Set a property.

        :raises GenericError: there is no such property, or it refuses the value
        """
        self.get_property(name)
        raise GenericError(f"Property '{self.qom_type}.{name}' is not writable")

    @abstractmethod
    def configure(self, properties: Mapping[str, Any]) -> None:
        """Set the properties of object-add, without `qom-type` and `id`.

        :raises GenericError: QEMU's text for a value it refuses
        """


_HEAVIEST: Final = 63
_GROWTH: Final = {"poll-grow": 2, "poll-shrink": 2, "poll-weight": 3}
"""What iothreads take for a zero, where they do."""


class IOThread(UserObject):
    """An iothread: it has QEMU's parameters, but does not run anything."""

    qom_type = "iothread"

    @dataclass(frozen=True)
    class Parameters:
        """Parameters in the order in which they are checked; times in nanoseconds."""

        aio_max_batch: int = 0
        thread_pool_min: int = 0
        thread_pool_max: int = 64
        poll_max_ns: int = 32768
        poll_grow: int = 0
        poll_shrink: int = 0
        poll_weight: int = 0

    def __init__(
        self, object_id: str, thread_id: int, usual: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        super().__init__(object_id)
        self._usual = usual
        self.parameters = self.Parameters()
        self.thread_id = thread_id
        self.context = IOThreadContext(object_id)
        """Its loop: what nodes are in that have moved to it."""

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        for name, value in properties.items():
            last = _HEAVIEST if name == "poll-weight" else _INT64_MAX
            if not 0 <= value <= last:
                raise GenericError(f"{name} value must be in range [0, {last}]")
            self.parameters = replace(self.parameters, **{name.replace("-", "_"): value})
        low, high = self.parameters.thread_pool_min, self.parameters.thread_pool_max
        if not high or low > high:
            raise GenericError("bad thread-pool-min/thread-pool-max values")

    def info(self) -> dict[str, object]:
        """IOThreadInfo, with what stands for a zero."""
        parameters = self.parameters
        polling = {"poll-grow": parameters.poll_grow, "poll-shrink": parameters.poll_shrink}
        if "poll-weight" in self._usual:
            polling["poll-weight"] = parameters.poll_weight
        return {
            "id": self.id,
            "thread-id": self.thread_id,
            "poll-max-ns": parameters.poll_max_ns,
            **{name: value or self._usual.get(name, 0) for name, value in polling.items()},
            "aio-max-batch": parameters.aio_max_batch,
        }


class ThrottleGroupObject(UserObject):
    """A throttle group: limits that its members share."""

    qom_type = "throttle-group"

    def __init__(self, object_id: str, groups: ThrottleGroups, profile: Profile) -> None:
        super().__init__(object_id)
        self._profile = profile
        self._groups = groups
        self._group: ThrottleGroup | None = None
        self._config = ThrottleConfig()

    @property
    def in_use(self) -> bool:
        """Whether a node or a drive is under its limits."""
        return self._group is not None and bool(self._group.members)

    @property
    def config(self) -> ThrottleConfig:
        """The limits."""
        return self._config if self._group is None else self._group.config

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        config = ThrottleConfig()
        for name, value in QDict(properties).items():
            if name == "limits":
                config.update(value)
                config.check()
                continue
            if value < 0:
                raise GenericError("Property values cannot be negative")
            if name.endswith("-max-length") and value > BURST_LENGTH_MAX:
                # The missing blank is QEMU's.
                raise GenericError(f"{name} value must be in therange [0, {BURST_LENGTH_MAX}]")
            config.update({name[2:]: value})
        config.check()
        self._config = config

    @override
    def added(self) -> None:
        """Make the group.

        :raises GenericError: a drive has made a group of this name
        """
        if self._groups.find(self.id) is not None:
            raise GenericError("A group with this name already exists")
        self._group = self._groups.get(self.id)
        self._group.is_object = True
        self._group.configure(self._config)

    @override
    def removed(self) -> None:
        self._groups.drop(self.id)

    @override
    def property_types(self) -> Mapping[str, str]:
        limits = sorted(LIMIT_NAMES, key=lambda name: (name == "iops-size", name[:3] == "bps"))
        types = {f"x-{name}": "int" for name in limits}
        return GHashTable(types | {"limits": "ThrottleLimits"})

    @override
    def get_property(self, name: str) -> tuple[Any, str]:
        """The limits."""
        if name == "limits":
            return limits_of(self.config), "ThrottleLimits"
        if name.removeprefix("x-") in LIMIT_NAMES and name.startswith("x-"):
            return limits_of(self.config)[name[2:]], "int"
        return super().get_property(name)

    @override
    def set_property(self, name: str, value: Any) -> None:
        """Change the limits, for the members of the group too."""
        if name == "limits":
            config = copy.deepcopy(self.config)
            config.update(self._profile.reader.read_property("ThrottleLimits", "limits", value))
        elif name.startswith("x-") and name[2:] in LIMIT_NAMES:
            raise GenericError("Property cannot be set after initialization")
        else:
            super().set_property(name, value)
            return
        config.check()
        self._config = config
        if self._group is not None:
            self._group.configure(config)


ObjectT = TypeVar("ObjectT", bound=UserObject)


class ObjectContainer:
    """The objects of one machine, ``/objects`` of its QOM tree, in the order of QOM's table.

    :param throttle_groups: the groups that throttle-group objects configure
    :param thread_id: the thread id that iothreads report
    :param profile: whose types the properties have
    :param others: what makes objects of the types that this module does not have; it is told the
        type and the id, and returns None for a type that it does not have either
    """

    def __init__(
        self,
        throttle_groups: ThrottleGroups,
        thread_id: int,
        profile: Profile,
        others: Callable[[str, str], UserObject | None],
    ) -> None:
        self.objects: GHashTable[UserObject] = GHashTable()
        self.looked_at = False
        """Whether anyone has made or looked for one, before which some versions have no place."""
        self._throttle_groups = throttle_groups
        self._thread_id = thread_id
        self._profile = profile
        self._others = others

    def _make(self, qom_type: str, object_id: str) -> UserObject:
        if qom_type == "iothread":
            grows = self._profile.rules.holds("iothreads-grow-by-themselves")
            return IOThread(object_id, self._thread_id, _GROWTH if grows else {})
        if qom_type == "throttle-group":
            return ThrottleGroupObject(object_id, self._throttle_groups, self._profile)
        made = self._others(qom_type, object_id)
        if made is not None:
            return made
        raise NotServed(f"Objects of type '{qom_type}' are not served by qmpd")

    def add(
        self,
        qom_type: str,
        object_id: str,
        properties: Mapping[str, Any],
        *,
        any_id: bool = False,
    ) -> None:
        """Command object-add.

        :param any_id: whether the id may be malformed
        :raises GenericError: the id is malformed or taken, or a property is refused
        :raises NotServed: for a type that qmpd does not have
        """
        if not any_id:
            check_id(object_id)
        new = self._make(qom_type, object_id)
        self.looked_at = True
        new.configure(properties)
        if object_id in self.objects:
            raise GenericError(
                f"attempt to add duplicate property '{object_id}' to object (type 'container')"
            )
        new.added()
        self.objects[object_id] = new

    def remove(self, object_id: str) -> None:
        """Command object-del.

        :raises GenericError: there is no such object, or it is in use
        """
        self.looked_at = True
        found = self.objects.get(object_id)
        if found is None:
            raise GenericError(f"object '{object_id}' not found")
        if found.in_use:
            if found.qom_type == "throttle-group" and self._profile.rules.holds(
                "throttle-groups-with-references"
            ):
                raise GenericError(
                    f"Cannot delete throttle group '{object_id}' with active references"
                )
            raise GenericError(f"object '{object_id}' is in use, can not be deleted")
        del self.objects[object_id]
        found.gone = True
        found.removed()

    def resolve(self, path: str, qom_type: str) -> list[UserObject]:
        """The objects of QOM type `qom_type` that `path` may mean (`object_resolve_path_type`).

        :param path: a whole path, or the end of one: an id, or nothing for any object of the type
        """
        parts = [part for part in path.split("/") if part]
        return [
            entry
            for entry in self.objects.values()
            if qom_type in (entry.qom_type, entry.derived_from)
            and (
                parts == ["objects", entry.id]
                or (parts in ([], [entry.id]) and not path.startswith("/"))
            )
        ]

    def iothread(self, path: str) -> IOThread | None:
        """The iothread that `path` means, if it means one (``iothread_by_id``)."""
        found = self.resolve(path, IOThread.qom_type)
        thread = found[0] if len(found) == 1 else None
        return thread if isinstance(thread, IOThread) else None

    def of_type(self, cls: type[ObjectT]) -> list[ObjectT]:
        """All objects of class `cls` (``object_child_foreach``)."""
        self.looked_at = True
        return [entry for entry in self.objects.values() if isinstance(entry, cls)]
