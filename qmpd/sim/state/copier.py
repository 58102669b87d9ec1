"""Copies a whole graph of objects, so that what is copied and its copy share nothing that changes.

`copy.deepcopy` is not enough for a machine: it takes functions for constants, though theirs are
closures over a machine's parts; it recurses as deep as a backing chain is long; and it cannot be
told to share what a version of QEMU is made of.  A `Copier` makes all objects first, empty, and
fills them afterwards.  What cannot be copied is a coroutine that waits: something is at work.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache, partial
from random import Random
from typing import Any, Final, NamedTuple

from qmpd.sim.state.kinds import COPIES, SHARED

_ATOMS: Final = frozenset(
    {
        bool,
        bytes,
        complex,
        float,
        int,
        range,
        str,
        type,
        type(None),
        type(Ellipsis),
        types.GenericAlias,
        types.ModuleType,
    }
)
"""Types whose values never change."""


class StillAtWorkError(Exception):
    """Something waits, so that there is a coroutine, which cannot be copied.

    :param name: of the coroutine's function
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Omitted(Enum):
    OMITTED = "omitted"


OMITTED: Final = _Omitted.OMITTED
"""Takes the place of what is not copied and leaves no trace.

Lists go without it, and so do instances of which it was a member: they have what their class has,
or None.  A method of it, or a function with it, is omitted, too.
"""

_TOOLS: Final = "qmpd.sim."
"""The modules of the bench, whose objects watch and trouble a machine, and are no part of it."""


_PARTS: Final = frozenset({"qmpd.sim.power.file", "qmpd.sim.power.storage", "qmpd.sim.schedule"})
"""Modules of the bench whose objects are a part of the machine: its files, its order of events."""


def _is_tool(module: str) -> bool:
    return module.startswith(_TOOLS) and module not in _PARTS


class _Layout(NamedTuple):
    """What instances of a class have.

    :param slots: names of the slots of the class and its bases
    """

    slots: tuple[str, ...]
    has_dict: bool


@cache
def _layout(kind: type) -> _Layout:
    slots: list[str] = []
    for base in kind.__mro__:
        own = base.__dict__.get("__slots__", ())
        for name in (own,) if isinstance(own, str) else own:
            if name not in ("__dict__", "__weakref__"):
                private = name.startswith("__") and not name.endswith("__")
                slots.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return _Layout(tuple(slots), kind.__dictoffset__ != 0)


