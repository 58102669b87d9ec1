"""User-creatable objects that a machine without a guest only keeps: memory, randomness, secrets."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from qmpd.base.override import override
from qmpd.block.images.host_files import HostFiles
from qmpd.errors import GenericError, NotServed
from qmpd.machine.objects import UserObject

_URANDOM: Final = "/dev/urandom"
"""The kernel's own, which is always there."""


class MemoryBackend(UserObject):
    """The memory of a machine: its properties, without the memory."""

    TYPES: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "share": "bool",
            "size": "int",
            "dump": "bool",
            "prealloc-threads": "int",
            "x-use-canonical-path-for-ramblock-id": "bool",
            "policy": "HostMemPolicy",
            "prealloc-context": "link<thread-context>",
            "prealloc": "bool",
            "reserve": "bool",
            "host-nodes": "int",
            "merge": "bool",
        }
    )

    qom_type = "memory-backend-ram"

    def __init__(self, object_id: str, _: HostFiles) -> None:
        super().__init__(object_id)
        self._values: dict[str, Any] = {
            "share": False,
            "size": 0,
            "dump": True,
            "prealloc-threads": 1,
            "x-use-canonical-path-for-ramblock-id": False,
            "policy": "default",
            "prealloc-context": "",
            "prealloc": False,
            "reserve": True,
            "host-nodes": [],
            "merge": True,
        }

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        for name, value in properties.items():
            if name == "size" and value == 0:
                raise GenericError(
                    f"property 'size' of {self.qom_type} doesn't take value '{value}'"
                )
            self._values[name] = value
        if not self._values["size"]:
            raise GenericError("can't create backend with size 0")
        if self._values["host-nodes"] and self._values["policy"] == "default":
            raise GenericError("host-nodes must be empty for policy default, or you should")

    @override
    def property_types(self) -> Mapping[str, str]:
        # listed newest first
        return {self._region: "child<memory-region>", **_newest_first(self.TYPES)}

    @property
    def _region(self) -> str:
        return f"{self.id}[0]"

    @override
    def get_property(self, name: str) -> tuple[Any, str]:
        if name in self.TYPES:
            return self._values[name], self.TYPES[name]
        if name == self._region:
            return f"/objects/{self.id}/{name}", "child<memory-region>"
        return super().get_property(name)

    def info(self) -> dict[str, Any]:
        """What query-memdev tells of it."""
        shown = ("size", "merge", "dump", "prealloc", "share", "reserve", "host-nodes", "policy")
        return {"id": self.id, **{name: self._values[name] for name in shown}}


class RandomSource(UserObject):
    """Where a guest's random numbers come from: ``rng-random``, ``rng-builtin``.

    :param host: has the file that they come from
    """

    derived_from = "rng-backend"

    def __init__(self, object_id: str, host: HostFiles) -> None:
        super().__init__(object_id)
        self._host = host
        self._filename = _URANDOM

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        self._filename = properties.get("filename", self._filename)

    @override
    def added(self) -> None:
        """Look whether there is such a file.

        :raises GenericError: there is none
        """
        if self.qom_type == "rng-random" and self._filename != _URANDOM:
            try:
                os.close(self._host.open(self._filename, os.O_RDONLY | os.O_NONBLOCK))
            except OSError as error:
                raise GenericError(f"Could not open '{self._filename}': {error.strerror}") from None

    @override
    def property_types(self) -> Mapping[str, str]:
        types = {"opened": "bool"}
        return {"filename": "string", **types} if self.qom_type == "rng-random" else types

    @override
    def get_property(self, name: str) -> tuple[Any, str]:
        if name == "opened":
            return True, "bool"
        if name == "filename" and self.qom_type == "rng-random":
            return self._filename, "string"
        return super().get_property(name)


class RandomFile(RandomSource):
    """Random numbers from a file."""

    qom_type = "rng-random"


class RandomNumbers(RandomSource):
    """Random numbers of the program's own."""

    qom_type = "rng-builtin"


class Secret(UserObject):
    """A secret, in a file or given along.

    :param host: has the file
    """

    qom_type = "secret"

    TYPES: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "iv": "string",
            "keyid": "string",
            "format": "QCryptoSecretFormat",
            "file": "string",
            "data": "string",
        }
    )

    def __init__(self, object_id: str, host: HostFiles) -> None:
        super().__init__(object_id)
        self._host = host
        self._values: dict[str, Any] = {"format": "raw"}
        self.content = b""
        """The secret itself."""

    @override
    def configure(self, properties: Mapping[str, Any]) -> None:
        self._values.update(properties)
        raw = self._read()
        if self._values.get("keyid") is not None:
            raise NotServed("Encrypted secrets are not served by qmpd")
        self.content = _decoded(raw) if self._values["format"] == "base64" else raw

    def _read(self) -> bytes:
        data, path = self._values.get("data"), self._values.get("file")
        if data is not None and path is not None:
            raise GenericError("'file' and 'data' are mutually exclusive")
        if data is not None:
            return str(data).encode()
        if path is None:
            raise GenericError("Either 'file' or 'data' must be provided")
        try:
            return self._host.read(path)
        except OSError as error:
            raise GenericError(
                f"Unable to read {path}: Failed to open file “{path}”: {error.strerror}"
            ) from None

    @override
    def property_types(self) -> Mapping[str, str]:
        return _newest_first(self.TYPES)

    @override
    def get_property(self, name: str) -> tuple[Any, str]:
        if name in self.TYPES:
            return self._values.get(name, ""), self.TYPES[name]
        return super().get_property(name)


def _newest_first(types: Mapping[str, str]) -> dict[str, str]:
    return dict(reversed([*types.items()]))


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise GenericError("Base64 data contains invalid characters") from None


MAKERS: Final[Mapping[str, Callable[[str, HostFiles], UserObject]]] = MappingProxyType(
    {kind.qom_type: kind for kind in (MemoryBackend, RandomFile, RandomNumbers, Secret)}
)
"""What makes an object of each QOM type, given its id and the files of the host."""
