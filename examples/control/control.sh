#!/bin/sh
# A client of QMP in the shell: what it sees of a backup at 37 %, and of a full disk.
#
# usage: control.sh QMP-SOCKET CONTROL-SOCKET
set -eu
qmp=$1 control=$2

qmpd ctl "$control" x-sim-disk-write disk=disk0 offset=0 pattern=17 length=100M
qmpd ctl "$control" x-sim-pace node=disk0 bytes-per-second=10M

qmpd ctl "$qmp" blockdev-backup job-id=backup device=disk0 target=target sync=full
qmpd ctl "$control" x-sim-clock-advance seconds=3.75
qmpd ctl "$qmp" query-jobs

qmpd ctl "$control" x-sim-fault-fail operation=pwrite node=target errno=ENOSPC
qmpd ctl "$control" x-sim-clock-until-event name=BLOCK_JOB_COMPLETED

if qmpd ctl "$control" x-sim-disk-flush disk=disk9; then
    echo "there is such a disk"
fi
