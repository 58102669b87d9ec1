"""The options of a node, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Protocol, Self

from qmpd.block.model.flags import CacheMode

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


CHILDREN: Final = frozenset(
    {"file", "backing", "image", "raw", "test", "log", "target", "children", "data-file"}
)
"""The options that say which nodes are children, in any driver."""


class Origin(Enum):
    """Who has decided about an option."""

    GIVEN = "given"
    """Whoever opened the node, or has reopened it since."""
    INHERITED = "inherited"
    """The node inside whose options the node was defined."""
    PROBED = "probed"
    """Nobody: the driver was found out by what the file holds."""


class _Heritage(Protocol):
    """What a node hands down to those that are defined inside it."""

    @property
    def read_only(self) -> bool: ...
    @property
    def auto_read_only(self) -> bool: ...
    @property
    def force_share(self) -> bool | None: ...
    @property
    def cache(self) -> CacheMode: ...


class NodeOptions(dict[str, Any]):
    """All options of a node, as blockdev-add takes them.

    QEMU keeps two tables for this, ``bs->options`` and ``bs->explicit_options``.  Options are
    replaced as a whole: once a node has them they are not changed.

    :param options: all of them
    :param given: those that the node was given itself, in these words; all of them if absent
    :param texts: options as a command line had them, where queries show them like that
    :param probed: whether the driver was found out
    :param reopened: whether they are those of blockdev-reopen, which QEMU keeps in another order
    """

    __slots__ = ("given", "probed", "reopened", "texts")

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        given: Mapping[str, Any] | None = None,
        texts: Mapping[str, str] = _NOTHING,
        probed: bool = False,
        reopened: bool = False,
    ) -> None:
        super().__init__(options)
        self.given: Mapping[str, Any] = dict(options) if given is None else given
        self.texts = texts
        self.probed = probed
        self.reopened = reopened

    @classmethod
    def inside(
        cls,
        given: Mapping[str, Any],
        parent: _Heritage,
        *,
        backing: bool = False,
    ) -> Self:
        """The options of a node defined inside another (``bdrv_inherited_options``).

        :param given: those that it was given itself
        :param backing: it is a backing file: read-only unless it says otherwise
        """
        options = dict(given)
        options.setdefault("read-only", backing or parent.read_only)
        options.setdefault("auto-read-only", not backing and parent.auto_read_only)
        if parent.force_share is not None:
            options.setdefault("force-share", parent.force_share)
        # Format drivers discard what is worth discarding: the file below need not decide.
        options.setdefault("discard", "unmap")
        cache = dict(options.get("cache", {}))
        cache.setdefault("direct", parent.cache.direct)
        cache.setdefault("no-flush", parent.cache.no_flush)
        options["cache"] = cache
        return cls(options, given=given)

    def origin(self, name: str) -> Origin:
        """Who has decided about option `name`, which the node has."""
        if name == "driver" and self.probed:
            return Origin.PROBED
        return Origin.GIVEN if name in self.given else Origin.INHERITED

    def shown(self, name: str) -> Any:
        """The value of an option as queries show it: in the words of a command line."""
        return self.texts.get(name, self[name])

    def without(self, *names: str) -> NodeOptions:
        """These options but for some."""
        return self._with({name: value for name, value in self.items() if name not in names})

    def without_children(self) -> NodeOptions:
        """These options but for those that said which nodes are its children, and what these are.

        Once they are open, the children know that themselves; who they are may change.
        """
        return self if CHILDREN.isdisjoint(self) else self.not_given(*CHILDREN)

    def not_given(self, *names: str) -> NodeOptions:
        """These options but for some, as if nobody had ever given them."""
        given = {name: value for name, value in self.given.items() if name not in names}
        kept = {name: value for name, value in self.items() if name not in names}
        return NodeOptions(
            kept, given=given, texts=self.texts, probed=self.probed, reopened=self.reopened
        )

    def changed(self, options: Mapping[str, Any]) -> NodeOptions:
        """These options with other values for some, which nobody has given the node itself."""
        return self._with({**self, **options})

    def with_driver(self, name: str) -> NodeOptions:
        """The same options, and the driver that was found out."""
        driver = {"driver": name}
        return NodeOptions(
            driver | self, given=driver | dict(self.given), texts=self.texts, probed=True
        )

    def after_reopen(self, before: NodeOptions) -> NodeOptions:
        """The same options, as blockdev-reopen leaves them.

        :param before: those that the node had: whether its driver was found out does not change
        """
        return NodeOptions(self, given=self.given, probed=before.probed, reopened=True)

    def under(self, parent: Mapping[str, Any], *, backing: bool) -> NodeOptions:
        """These options below a parent that is reopened, as far as the parent decides.

        :param parent: the parent's new options
        :param backing: it is a backing file: read-only whatever the parent is
        """
        taken: dict[str, Any] = {"read-only": True, "auto-read-only": False} if backing else {}
        for name in ("read-only", "auto-read-only", "force-share"):
            if name in parent and not (backing and name in taken):
                taken[name] = parent[name]
        changed = {name: value for name, value in taken.items() if name not in self.given}
        changed["cache"] = {
            **self.get("cache", {}),
            **parent.get("cache", {}),
            **self.given.get("cache", {}),
        }
        return self.changed(changed)

    def _with(self, options: Mapping[str, Any]) -> NodeOptions:
        return NodeOptions(
            options,
            given=self.given,
            texts=self.texts,
            probed=self.probed,
            reopened=self.reopened,
        )
