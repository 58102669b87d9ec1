"""The node of a ``-drive``, from its file name and options (``bdrv_fill_options``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.block.change.nbd_name import check_no_conflict, nbd_options, take_legacy_server
from qmpd.block.change.opening import open_node
from qmpd.block.change.probe import PROBE_SIZE, probe, protocol_options, undotted, warn_of_guess
from qmpd.block.model.driver_table import find_driver
from qmpd.errors import GenericError, QmpError
from qmpd.options.block_tree import read_tree_value
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import parse_option_size
from qmpd.wire.json_stream import parse_json

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node
    from qmpd.profile import Profile

Tree = dict[str, Any]
"""Options of a node, with those of its children inside; all scalars are strings."""

SIZES: Final = frozenset(
    "size offset l2-cache-size l2-cache-entry-size refcount-cache-size cache-size align"
    " max-transfer opt-write-zero max-write-zero opt-discard max-discard prealloc-align"
    " prealloc-size".split(" ")
)
"""Options that accept a unit after the number."""

_MISSING: Final = {
    "file": 'A block device must be specified for "file"',
    "image": 'A block device must be specified for "image"',
    "children": "Number of provided children must be 1 or more",
    "server": "NBD server address missing",
    "throttle-group": "Please specify a throttle group",
}
"""Messages of drivers about options that are missing."""

_SHOWN_THROUGH: Final = frozenset({"blkdebug", "throttle", "copy-on-read", "compress"})
"""Drivers whose nodes have the same content as their child."""


async def open_drive_node(
    graph: Graph, profile: Profile, filename: str | None, options: dict[str, str], aio: str | None
) -> Node:
    """Open the node of a drive.

    :param profile: whose types the options have
    :param filename: what `file` says
    :param options: all others, by their dotted names
    :param aio: the asynchronous I/O of the file, as `aio` says
    :raises GenericError: with QEMU's text
    :raises QmpError: it cannot be opened
    """
    tree = _unflatten(options)
    format_guessed = _complete(graph, tree, filename)
    flagged = _set_aio(tree, aio)
    read = _read(profile, tree)
    node = await open_node(graph, read, active=not graph.incoming, probed=format_guessed)
    _keep_texts(node, tree, flagged)
    warn_of_guess(node)
    return node


def _unflatten(values: dict[str, str]) -> Tree:
    text = ",".join(f"{name}={value.replace(',', ',,')}" for name, value in values.items())
    return dict(parse_keyval(text).tree)


def _complete(graph: Graph, tree: Tree, filename: str | None) -> bool:
    """Add driver and file to the options; returns whether the format was guessed.

    :raises QmpError: the options cannot be right
    """
    if filename is not None and filename.startswith("json:"):
        tree.update(_json_options(filename) | tree)
        filename = None
    driver = tree.get("driver")
    if driver is not None and find_driver(driver).shape.is_protocol:
        _complete_protocol(graph, tree, filename)
        return False
    child = tree.get("file")
    if isinstance(child, str):
        if filename is not None:
            raise GenericError(
                "Cannot reference an existing block device with additional options"
                " or a new filename"
            )
    elif child is not None or filename is not None:
        tree["file"] = child = dict(child or {})
        _complete_file(graph, child, filename)
    elif driver is None:
        raise GenericError("Must specify either driver or file")
    if driver is not None:
        return False
    guess = _guess_format(graph, child)
    if guess is not None:
        tree["driver"] = guess
    return True


def _json_options(filename: str) -> Tree:
    try:
        options = parse_json(filename.removeprefix("json:"))
    except QmpError as error:
        raise GenericError(f"Could not parse the JSON options: {error.desc}") from None
    if not isinstance(options, dict):
        raise GenericError("Invalid JSON object given")
    return undotted(options)


def _complete_file(graph: Graph, tree: Tree, filename: str | None) -> None:
    """Add the driver to the options of the child `file`."""
    driver = tree.get("driver")
    if filename is not None and filename.startswith("json:"):
        _complete(graph, tree, filename)
    elif driver is None:
        if filename is not None and "filename" in tree:
            raise _both_names()
        if filename is None and "filename" not in tree:
            raise GenericError("Must specify either driver or file")
        named = protocol_options(filename) if filename is not None else {"driver": "file"}
        if named["driver"] == "nbd":
            check_no_conflict(tree)
        tree.update(named | tree)
    elif find_driver(driver).shape.is_protocol:
        _complete_protocol(graph, tree, filename)
    else:
        _complete(graph, tree, filename)


def _complete_protocol(graph: Graph, tree: Tree, filename: str | None) -> None:
    """Add the file name to the options of a protocol driver."""
    driver = tree["driver"]
    image = tree.get("image")
    if isinstance(image, dict):
        tree["image"] = image = dict(image)
        _complete_file(graph, image, None)
    if find_driver(driver).shape.needs_filename:
        if filename is not None:
            if "filename" in tree:
                raise _both_names()
            tree["filename"] = filename.removeprefix(f"{driver}:")
        if not tree.get("filename"):
            raise GenericError(f"The '{driver}' block driver requires a file name")
    elif driver == "nbd":
        if filename is not None:
            check_no_conflict(tree)
            tree.update(nbd_options(filename) | tree)
        take_legacy_server(tree)
    elif filename is not None and filename != f"{driver}://":
        raise GenericError(f"The only allowed filename for this driver is '{driver}://'")


def _both_names() -> GenericError:
    return GenericError("Can't specify 'file' and 'filename' options at the same time")


def _guess_format(graph: Graph, file: Tree | str | None) -> str | None:
    """Probe the format of a file; None where that is done once it is open, by its node."""
    while isinstance(file, dict) and file["driver"] in _SHOWN_THROUGH:
        file = file.get("image", file.get("file"))
    if isinstance(file, dict) and file["driver"] == "nbd":
        return None
    if not isinstance(file, dict) or file["driver"] != "file":
        return "raw"
    image = graph.services.storage.open(str(file["filename"]), read_only=True)
    try:
        return probe(image.pread(0, PROBE_SIZE))
    finally:
        image.close()


def _set_aio(tree: Tree, aio: str | None) -> Tree | None:
    """Set `aio` for the file among the options that does not say it itself.

    :returns: the options of that file.  To QEMU it is a flag of the node (``BDRV_O_NATIVE_AIO``)
        and not among its options, so that a reopen need not repeat it
    """
    if aio is None:
        return None
    if tree.get("driver") == "file":
        if "aio" in tree:
            return None
        tree["aio"] = aio
        return tree
    child = tree.get("file")
    return _set_aio(child, aio) if isinstance(child, dict) else None


def _read(profile: Profile, tree: Tree) -> dict[str, Any]:
    """Convert the options to BlockdevOptions.

    :raises GenericError: with the texts that ``-drive`` has for wrong options
    """
    if "driver" not in tree:
        # whatever format the server's image has, it has the options of one with backing files
        options = _read(profile, tree | {"driver": "qcow2"})
        del options["driver"]
        return options
    backing = tree.get("backing")
    if backing is not None and not find_driver(tree["driver"]).capabilities.backing:
        raise GenericError("Driver doesn't support backing files")
    whole = dict(tree)
    partial = _take_partial_backing(profile, whole)
    plain = _plain(whole)
    try:
        options = read_tree_value(profile.reader, "BlockdevOptions", plain, keyval=True)
    except GenericError as error:
        raise _reworded(error, tree) from None
    if partial is not None:
        options["backing"] = partial
    return options


def _plain(tree: Any, name: str = "") -> Any:
    """Strings as the keyval visitor reads them; sizes become numbers without a unit."""
    if isinstance(tree, dict):
        return {key: _plain(value, key) for key, value in tree.items()}
    if isinstance(tree, bool):
        return "on" if tree else "off"
    if isinstance(tree, int):
        return str(tree)
    if name in SIZES and isinstance(tree, str):
        return str(parse_option_size(name, tree))
    return tree


def _take_partial_backing(profile: Profile, tree: Tree) -> dict[str, Any] | None:
    """Take the options of the backing file out of `tree` if they do not name its driver.

    :raises GenericError: they are malformed
    """
    backing = tree.get("backing")
    if not isinstance(backing, dict) or "driver" in backing:
        return None
    del tree["backing"]
    below = _take_partial_backing(profile, backing)
    whole = {"driver": "qcow2", "file": "", **backing}
    options = read_tree_value(profile.reader, "BlockdevOptions", whole, keyval=True)
    partial = {name: value for name, value in options.items() if name in backing}
    if below is not None:
        partial["backing"] = below
    return partial


def _reworded(error: GenericError, tree: Tree) -> GenericError:
    """The error that ``-drive`` reports where the schema refuses an option."""
    text = error.desc
    if "'server." in text:
        # the driver reads it by itself
        return GenericError(text.replace("'server.", "'"))
    if text.endswith("' is missing"):
        name = text.split("'")[1].rpartition(".")[2]
        return GenericError(_MISSING.get(name, text))
    if text.endswith("' is unexpected"):
        path = text.split("'")[1].split(".")
        while isinstance(tree.get(path[0]), dict) and "driver" in tree[path[0]]:
            tree = tree[path.pop(0)]
        driver, rest = tree["driver"], tree.get(path[-1])
        while isinstance(rest, dict):
            path.append(next(iter(rest)))
            rest = rest[path[-1]]
        name = ".".join(path)
        if find_driver(driver).shape.is_protocol:
            text = f"Block protocol '{driver}' doesn't support the option '{name}'"
        else:
            text = f"Block format '{driver}' does not support the option '{name}'"
    elif text.startswith("Parameter 'driver' does not accept value"):
        text = f"Unknown driver '{text.split(chr(39))[3]}'"
    return GenericError(text)


def _keep_texts(node: Node, tree: Tree, flagged: Tree | None) -> None:
    """Keep the options as they were written, which query replies show.

    :param flagged: the options in which `aio` is none, but a flag
    """
    strong = node.driver.shape.strong_options
    texts = {name: tree[name] for name in strong if isinstance(tree.get(name), str)}
    node.options = node.options.with_texts(texts)
    if tree is flagged:
        node.options = node.options.not_given("aio")
    for name, edge in node.children.items():
        below = tree.get(name)
        if isinstance(below, dict):
            _keep_texts(edge.node, below, flagged)
