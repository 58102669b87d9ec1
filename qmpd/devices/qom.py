"""QEMU's object model: children, links, properties, and the paths to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from qmpd.errors import DeviceNotFound, GenericError, NotServed
from qmpd.qapi.ghash import iteration_order

Listing = Sequence[tuple[str, str]]
"""Names and types of properties, in the order of qom-list."""


class AmbiguousPath(GenericError):
    """A partial path fits several objects."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Path '{path}' is ambiguous")


class QomObject:
    """An object with its properties.

    :param qom_type: name of its type
    :param listing: what qom-list tells of it besides the children and links that come and go
    :param values: values of these properties, as far as they are known
    """

    def __init__(
        self,
        qom_type: str,
        listing: Listing = (),
        values: Mapping[str, Any] | None = None,
    ) -> None:
        self.qom_type = qom_type
        self.parent: QomObject | None = None
        self.name = ""
        self.children: dict[str, QomObject] = {}
        self.links: dict[str, tuple[str, Callable[[], QomObject | None]]] = {}
        """Links that come and go: the type they are of, and where they lead."""
        self._listing = tuple(listing)
        self._values = dict(values or {})

    @property
    def path(self) -> str:
        """Its path from the root; "" outside the tree."""
        parts: list[str] = []
        current: QomObject = self
        while current.parent is not None:
            parts.append(current.name)
            current = current.parent
        return "/" + "/".join(reversed(parts)) if parts else "/"

    # Children

    def add_child(self, name: str, child: QomObject) -> None:
        """Put `child` into the tree."""
        assert name not in self.children
        self.children[name] = child
        child.parent, child.name = self, name

    def unparent(self) -> None:
        """Take it out of the tree."""
        if self.parent is not None:
            del self.parent.children[self.name]
            self.parent = None

    def descendants(self) -> Iterator[QomObject]:
        """All objects below it, each behind its parent."""
        for child in self.children.values():
            yield child
            yield from child.descendants()

    # Properties

    def properties(self) -> list[tuple[str, str]]:
        """Names and types, in the order of qom-list."""
        known = {name for name, _ in self._listing}
        added = {
            name: f"child<{child.qom_type}>"
            for name, child in self.children.items()
            if name not in known
        }
        added |= {name: f"link<{target}>" for name, (target, _) in self.links.items()}
        if not added:
            return [("type", "string"), *self._listing]
        if self.listing_is_static:
            return [("type", "string"), *self._listing, *added.items()]
        own = dict(self._listing) | added
        order = iteration_order(own)[::-1]
        return [("type", "string"), *((name, own[name]) for name in order)]

    listing_is_static = False
    """Whether its own listing stands in its final order: what is added comes behind it."""

    def get_property(self, name: str) -> Any:
        """The value of a property, as JSON.

        :raises GenericError: there is none of this name
        :raises NotServed: qmpd does not know its value
        """
        if name == "type":
            return self.qom_type
        if name in self.children:
            return self.children[name].path
        if name in self.links:
            target = self.links[name][1]()
            return "" if target is None else target.path
        if name in self._values:
            return self._resolved(self._values[name])
        if any(name == known for known, _ in self._listing):
            raise NotServed(f"qmpd does not know property '{self.qom_type}.{name}'")
        raise GenericError(f"Property '{self.qom_type}.{name}' not found")

    def set_property(self, name: str, value: Any) -> None:
        """Set a property.

        :param value: JSON
        :raises GenericError: there is none of this name, or it refuses
        """
        self.check_property(name)
        if name == "type" or name in self.children:
            raise GenericError(f"Property '{self.qom_type}.{name}' is not writable")
        raise NotServed(f"qmpd does not set property '{self.qom_type}.{name}'")

    def check_property(self, name: str) -> None:
        """Refuse the name of a property that it has not.

        :raises GenericError: there is none of this name
        """
        if not any(name == known for known, _ in self.properties()):
            raise GenericError(f"Property '{self.qom_type}.{name}' not found")

    def _resolved(self, value: Any) -> Any:
        """A recorded value; a link to another recorded object tells that object's path."""
        return value.path if isinstance(value, QomObject) else value

    def point_at(self, name: str, target: QomObject) -> None:
        """Let recorded link `name` lead to `target`."""
        self._values[name] = target

    def child_or_link(self, name: str) -> QomObject | None:
        """What a component of a path means here."""
        if name in self.children:
            return self.children[name]
        if name in self.links:
            return self.links[name][1]()
        value = self._values.get(name)
        return value if isinstance(value, QomObject) else None


class QomTree:
    """All objects of one machine."""

    def __init__(self) -> None:
        self.root = QomObject("container")

    def resolve(self, path: str) -> QomObject:
        """The object at `path`; one without a leading slash is looked for everywhere.

        :raises DeviceNotFound: there is none
        :raises AmbiguousPath: there are several
        """
        parts = [part for part in path.split("/") if part]
        if not path or path.startswith("/"):
            found = _walk(self.root, parts)
        else:
            found = self._partial(path, parts)
        if found is None:
            raise DeviceNotFound(f"Device '{path}' not found")
        return found

    def find(self, path: str) -> QomObject | None:
        """As `resolve`, None for nothing."""
        try:
            return self.resolve(path)
        except DeviceNotFound:
            return None

    def _partial(self, path: str, parts: list[str]) -> QomObject | None:
        found: QomObject | None = None
        for start in (self.root, *self.root.descendants()):
            here = _walk(start, parts)
            if here is not None and found is not None:
                raise AmbiguousPath(path)
            found = found or here
        return found


def _walk(start: QomObject, parts: list[str]) -> QomObject | None:
    current: QomObject | None = start
    for part in parts:
        if current is None:
            return None
        current = current.child_or_link(part)
    return current
