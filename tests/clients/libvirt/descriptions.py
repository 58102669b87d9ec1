"""Descriptions of backups and checkpoints, to be filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CHECKPOINT: Final = "<domaincheckpoint><name>{}</name></domaincheckpoint>"
_NO_OTHER: Final = "<disk name='vdb' backup='no'/>"


def push(target: Path | str, since: str | None = None, *, alone: bool = False) -> str:
    """A backup of disk vda into a file of its own.

    :param since: the checkpoint that it is made from; None for a full one
    :param alone: there is no disk vdb, which is left out otherwise
    """
    disk = f"<disk name='vda' type='file'><driver type='qcow2'/><target file='{target}'/></disk>"
    return _backup("push", since, "", disk if alone else disk + _NO_OTHER)


def pull(scratch: Path | str, server: str, since: str | None = None, disk: str = "") -> str:
    """A backup of disk vda, without vdb, that others fetch.

    :param server: attributes of where they find it
    :param since: see `push`
    :param disk: further attributes of the disk
    """
    text = f"<disk name='vda' type='file'{disk}><scratch file='{scratch}'/></disk>{_NO_OTHER}"
    return _backup("pull", since, f"<server {server}/>", text)


def _backup(mode: str, since: str | None, server: str, disks: str) -> str:
    incremental = "" if since is None else f"<incremental>{since}</incremental>"
    return f"<domainbackup mode='{mode}'>{incremental}{server}<disks>{disks}</disks></domainbackup>"