class Copier:
    """Makes one copy of everything that can be reached from a value.

    :param instead: what takes the place of objects that are not to be copied, by their `id`;
        they must stay alive meanwhile
    """

    def __init__(self, instead: Mapping[int, Any]) -> None:
        self._copies: dict[int, Any] = dict(instead)
        self._fill: deque[Callable[[], None]] = deque()
        self._insert: list[Callable[[], None]] = []
        self._kept: list[Any] = []

    def copy(self, value: Any) -> Any:
        """Return a copy of `value`, complete.

        :raises StillAtWorkError: a coroutine waits somewhere in it
        :raises TypeError: something is in it that nobody knows how to copy
        """
        copied = self.of(value)
        fill = self._fill
        while fill:
            fill.popleft()()
        # what is hashed must be complete
        for insert in self._insert:
            insert()
        return copied

    def of(self, value: Any) -> Any:
        """The copy of a part, which may be filled later."""
        kind: type = type(value)
        if kind in _ATOMS:
            return value
        key = id(value)
        if key in self._copies:
            return self._copies[key]
        copied = _how(kind)(self, value)
        self._copies[key] = copied
        # an object that lives on this copy's account only must not give its id to another one
        self._kept.append(value)
        return copied

    def later(self, fill: Callable[[], None]) -> None:
        """Call `fill` when the objects that are being made are there."""
        self._fill.append(fill)

    def remember(self, value: Any, copied: Any) -> None:
        """Say what the copy of `value` is, before its parts are copied."""
        self._copies[id(value)] = copied

    # Kinds of objects

    def _shared(self, value: Any) -> Any:
        return value

    def _list(self, value: list[Any]) -> list[Any]:
        copied: list[Any] = []
        self._fill.append(lambda: copied.extend(self._parts(value)))
        return copied

    def _derived(self, value: Any) -> Any:
        """A copy of an instance of a class derived from `list` or `dict`."""
        kind = value.__class__
        copied = kind.__new__(kind)

        def fill() -> None:
            self._fill_object(copied, value)
            if isinstance(value, list):
                copied.extend(self._parts(value))
            else:
                self._fill_dict(copied, value)

        self._fill.append(fill)
        return copied

    def _deque(self, value: deque[Any]) -> deque[Any]:
        copied: deque[Any] = deque(maxlen=value.maxlen)
        self._fill.append(lambda: copied.extend(self._parts(value)))
        return copied

    def _parts(self, value: Iterable[Any]) -> list[Any]:
        return [part for part in map(self.of, value) if part is not OMITTED]

    def _tuple(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        parts = [self.of(part) for part in value]
        if all(part is old for part, old in zip(parts, value, strict=True)):
            return value
        parts = [part for part in parts if part is not OMITTED]
        return tuple.__new__(type(value), parts)

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        copied: dict[Any, Any] = {}
        self._fill.append(lambda: self._fill_dict(copied, value))
        return copied

    def _fill_dict(self, copied: dict[Any, Any], value: dict[Any, Any]) -> None:
        of = self.of
        if all(type(key) in _ATOMS for key in value):
            for key, part in value.items():
                copied[key] = of(part)
            return
        pairs = [(of(key), of(part)) for key, part in value.items()]
        self._insert.append(lambda: copied.update(pairs))

    def _set(self, value: set[Any]) -> set[Any]:
        copied: set[Any] = set()
        if all(type(part) in _ATOMS for part in value):
            copied.update(value)
        else:
            parts = [self.of(part) for part in value]
            self._insert.append(lambda: copied.update(parts))
        return copied

    def _proxy(self, value: types.MappingProxyType[Any, Any]) -> types.MappingProxyType[Any, Any]:
        parts = {key: self.of(part) for key, part in value.items()}
        if all(parts[key] is part for key, part in value.items()):
            return value
        return types.MappingProxyType(parts)

    def _method(self, value: types.MethodType) -> Any:
        owner = self.of(value.__self__)
        return OMITTED if owner is OMITTED else types.MethodType(value.__func__, owner)

    def _builtin(self, value: types.BuiltinMethodType) -> Any:
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType | type):
            return value
        return getattr(self.of(owner), value.__name__)

    def _partial(self, value: partial[Any]) -> Any:
        function = self.of(value.func)
        arguments = [self.of(part) for part in value.args]
        keywords = {name: self.of(part) for name, part in value.keywords.items()}
        return OMITTED if function is OMITTED else partial(function, *arguments, **keywords)

    def _function(self, value: types.FunctionType) -> Any:
        if _is_tool(value.__module__):
            return OMITTED
        if value.__closure__ is None:
            return value
        cells = tuple(self.of(cell) for cell in value.__closure__)
        copied = types.FunctionType(
            value.__code__, value.__globals__, value.__name__, value.__defaults__, cells
        )
        copied.__kwdefaults__ = value.__kwdefaults__
        copied.__qualname__ = value.__qualname__
        return copied

    def _cell(self, value: types.CellType) -> types.CellType:
        copied = types.CellType()

        def fill() -> None:
            copied.cell_contents = self.of(value.cell_contents)

        self._fill.append(fill)
        return copied

    def _coroutine(self, value: types.CoroutineType[Any, Any, Any]) -> Any:
        if value.cr_frame is not None:
            raise StillAtWorkError(value.__qualname__)
        return value

    def _random(self, value: Random) -> Random:
        # not by calling the class, which makes a seed of its own
        copied = Random.__new__(Random)
        copied.setstate(value.getstate())
        return copied

    def _object(self, value: Any) -> Any:
        copied = object.__new__(type(value))
        self._fill.append(lambda: self._fill_object(copied, value))
        return copied

    def _fill_object(self, copied: Any, value: Any) -> None:
        slots, has_dict = _layout(value.__class__)
        of = self.of
        if has_dict:
            members = copied.__dict__
            for name, part in value.__dict__.items():
                part = of(part)
                if part is not OMITTED:
                    members[name] = part
                elif not hasattr(type(value), name):
                    members[name] = None
        for name in slots:
            if hasattr(value, name):
                part = of(getattr(value, name))
                object.__setattr__(copied, name, None if part is OMITTED else part)


_How = Callable[[Copier, Any], Any]

_KINDS: Final[Mapping[type, _How]] = types.MappingProxyType(
    {
        Random: Copier._random,
        deque: Copier._deque,
        dict: Copier._dict,
        frozenset: lambda copier, value: frozenset(map(copier.of, value)),
        list: Copier._list,
        partial: Copier._partial,
        set: Copier._set,
        tuple: Copier._tuple,
        types.BuiltinMethodType: Copier._builtin,
        types.CellType: Copier._cell,
        types.CoroutineType: Copier._coroutine,
        types.FunctionType: Copier._function,
        types.MappingProxyType: Copier._proxy,
        types.MethodType: Copier._method,
    }
)


@cache
def _how(kind: type) -> _How:
    """How instances of a class are copied.

    :raises TypeError: nobody knows
    """
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in SHARED or issubclass(kind, type | Enum) or kind.__module__ == "typing":
        return Copier._shared
    for base in kind.__mro__:
        if base in COPIES:
            make = COPIES[base]
            return lambda copier, value: make(copier, value)
    if issubclass(kind, tuple):
        return Copier._tuple
    if issubclass(kind, list | dict):
        return Copier._derived
    if _is_tool(kind.__module__):
        return lambda copier, value: OMITTED
    if kind.__new__ is object.__new__:
        return Copier._object
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} cannot be copied")
