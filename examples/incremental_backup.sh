#!/bin/bash
# Incremental backup of a running disk with nothing but qmp-shell: what incremental_backup.py
# does, as lines that one could type. Explanations are there.
#
# Usage: incremental_backup.sh SOCKET [NODE [DIRECTORY [SIZE]]]
#
# SIZE is the disk's, in bytes. DIRECTORY has no blanks, which separate qmp-shell's arguments.
# Guests' writes go through the human monitor of an emulator with a machine (not "none").
set -euo pipefail

socket=$1 node=${2:-disk0} directory=${3:-$PWD} size=${4:-67108864}

# qmp-shell is kept running: a line goes in, an answer comes out.

connect() { coproc QMP { exec qmp-shell "$socket"; }; }

disconnect() {
    local process=$QMP_PID
    eval "exec ${QMP[1]}>&-"
    wait "$process"
}

qmp() { # LINES: sets $answer to what a command returns; an error ends the script
    echo "$1" >&"${QMP[1]}"
    while read -r -t 60 answer <&"${QMP[0]}"; do
        case $answer in
            *'{"return": '*) return ;;
            *'{"error": '*) break ;;
        esac
    done
    echo "$1: $answer" >&2
    exit 1
}

finish() { # JOB: waits for its end and dismisses it; false, and $reason, if it has failed
    while qmp query-jobs && [[ $answer != *'"status": "concluded"'* ]]; do
        sleep 0.05
    done
    local failed='"error": "([^"]*)"'
    [[ $answer =~ $failed ]] && reason=${BASH_REMATCH[1]} || reason=
    qmp "job-dismiss id=$1"
    [[ -z $reason ]]
}

guest() { # QEMU-IO-COMMAND: only one client at a time, and this one talks to the human monitor
    disconnect
    echo "qemu-io $node \"$1\"" | qmp-shell -H "$socket" >/dev/null
    connect
}

look() { # sets $dirty to what the next incremental backup has to copy, in bytes
    qmp "query-named-block-nodes flat=true"
    local count='"name": "incremental"[^}]*"count": ([0-9]+)'
    [[ $answer =~ $count ]]
    dirty=${BASH_REMATCH[1]}
}

create() { # IMAGE [BACKING-IMAGE]
    local file="'driver':'file','filename':'$directory/$1'" backing=
    if [[ -n ${2-} ]]; then
        backing=",'backing-file':'$2','backing-fmt':'qcow2'"
    fi
    qmp "blockdev-create job-id=create options={$file,'size':0}"
    finish create
    qmp "blockdev-create job-id=create \
         options={'driver':'qcow2','file':{$file},'size':$size$backing}"
    finish create
}

add() { # NODE IMAGE
    qmp "blockdev-add driver=qcow2 node-name=$1 \
         file={'driver':'file','filename':'$directory/$2'}"
}

del() { # NODES
    local name
    for name; do qmp "blockdev-del node-name=$name"; done
}

full_copy() { # NODE IMAGE
    create "$2"
    add copy "$2"
    qmp "blockdev-backup job-id=copy device=$1 target=copy sync=full auto-dismiss=false"
    finish copy
    del copy
}

full() {
    create full.qcow2
    add target full.qcow2
    qmp "transaction(
         block-dirty-bitmap-add node=$node name=incremental
         blockdev-backup job-id=backup device=$node target=target sync=full auto-dismiss=false
         )"
    finish backup
    del target
    newest=full.qcow2
    echo "$newest"
}

incremental() { # IMAGE [FAULT]
    local before image
    create "$1" "$newest"
    if [[ -n ${2-} ]]; then
        image="{'driver':'file','filename':'$directory/$1'}"
        qmp "blockdev-add driver=qcow2 node-name=target \
             file={'driver':'blkdebug','image':$image,'inject-error':[$2]}"
    else
        add target "$1"
    fi
    look
    before=$dirty
    qmp "blockdev-backup job-id=backup device=$node target=target sync=incremental \
         bitmap=incremental auto-dismiss=false"
    if finish backup; then
        newest=$1
        look
        echo "$1: $((before / 1024)) KiB, left: $dirty"
    else
        echo "failed: $reason"
    fi
    del target
}

restore() { # IMAGE
    add chain "$newest"
    full_copy chain "$1"
    del chain
}

is_the_disk() { # IMAGE: prints whether it is
    full_copy "$node" now.qcow2
    add one "$1"
    add other now.qcow2
    qmp "blockdev-add driver=quorum node-name=both vote-threshold=2 children=['one','other']"
    qmp "blockdev-add driver=null-co node-name=void size=$size"
    qmp "blockdev-backup job-id=compare device=both target=void sync=full auto-dismiss=false"
    finish compare && echo True || echo False
    del void both other one
}

connect
guest "write -q -P 1 0 256k"
full
guest "write -q -P 2 1M 128k"
incremental inc1.qcow2
guest "write -q -P 3 1M 64k"
guest "write -q -P 4 8M 64k"
incremental inc2.qcow2
guest "write -q -P 5 0 192k"
incremental inc3.qcow2 "{'event':'write_aio','errno':28}"
guest "write -q -P 6 9M 64k"
incremental inc3.qcow2
restore restored.qcow2
echo -n "restored.qcow2 is the disk: "
is_the_disk restored.qcow2
guest "write -q -P 7 0 64k"
echo -n "after another write: "
is_the_disk restored.qcow2
qmp "block-dirty-bitmap-remove node=$node name=incremental"
disconnect
