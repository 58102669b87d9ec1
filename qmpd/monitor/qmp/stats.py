"""Commands of schema module stats: a machine that computes nothing has nothing to count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.stats import QueryStatsSchemasArguments

_CRYPTO: Final = [
    f"{kind}-{what}-{unit}"
    for unit in ("bytes", "ops")
    for kind, whats in (("asym", ("verify", "sign", "decrypt", "encrypt")),)
    for what in whats
] + [f"sym-{what}-{unit}" for unit in ("bytes", "ops") for what in ("decrypt", "encrypt")]


def query_stats(context: Context, _: object) -> list[object]:
    """Nothing: there is neither KVM nor a cryptographic device."""
    return []


def query_stats_schemas(
    context: Context, arguments: QueryStatsSchemasArguments
) -> list[dict[str, Any]]:
    """What the one provider that needs no KVM would count."""
    if arguments.provider not in (None, "cryptodev"):
        return []
    stats = [{"name": name, "type": "cumulative", "exponent": 0} for name in _CRYPTO]
    return [{"provider": "cryptodev", "target": "cryptodev", "stats": stats}]


HANDLERS: Final[Handlers] = {
    "query-stats": query_stats,
    "query-stats-schemas": query_stats_schemas,
}
