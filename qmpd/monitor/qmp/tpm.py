"""Commands of schema module tpm: what the real program knows; a machine of qmpd has none."""

from __future__ import annotations

from typing import Final

from qmpd.monitor.qmp.handlers import Context, Handlers


def query_tpm(context: Context, _: None) -> list[object]:
    """The machine has no TPM."""
    return []


def query_tpm_models(context: Context, _: None) -> list[str]:
    """The models that the real program has."""
    return ["tpm-crb", "tpm-tis"]


def query_tpm_types(context: Context, _: None) -> list[str]:
    """What may be behind them there."""
    return ["passthrough", "emulator"]


HANDLERS: Final[Handlers] = {
    "query-tpm": query_tpm,
    "query-tpm-models": query_tpm_models,
    "query-tpm-types": query_tpm_types,
}
