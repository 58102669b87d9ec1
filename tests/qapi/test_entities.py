"""What the compiler makes of a schema."""

from __future__ import annotations

from pathlib import Path

from qmpd.profile.shipped import schema_path
from qmpd.qapi.compiler.entities import (
    AlternateType,
    ArrayType,
    BuiltinType,
    Command,
    Condition,
    EnumType,
    Event,
    Feature,
    ObjectType,
)
from qmpd.qapi.compiler.schema import compile_schema
from tests.qapi.support import compiled

TEXT = """\
{ 'enum': 'Kind', 'data': [ 'disk', { 'name': 'net', 'if': 'NET' }, 'none' ] }
{ 'struct': 'Base', 'data': { 'id': 'str' } }
{ 'struct': 'Disk', 'base': 'Base', 'data': { '*sizes': [ 'size' ] }, 'if': 'DISK' }
{ 'struct': 'Net', 'data': { 'x': { 'type': 'int', 'features': [ 'unstable' ], 'if': 'X' } } }
{ 'union': 'Device', 'base': { 'kind': 'Kind' }, 'discriminator': 'kind',
  'data': { 'net': { 'type': 'Net', 'if': 'NET' }, 'disk': 'Disk' } }
{ 'alternate': 'Ref', 'data': { 'name': 'str', 'device': 'Device' } }
{ 'command': 'plug', 'data': { 'device': 'Device', '*force': 'bool' }, 'returns': [ 'Disk' ],
  'allow-oob': true, 'success-response': false, 'features': [ { 'name': 'hot', 'if': 'H' } ] }
{ 'command': 'plug-one', 'boxed': true, 'data': 'Device', 'gen': false, 'coroutine': true }
{ 'command': 'idle', 'data': {}, 'allow-preconfig': true }
{ 'event': 'PLUGGED', 'data': 'Base' }
"""


def test_objects(tmp_path: Path) -> None:
    schema = compiled(tmp_path, TEXT)
    disk, device = schema.lookup("Disk"), schema.lookup("Device")
    assert isinstance(disk, ObjectType)
    assert isinstance(device, ObjectType)
    assert [member.name for member in disk.members()] == ["id", "sizes"]
    sizes = disk.local_members[0]
    assert sizes.optional
    assert sizes.type is schema.lookup("sizeList")
    assert disk.condition == Condition("DISK")
    assert disk.location is not None
    assert disk.location.line == 3
    assert disk.module == "main"

    assert device.base is schema.lookup("q_obj_Device-base")
    assert device.base.implicit
    assert device.discriminator is device.base.local_members[0]
    branches = [(b.name, b.type.name, b.condition) for b in device.branches]
    assert branches == [
        ("net", "Net", Condition("NET")),
        ("disk", "Disk", None),
        ("none", "q_empty", None),
    ]
    net = schema.lookup("Net")
    assert isinstance(net, ObjectType)
    assert [feature.name for feature in net.local_members[0].features] == ["unstable"]
    assert net.local_members[0].condition == Condition("X")


def test_commands_and_events(tmp_path: Path) -> None:
    schema = compiled(tmp_path, TEXT)
    plug, one, idle = schema.commands()
    assert plug.arguments is schema.lookup("q_obj_plug-arg")
    assert [m.name for m in plug.arguments.members()] == ["device", "force"]
    assert plug.returns is schema.lookup("DiskList")
    assert (plug.allow_oob, plug.success_response, plug.gen, plug.boxed) == (
        True,
        False,
        True,
        False,
    )
    assert plug.features == (Feature("hot", Condition("H")),)
    assert one.arguments is schema.lookup("Device")
    assert (one.boxed, one.gen, one.coroutine, one.returns) == (True, False, True, None)
    assert idle.arguments is None
    assert idle.allow_preconfig
    (plugged,) = schema.events()
    assert plugged.arguments is schema.lookup("Base")


def test_other_types(tmp_path: Path) -> None:
    schema = compiled(tmp_path, TEXT)
    kind, ref, array = schema.lookup("Kind"), schema.lookup("Ref"), schema.lookup("DiskList")
    assert isinstance(kind, EnumType)
    assert [m.name for m in kind.members] == ["disk", "net", "none"]
    assert kind.members[1].condition == Condition("NET")
    assert isinstance(ref, AlternateType)
    assert [(a.name, a.type.name) for a in ref.alternatives] == [
        ("name", "str"),
        ("device", "Device"),
    ]
    assert isinstance(array, ArrayType)
    assert array.element is schema.lookup("Disk")
    assert array.module == "main"
    size = schema.lookup("size")
    assert isinstance(size, BuiltinType)
    assert (size.json_type, size.module, size.location) == ("int", None, None)
    assert schema.lookup("sizeList").module is None


def test_definition_order(tmp_path: Path) -> None:
    schema = compiled(tmp_path, TEXT)
    defined = [e.name for e in schema.entities.values() if e.module == "main"]
    assert defined == [
        "Kind",
        "Base",
        "Disk",
        "Net",
        "q_obj_Device-base",
        "Device",
        "Ref",
        "q_obj_plug-arg",
        "DiskList",
        "plug",
        "plug-one",
        "idle",
        "PLUGGED",
    ]


def test_shipped_schema() -> None:
    schema = compile_schema(schema_path(), "10.0")
    add = schema.lookup("blockdev-add")
    assert isinstance(add, Command)
    assert add.arguments is schema.lookup("BlockdevOptions")
    assert add.module == "block-core"
    assert isinstance(schema.lookup("BLOCK_JOB_COMPLETED"), Event)
    documented = [e for e in schema.entities.values() if e.module and not e.name.startswith("q_")]
    assert all(e.doc for e in documented if not isinstance(e, ArrayType))
