"""What management programs ask a machine about, and do around its guest, beside the real QEMU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.devices.boards import Boards, outcomes
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

_THREAD = re.compile(r"thread_id=\d+")

Request = tuple[str, dict[str, Any]]


class Managed(Boards):
    """Both programs, asked the same."""

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask both, and compare all but the ids of threads."""
        request = {"execute": command, "arguments": arguments}
        said = [_plain(program.execute(request)) for program in (self.real, self.ours)]
        assert said[1] == said[0], (request, *said)
        return said[0][-1]

    def human(self, line: str) -> Any:
        return self.ask("human-monitor-command", **{"command-line": line})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        left_out = ("timestamp", "thread-id")
        return {name: _plain(each) for name, each in value.items() if name not in left_out}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return _THREAD.sub("thread_id=N", value) if isinstance(value, str) else value


@contextmanager
def managed(scratch: Path, machine: str, *options: str) -> Iterator[Managed]:
    both = Managed(scratch, machine, *options)
    try:
        yield both
    finally:
        both.close()


NODE = "-blockdev driver=null-co,node-name=n,size=1048576"

BOARDS = {
    "nothing": "none",
    "pc": "pc -smp 3 -m 64M",
    "q35": "q35 -m 8G",
    "without parts": "pc,hpet=off,acpi=off -m 4G",
    "an older one": f"pc-q35-6.0 {NODE} -device virtio-blk-pci,drive=n",
    "the oldest": f"pc-i440fx-2.12 {NODE} -device virtio-blk-pci,drive=n",
    "adapters and ports": "pc -vga cirrus -net nic -net nic -serial null -serial null"
    " -parallel null -device virtio-net-pci,romfile=",
    "ports of character devices": "pc -chardev null,id=c -chardev null,id=d -serial none"
    " -serial chardev:c -parallel chardev:d -parallel none -parallel null",
    "drives": "pc -drive if=ide,driver=null-co,size=1M -drive if=ide,index=2,media=cdrom"
    " -drive if=floppy,index=1",
    "floppies of q35": "q35 -drive if=floppy,index=0",
    "scsi": "q35 -device virtio-scsi-pci,id=scsi0 -drive if=none,id=d0,driver=null-co,size=1M"
    " -device scsi-hd,drive=d0,id=hd0,bus=scsi0.0 -device scsi-cd,bus=scsi0.0",
    "bridges": f"q35 {NODE} -device pcie-root-port,id=rp,chassis=3,slot=2"
    " -device virtio-blk-pci,drive=n,bus=rp,serial=abc -device pci-bridge,chassis_nr=3,id=b"
    " -device virtio-rng-pci,bus=b,addr=3",
    "usb": f"pc {NODE} -device piix3-usb-uhci,id=u1 -device usb-tablet,id=t"
    " -device qemu-xhci,id=x -device usb-kbd,bus=x.0 -device usb-mouse,bus=x.0,port=3"
    " -device usb-storage,bus=x.0,drive=n -device usb-ehci,id=e -device usb-tablet,bus=e.0",
    "serial ports": "q35 -device virtio-serial-pci,id=vs -chardev null,id=c0"
    " -chardev ringbuf,id=c1 -device virtserialport,chardev=c0,name=org.q,id=p0"
    " -device virtserialport,chardev=c1 -device virtconsole",
    "virtio otherwise": f"pc {NODE} -object iothread,id=t0 -device"
    ' {"driver":"virtio-blk-pci","drive":"n","iothread-vq-mapping":[{"iothread":"t0"}]}'
    " -device virtio-scsi-pci,disable-legacy=on,vectors=0,iothread=t0"
    " -device virtio-balloon-pci,page-per-vq=on -device virtio-rng-pci,aer=on",
    "others": f"q35 {NODE} -device nvme,serial=x,drive=n,id=nv -device lsi53c895a -device VGA"
    " -device e1000 -device i6300esb -device rtl8139",
}
"""Machine types, and further options."""


@pytest.mark.parametrize("name", BOARDS)
def test_all_devices_are_shown(name: str, tmp_path: Path) -> None:
    with managed(tmp_path, *BOARDS[name].split(" ")) as both:
        both.human("info qtree")
        both.human("info qtree -b")
        both.ask("query-pci")
        both.human("info pci")
        both.human("info usb")


