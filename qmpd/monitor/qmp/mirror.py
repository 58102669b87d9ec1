"""Commands blockdev-mirror and drive-mirror of schema module block-core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.block.change.aio_context import try_change
from qmpd.block.change.closing import release
from qmpd.block.change.create_image import create_image, open_image
from qmpd.block.model.blockers import Op
from qmpd.block.model.filename import filename
from qmpd.block.model.graph import lookup_root
from qmpd.errors import GenericError
from qmpd.jobs.core.options import JobOptions
from qmpd.jobs.core.states import OnError
from qmpd.jobs.mirror.end import Backing
from qmpd.jobs.mirror.start import MirrorOptions, start_mirror
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.profile.models.block_core import BlockdevMirrorArguments, DriveMirror


def _options(arguments: Any, *, unmap: bool, target_is_zero: bool) -> MirrorOptions:
    return MirrorOptions(
        JobOptions.read(arguments),
        sync=arguments.sync,
        replaces=arguments.replaces,
        granularity=arguments.granularity or 0,
        buf_size=arguments.buf_size or 0,
        on_source_error=OnError(arguments.on_source_error or "report"),
        on_target_error=OnError(arguments.on_target_error or "report"),
        unmap=unmap,
        write_blocking=arguments.copy_mode == "write-blocking",
        target_is_zero=target_is_zero,
    )


async def blockdev_mirror(context: Context, arguments: BlockdevMirrorArguments) -> None:
    """Bring a node up to date with a device, and keep it so."""
    machine = context.machine
    source = lookup_root(machine.graph, arguments.device)
    target = machine.graph.lookup(arguments.target)
    await try_change(target, source.aio_context)
    await start_mirror(
        machine.jobs,
        source,
        target,
        _options(arguments, unmap=True, target_is_zero=arguments.target_is_zero is True),
        backing=Backing.LEAVE,
        zero_target=arguments.sync == "full",
    )


async def drive_mirror(context: Context, arguments: DriveMirror) -> None:
    """Mirror a device to an image that is made, or opened, for it."""
    machine = context.machine
    graph = machine.graph
    source = lookup_root(graph, arguments.device)
    source.check_operation(Op.MIRROR_SOURCE)
    existing = arguments.mode == "existing"
    below = source.backing_chain_next
    sync = "full" if arguments.sync == "top" and below is None else arguments.sync
    if sync == "none":
        below = source
    if arguments.replaces is not None and arguments.node_name is None:
        raise GenericError("a node-name must be provided when replacing a named node of the graph")
    image_format = arguments.format
    if image_format is None and not existing:
        image_format = source.driver.format_name
    if not existing:
        backing: Node | None = None if sync == "full" else below
        if backing is not None:
            backing = backing.skip_implicit_filters()
        assert image_format is not None
        await create_image(
            graph,
            arguments.target,
            image_format,
            source.length,
            backing_file=None if backing is None else filename(backing),
            backing_format=None if backing is None else backing.driver.format_name,
        )
    target = await open_image(
        graph, arguments.target, image_format, node_name=arguments.node_name, like=source
    )
    try:
        await try_change(target, source.aio_context)
        is_zero = not existing and target.driver.has_zero_init()
        await start_mirror(
            machine.jobs,
            source,
            target,
            _options(arguments, unmap=arguments.unmap is not False, target_is_zero=is_zero),
            backing=Backing.OPEN if existing else Backing.SOURCE,
            zero_target=sync == "full",
        )
    finally:
        await release(target)


HANDLERS: Final[Handlers] = {
    "blockdev-mirror": blockdev_mirror,
    "drive-mirror": drive_mirror,
}
