"""Commands of schema module machine-target: models of processors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.machine_target import QueryCpuModelExpansionArguments
    from qmpd.profile.recorded.cpus import CpuModels


def _models(context: Context) -> CpuModels:
    return context.machine.profile.recorded(context.machine.personality).cpus


def query_cpu_definitions(context: Context, _: None) -> list[dict[str, Any]]:
    """All models, as recorded."""
    return _models(context).definitions


def query_cpu_model_expansion(
    context: Context, arguments: QueryCpuModelExpansionArguments
) -> dict[str, Any]:
    """What a model is written out, as recorded."""
    props = arguments.model.props
    if props is not None and not isinstance(props, dict):
        # a model that is not there is told first
        _models(context).expansion(arguments.type, arguments.model.name, None)
        raise GenericError("Invalid parameter type for 'model.props', expected: object")
    name, values = _models(context).expansion(arguments.type, arguments.model.name, props)
    return {"model": {"name": name, "props": values}}


HANDLERS: Final[Handlers] = {
    "query-cpu-definitions": query_cpu_definitions,
    "query-cpu-model-expansion": query_cpu_model_expansion,
}