def test_devices_that_come_and_go(tmp_path: Path) -> None:
    with managed(tmp_path, "pc", "-device", "qemu-xhci,id=x", *NODE.split(" ")) as both:
        for number in range(3):
            both.ask("device_add", driver="usb-mouse", id=f"m{number}", bus="x.0")
        both.ask("device_add", driver="usb-mouse", id="m9", bus="x.0", port="2")
        both.unplug("m1")
        both.ask("device_add", driver="usb-tablet", id="t", bus="x.0", port="2")
        both.ask("device_add", driver="virtio-scsi-pci", id="s", addr="7")
        both.ask("device_add", driver="scsi-hd", id="hd", drive="n", bus="s.0", serial="s" * 20)
        both.human("info qtree")
        both.ask("query-mice")
        both.human("mouse_set 77")
        both.human("mouse_set 4")
        both.human("info mice")
        for serial in ("s" * 21, "s" * 37):
            both.ask("device_add", driver="scsi-cd", bus="s.0", serial=serial)


QUERIES: list[Request] = [
    *(
        (name, {})
        for name in (
            "query-cpu-definitions query-target query-kvm query-tpm query-tpm-models"
            " query-tpm-types query-sev query-sev-capabilities query-sgx query-sgx-capabilities"
            " query-hotpluggable-cpus query-cpus-fast query-current-machine query-memdev"
            " query-memory-devices query-memory-size-summary query-stats-schemas query-mice"
            " query-vnc query-vnc-servers query-spice query-balloon query-acpi-ospm-status"
            " query-vcpu-dirty-limit query-dirty-rate query-vm-generation-id query-rx-filter"
            " query-hv-balloon-status-report query-display-options query-uuid query-name"
            " query-audiodevs query-replay query-dump query-dump-guest-memory-capability"
            " query-gic-capabilities system_wakeup inject-nmi replay-delete-break"
        ).split(" ")
    ),
    ("query-machines", {"compat-props": True}),
    ("query-command-line-options", {"option": "drive"}),
    ("query-cpu-model-expansion", {"type": "static", "model": {"name": "qemu64"}}),
    ("query-cpu-model-expansion", {"type": "full", "model": {"name": "max"}}),
    ("query-stats", {"target": "vm"}),
    ("query-stats", {"target": "vcpu", "vcpus": ["/nosuch"]}),
    ("query-stats-schemas", {"provider": "cryptodev"}),
    ("device-list-properties", {"typename": "virtio-blk-pci"}),
    *(
        ("qom-get", {"path": "/machine/unattached/device[0]", "property": name})
        for name in ("type", "vendor", "apic-id", "feature-words", "realized", "nosuch")
    ),
    ("set-action", {"reboot": "reset", "panic": "none", "watchdog": "debug"}),
    ("set-action", {"watchdog": "bogus"}),
    ("watchdog-set-action", {"action": "none"}),
    ("replay-break", {"icount": 1}),
    ("replay-seek", {"icount": 1}),
    ("send-key", {"keys": [{"type": "qcode", "data": "ret"}], "hold-time": -5}),
    ("send-key", {"keys": [{"type": "number", "data": 500}]}),
    ("screendump", {"filename": "x.ppm"}),
    ("add_client", {"protocol": "vnc", "fdname": "f"}),
    *(
        ("calc-dirty-rate", {"calc-time": 1, **more})
        for more in (
            {"calc-time": 61},
            {"calc-time": 49, "calc-time-unit": "millisecond"},
            {"sample-pages": 127},
            {"mode": "dirty-bitmap", "sample-pages": 512},
            {"mode": "dirty-ring"},
        )
    ),
    *(
        ("trace-event-get-state", {"name": name})
        for name in ("bdrv_open*", "nosuch", "?drv_open_common", "*drv_open_commo?", "nosuch*")
    ),
    ("trace-event-set-state", {"name": "bdrv_open_*", "enable": True}),
    ("trace-event-set-state", {"name": "qxl_io_write_vga", "enable": True}),
    (
        "trace-event-set-state",
        {"name": "qxl_io_write_vga", "enable": True, "ignore-unavailable": True},
    ),
    ("trace-event-get-state", {"name": "*_open_*"}),
    ("trace-event-get-state", {"name": "qxl_io_write_vga"}),
]

