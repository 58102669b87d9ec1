"""What a machine is made as."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qmpd.profile import Personality, Profile, load
from qmpd.qapi.runtime.policy import CompatPolicy

if TYPE_CHECKING:
    from qmpd.machine.devices.board import Board


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """What a machine is, as its command line would say; it runs from the start by default.

    :param profile: which version of QEMU it passes for
    :param personality: which of QEMU's programs it passes for
    :param name: guest name of query-name, None for none
    :param uuid: UUID of query-uuid, in its canonical form
    :param compat: what happens to deprecated and unstable interfaces
    :param paused: wait in state prelaunch for `cont` (``-S``)
    :param incoming: wait for the guest of another process (``-incoming``)
    :param only_migratable: refuse what would keep it from being migrated (``-only-migratable``)
    :param preconfig: wait for `x-exit-preconfig` (``--preconfig``)
    :param cpus: how many CPUs it passes for having; machine type none has no CPU
    :param board: the buses and devices that it has from the start; None: none
    """

    profile: Profile = field(default_factory=load)
    personality: Personality = Personality.SYSTEM
    name: str | None = None
    uuid: str = "00000000-0000-0000-0000-000000000000"
    compat: CompatPolicy = field(default_factory=CompatPolicy)
    paused: bool = False
    incoming: bool = False
    only_migratable: bool = False
    preconfig: bool = False
    cpus: int = 0
    board: Board | None = None
