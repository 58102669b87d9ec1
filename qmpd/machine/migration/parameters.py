"""What a migration goes by, and which values are allowed (``migrate_params_check``)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from qmpd.errors import GenericError
from qmpd.machine.migration.aliases import check
from qmpd.machine.migration.refusing import refuse

_MIB: Final = 1 << 20
_PAGE: Final = 4096

_DEFAULTS: Final[Mapping[str, object]] = {
    "announce-initial": 50,
    "announce-max": 550,
    "announce-rounds": 5,
    "announce-step": 100,
    "compress-level": 1,
    "compress-threads": 8,
    "compress-wait-thread": True,
    "decompress-threads": 2,
    "throttle-trigger-threshold": 50,
    "cpu-throttle-initial": 20,
    "cpu-throttle-increment": 10,
    "cpu-throttle-tailslow": False,
    "tls-creds": "",
    "tls-hostname": "",
    "tls-authz": "",
    "max-bandwidth": 128 * _MIB,
    "avail-switchover-bandwidth": 0,
    "downtime-limit": 300,
    "x-checkpoint-delay": 20000,
    "block-incremental": False,
    "multifd-channels": 2,
    "xbzrle-cache-size": 64 * _MIB,
    "max-postcopy-bandwidth": 0,
    "max-cpu-throttle": 99,
    "multifd-compression": "none",
    "multifd-zlib-level": 1,
    "multifd-zstd-level": 1,
    "multifd-qatzip-level": 1,
    "block-bitmap-mapping": None,
    "x-vcpu-dirty-limit-period": 1000,
    "vcpu-dirty-limit": 1,
    "mode": "normal",
    "zero-page-detection": "multifd",
    "direct-io": False,
    "x-rdma-chunk-size": _MIB,
    "cpr-exec-command": [],
}
"""All parameters of all versions, in the order of the schema; None: not there."""

_64_BITS: Final = (1 << 64) - 1
_MASKS: Final = (
    ("max-bandwidth", _64_BITS),
    ("avail-switchover-bandwidth", _64_BITS),
    ("max-postcopy-bandwidth", _64_BITS),
    ("xbzrle-cache-size", _64_BITS),
    ("x-checkpoint-delay", (1 << 32) - 1),
    ("compress-level", 255),
    ("compress-threads", 255),
    ("decompress-threads", 255),
    ("throttle-trigger-threshold", 255),
    ("cpu-throttle-initial", 255),
    ("cpu-throttle-increment", 255),
    ("max-cpu-throttle", 255),
    ("multifd-channels", 255),
    ("multifd-zlib-level", 255),
    ("multifd-zstd-level", 255),
)
"""Parameters that have no sign, and their bits, to which they are cut where more can be given."""

_LEVELS: Final = frozenset({"multifd-zlib-level", "multifd-zstd-level"})

_TLS: Final = ("tls-creds", "tls-hostname", "tls-authz")


class Parameters:
    """The parameters of one machine's migrations.

    :param known: those that its version has; the others stay as they are
    :param takes_levels: whether levels of multifd are set, not passed over
    """

    def __init__(self, known: Collection[str], *, takes_levels: bool = True) -> None:
        self._values: dict[str, Any] = dict(_DEFAULTS)
        self._known = known
        self._passed_over = frozenset() if takes_levels else _LEVELS

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def info(self) -> dict[str, Any]:
        """MigrationParameters."""
        return {
            name: value
            for name, value in self._values.items()
            if value is not None and name in self._known
        }

    @property
    def plain(self) -> bool:
        """Whether data goes neither compressed nor by TLS."""
        return _plain(self._values)

    def set(self, changes: Mapping[str, Any], capability: Callable[[str], bool]) -> None:
        """Change some of them, or none (``qmp_migrate_set_parameters``).

        :param changes: MigrateSetParameters
        :param capability: whether a migration may do something
        :raises GenericError: a value is not allowed
        """
        changes = {
            name: "" if name in _TLS and value is None else value
            for name, value in changes.items()
            if name not in self._passed_over
        }
        changes |= {name: changes[name] & mask for name, mask in _MASKS if name in changes}
        wanted = self._values | changes
        _check_ranges(wanted)
        mapping = wanted["block-bitmap-mapping"]
        if mapping is not None:
            try:
                check(mapping)
            except GenericError as error:
                raise GenericError(
                    f"Invalid mapping given for block-bitmap-mapping: {error.desc}"
                ) from None
        refuse(
            capability("zero-copy-send") and not _plain(wanted),
            "Zero copy only available for non-compressed non-TLS multifd migration",
        )
        # QEMU looks at what has been set before, not at what is to be set
        refuse(
            capability("mapped-ram") and not self.plain,
            "Mapped-ram only available for non-compressed non-TLS multifd migration",
        )
        _range(wanted, "x-vcpu-dirty-limit-period", 1, 1000, "a value", "x-vcpu-dirty-limit-period")
        refuse(
            wanted["vcpu-dirty-limit"] < 1,
            "Parameter 'vcpu_dirty_limit' must be greater than 1 MB/s",
        )
        self._values = wanted


def _check_ranges(wanted: Mapping[str, Any]) -> None:
    _range(wanted, "compress-level", 0, 9, "a value")
    _range(wanted, "compress-threads", 1, 255, "a value")
    _range(wanted, "decompress-threads", 1, 255, "a value")
    for name, last in (
        ("throttle-trigger-threshold", 100),
        ("cpu-throttle-initial", 99),
        ("cpu-throttle-increment", 99),
    ):
        _expect(wanted, name, 1, last, f"an integer in the range of 1 to {last}")
    # the text is QEMU's: it prints the product as it is written in its source
    limit = "an integer in the range of 0 to (2000 * 1000) ms"
    _expect(wanted, "downtime-limit", 0, 2000 * 1000, limit)
    _expect(wanted, "multifd-channels", 1, 255, "a value between 1 and 255")
    _range(wanted, "multifd-zlib-level", 0, 9, "a value")
    _range(wanted, "multifd-qatzip-level", 1, 9, "a value")
    _range(wanted, "multifd-zstd-level", 0, 20, "a value")
    cache = wanted["xbzrle-cache-size"]
    refuse(
        cache < _PAGE or cache & (cache - 1) != 0,
        "Parameter 'xbzrle_cache_size' expects a power of two no less than the target page size",
    )
    lowest = wanted["cpu-throttle-initial"]
    text = "an integer in the range of cpu_throttle_initial to 99"
    _expect(wanted, "max-cpu-throttle", lowest, 99, text)
    _range(wanted, "announce-initial", 0, 100000, "a value")
    _range(wanted, "announce-max", 0, 100000, "a value")
    _range(wanted, "announce-rounds", 0, 1000, "a value")
    _expect(wanted, "announce-step", 1, 10000, "a value between 0 and 10000")
    chunk = wanted["x-rdma-chunk-size"]
    refuse(
        not _MIB <= chunk <= 1024 * _MIB or chunk & (chunk - 1) != 0,
        "Option x_rdma_chunk_size expects a power of 2 in the range 1MiB to 1024MiB",
    )


def _plain(values: Mapping[str, Any]) -> bool:
    return values["multifd-compression"] == "none" and not values["tls-creds"]


def _range(
    wanted: Mapping[str, Any], name: str, first: int, last: int, what: str, shown: str | None = None
) -> None:
    _expect(wanted, name, first, last, f"{what} between {first} and {last}", shown)


def _expect(
    wanted: Mapping[str, Any], name: str, first: int, last: int, text: str, shown: str | None = None
) -> None:
    if not first <= wanted[name] <= last:
        shown = name.replace("-", "_") if shown is None else shown
        raise GenericError(f"Parameter '{shown}' expects {text}")