LINES = (
    "sendkey ctrl-alt-f1 100|sendkey nosuch|sendkey 0x1e|sendkey 0x|sendkey <|sendkey ctrl-|"
    "trace-event bdrv_open_common off|trace-event nosuch on|trace-event nosuch* on|"
    "info trace-events bdrv_open*|info trace-events nosuch|info cpus|info mice|info balloon|"
    "info memory_size_summary|info hotpluggable-cpus|info iothreads|info memdev|"
    "info memory-devices|info vnc|info spice|info kvm|info replay|info dump|info dirty_rate|"
    "info vcpu_dirty_limit|watchdog_action none|watchdog_action bogus|system_wakeup|nmi|balloon 9|"
    "set_link n0 off|netdev_del n0|calc_dirty_rate 0|calc_dirty_rate -r -b 1|calc_dirty_rate -r 1|"
    "mouse_set 2|screendump x|screendump x -f png nosuch 2|screendump x -f|screendump x -z|"
    "exit_preconfig|info tpm|"
    "info vm-generation-id|info usb"
).split("|")


@pytest.mark.parametrize(
    "machine",
    [
        "none",
        "none -m 64M",
        "pc -smp 2,maxcpus=4 -m 64M,slots=2,maxmem=1G",
        "pc,acpi=off -device virtio-balloon-pci",
        "q35 -object iothread,id=t",
    ],
)
def test_the_same_is_answered(machine: str, tmp_path: Path) -> None:
    with managed(tmp_path, *machine.split(" ")) as both:
        for command, arguments in QUERIES:
            both.ask(command, **arguments)
        for line in LINES:
            both.human(line)


def test_what_is_typed_needs_a_device_that_takes_it(tmp_path: Path) -> None:
    options = ("-device", "qemu-xhci,id=x", "-device", "usb-tablet,id=t,bus=x.0")
    with managed(tmp_path, "q35", *options) as both:
        key = {"down": True, "key": {"type": "qcode", "data": "ret"}}
        finger = {"type": "begin", "slot": 0, "tracking-id": 1, "axis": "x", "value": 1}
        events: dict[str, Any] = {
            "key": key,
            "abs": {"axis": "x", "value": 4},
            "rel": {"axis": "x", "value": 4},
            "btn": {"button": "left", "down": True},
            "mtt": finger,
        }
        for state in ("stopped", "running", "without the tablet"):
            if state == "running":
                both.ask("cont")
            elif state != "stopped":
                both.unplug("t")
            for kind, data in events.items():
                both.ask("input-send-event", events=[{"type": kind, "data": data}])
            for device in ("nosuch", "x"):
                both.ask("input-send-event", device=device, events=[])


@pytest.mark.parametrize(
    "text",
    "bdrv_open* enable=bdrv_open_common -bdrv_open* nosuch nosuch* qxl_io_write_vga".split(" "),
)
def test_trace_events_of_the_command_line(text: str, tmp_path: Path) -> None:
    with managed(tmp_path, "none", "-trace", text) as both:
        both.ask("trace-event-get-state", name="bdrv_*")
        both.ask("trace-event-get-state", name="qxl_io_write_vga")
    (tmp_path / "outcomes").mkdir()
    real, ours = outcomes(tmp_path / "outcomes", ["-machine", "none", "-trace", text])
    assert ours == real


@pytest.mark.parametrize("machine", ["none", "pc -m 64M"])
def test_a_guest_that_does_nothing_writes_nothing(machine: str, tmp_path: Path) -> None:
    with managed(tmp_path, *machine.split(" ")) as both:
        for mode in ("page-sampling", "dirty-bitmap"):
            measure = {"calc-time": 100, "calc-time-unit": "millisecond", "mode": mode}
            both.ask("calc-dirty-rate", **measure)
            for program in (both.real, both.ours):
                found = _until_measured(program)
                # no pages to look at tell nothing
                unknown = machine == "none" and mode == "page-sampling"
                assert found["dirty-rate"] == (-1 if unknown else 0)
                assert found["calc-time"] >= 100
                assert (found["sample-pages"], found["mode"]) == (
                    0 if mode == "dirty-bitmap" else 512,
                    mode,
                )


def _until_measured(program: Any) -> dict[str, Any]:
    while True:
        request = {"execute": "query-dirty-rate", "arguments": {"calc-time-unit": "millisecond"}}
        found: dict[str, Any] = program.execute(request)[-1]["return"]
        if found["status"] == "measured":
            return found
