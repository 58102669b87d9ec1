"""``-blockdev`` and other options whose value is a QAPI type: JSON or dotted keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.options.keyval import parse_keyval

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.qapi.runtime.arguments import Reader

    ParseJson = Callable[[str], object]


NBD_SERVER: Final = "NbdServerOptionsLegacy"
"""The type of nbd-server-start's arguments."""


def parse_tree(
    text: str, implied_key: str | None, parse_json: ParseJson | None = None
) -> dict[str, Any]:
    """Parse JSON or dotted keys into a tree of JSON values; dotted keys have only strings.

    :param parse_json: the version's reader of JSON; None: the usual one
    :raises GenericError: with QEMU's text
    """
    if text.startswith("{"):
        from qmpd.errors import QmpError

        if parse_json is None:
            from qmpd.wire.json_stream import parse_json as usual

            parse_json = usual
        try:
            tree = parse_json(text)
        except QmpError as error:
            raise GenericError(error.desc) from None
        if not isinstance(tree, dict):
            raise GenericError("JSON parse error, expecting value")
        return tree
    parsed = parse_keyval(text, implied_key)
    if parsed.wants_help:
        raise GenericError("Help is not available for this option")
    return parsed.tree


def read_option_value(
    reader: Reader, type_name: str, text: str, implied_key: str | None
) -> dict[str, Any]:
    """Read `text` as a value of QAPI type `type_name`; plain JSON values.

    :param reader: has the types of the schema
    :raises GenericError: a syntax error, or it does not fit the type
    """
    tree = parse_tree(text, implied_key, reader.parse_json)
    return read_tree_value(reader, type_name, tree, keyval=not text.startswith("{"))


def read_tree_value(
    reader: Reader, type_name: str, tree: dict[str, Any], *, keyval: bool
) -> dict[str, Any]:
    """Read a tree that has been parsed already.

    :param reader: has the types of the schema
    :param keyval: whether all scalars are strings, to be converted to the types of the schema
    :raises GenericError: it does not fit the type
    """
    plain: dict[str, Any] = reader.read_plain(type_name, tree, keyval=keyval)
    return plain if keyval else tree


def read_nbd_server(reader: Reader, text: str, *, address_first: bool = False) -> dict[str, Any]:
    """Read the parameters of the storage daemon's ``--nbd-server`` as NbdServerOptions.

    :param address_first: whether the address is looked at before the others
    :raises GenericError: a syntax error, or they do not fit
    """
    tree = parse_tree(text, None, reader.parse_json)
    keyval = not text.startswith("{")
    address = tree.pop("addr", None)
    # the schema's type for this command line differs from nbd-server-start's in the
    # address only, and comes from no command: its parts are read one by one
    legacy = {"type": "unix", "data": {"path": ""}}
    rest: dict[str, Any] = {}
    wrong: GenericError | None = None
    try:
        rest = read_tree_value(reader, NBD_SERVER, {**tree, "addr": legacy}, keyval=keyval)
    except GenericError as error:
        wrong = error
        # what nobody knows is told last
        if not address_first and not error.desc.endswith(" is unexpected"):
            raise
    given = _read_address(reader, address, keyval=keyval)
    if wrong is not None:
        raise wrong
    return {**rest, "addr": given}


def _read_address(reader: Reader, address: Any, *, keyval: bool) -> dict[str, Any]:
    if address is None:
        raise GenericError("Parameter 'addr' is missing")
    if not isinstance(address, dict):
        raise GenericError("Invalid parameter type for 'addr', expected: object")
    try:
        return read_tree_value(reader, "SocketAddress", address, keyval=keyval)
    except GenericError as error:
        if "does not accept value" in error.desc or error.desc.startswith("Invalid parameter '"):
            raise
        raise GenericError(error.desc.replace("'", "'addr.", 1)) from None
