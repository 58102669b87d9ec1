"""``-drive`` options, made up: files under all drivers, with right and wrong options."""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random
from typing import Final

from tests.support.versions import real_argv

_CONFIG: Final = '[inject-error]\nevent = "none"\nerrno = "5"\niotype = "flush"\n'
_IMAGES: Final = (
    *(("raw", "r", "1M"), ("qcow2", "q", "1M")),
    *(("qcow2", "-b", "q", "-F", "qcow2", "o"), ("qcow2", "-b", "r", "-F", "raw", "or")),
    ("qcow2", "-b", 'json:{"file":{"driver":"file","filename":"q"}}', "-F", "qcow2", "oj"),
    ("qcow2", "-u", "-b", "nope", "-F", "qcow2", "on", "1M"),
    ("qcow2", "-o", "data_file=df", "qd", "1M"),
    ("qcow2", "-o", "compat=0.10", "q10", "1M"),
)
_PLAIN: Final = ("r", "q", "o", "or", "oj", "on", "qd", "q10", "e", "nope", ".", "a:b", "./a:b")
_NAMES: Final = (
    *("file:q", "file:a:b", "file:nope", "null-co://", "null-aio://", "null-co:x", "foo:bar"),
    *("blkdebug::q", "blkdebug:cfg:r", "blkdebug:nope:q", "blkdebug:q", "blkdebug::null-co://"),
    *("blkdebug::blkdebug::q", "blkverify:q:q", "blkverify:q", "blkverify:q:nope"),
    *("json:{}", "json:x", "json:[]", 'json:{"driver":"qcow2"}', 'json:{"filename":"q"}'),
    'json:{"driver":"file",,"filename":"q"}',
    'json:{"driver":"qcow2",,"file":{"driver":"file",,"filename":"q"}}',
    'json:{"file":{"driver":"file",,"filename":"o"}}',
    'json:{"driver":"qcow2",,"file.filename":"q"}',
    'json:{"file":{"filename":"q"}}',
    'json:{"driver":"raw",,"size":65536,,"file.filename":"r"}',
    'json:{"driver":"null-co",,"size":"1M"}',
    'json:{"driver":"qcow2",,"file":"n0"}',
    'json:{"driver":"qcow2",,"backing":null,,"file.filename":"o"}',
)
_CHILDREN: Final = {
    "raw": ("file",),
    "qcow2": ("file", "backing", "data-file"),
    "file": (),
    "null-co": (),
    "null-aio": (),
    "blkdebug": ("image",),
    "blkverify": ("raw", "test"),
    "throttle": ("file",),
    "copy-on-read": ("file",),
    "compress": ("file",),
    "preallocate": ("file",),
    "quorum": ("children.0", "children.1"),
    "snapshot-access": ("file",),
    "nonsense": (),
}
_OWN: Final = {
    "raw": "size=65536 offset=512 size=1M,offset=4k size=x offset=-1 size=2M offset=3",
    "qcow2": "lazy-refcounts=on lazy-refcounts=maybe l2-cache-size=64k cache-size=1M"
    " overlap-check=all overlap-check=foo overlap-check.template=none overlap-check.main-header=off"
    " overlap-check.template=all,overlap-check=none cache-clean-interval=5 cache-clean-interval=x"
    " pass-discard-request=on discard-no-unref=on encrypt.format=luks encrypt.format=aes"
    " encrypt.key-secret=s data-file.filename=r data-file=n0 data-file.driver=file"
    " l2-cache-entry-size=3 refcount-cache-size=1T,cache-size=1",
    "file": "locking=off locking=on aio=threads aio=foo aio=native drop-cache=off"
    " x-check-cache-dropped=on aio-max-batch=4 aio-max-batch=y",
    "null-co": "size=1M read-zeroes=on latency-ns=5 size=65536,read-zeroes=off",
    "blkdebug": "config=cfg config=nope align=4k align=3 max-transfer=64k"
    " inject-error.0.event=none inject-error.0.event=foo inject-error.0.errno=5"
    " inject-error.0.event=none,inject-error.0.iotype=foo inject-error.0.foo=1"
    " inject-error.1.event=none inject-error.event=none set-state.0.event=none"
    " set-state.0.new_state=2 set-state.0.new-state=2 inject-error.0.errno=x"
    " take-child-perms.0=write take-child-perms.0=foo take-child-perms=write"
    " unshare-child-perms.0=write,unshare-child-perms.1=resize",
    "throttle": "throttle-group=g throttle-group=none",
    "copy-on-read": "bottom=zzz bottom=q",
    "preallocate": "prealloc-align=4k prealloc-size=1M prealloc-align=3 prealloc-size=q",
    "quorum": "vote-threshold=1 vote-threshold=2 vote-threshold=x read-pattern=fifo"
    " read-pattern=foo blkverify=on rewrite-corrupted=on",
}
_COMMON: Final = (
    "read-only=on read-only=foo auto-read-only=off cache.direct=off cache.no-flush=on"
    " cache.direct=foo discard=unmap discard=foo detect-zeroes=on detect-zeroes=unmap"
    " detect-zeroes=foo node-name=x node-name=n0 node-name=d node-name=1x force-share=on active=on"
    " foo=bar backing.foo=1 file.foo=1 cache.writeback=off backing= backing=n0 file=n0 image=n0"
    " filename=q"
).split(" ")
_DRIVES: Final = (
    "cache=none cache=unsafe cache=writethrough cache=foo snapshot=on snapshot=on,readonly=on"
    " aio=native aio=threads aio=foo copy-on-read=on readonly=on media=cdrom discard=unmap"
    " detect-zeroes=on rerror=stop werror=foo format=raw format=qcow2 format=foo bps=5 id=zz"
    " throttling.bps-total=5"
).split(" ")


def make_files(folder: Path, version: str) -> None:
    """Make the files that the options name, by the qemu-img of a version."""
    for image_format, *arguments in _IMAGES:
        argv = ["qemu-img", "create", "-q", "-f", image_format, *arguments]
        subprocess.run(real_argv(version, argv), cwd=folder, check=True)
    (folder / "e").write_bytes(b"")
    (folder / "cfg").write_text(_CONFIG, encoding="utf-8")
    (folder / "a:b").write_bytes(bytes(4096))


class DriveOptions:
    """Makes options up.

    :param random: decides
    """

    def __init__(self, random: Random) -> None:
        self._random = random

    def one(self) -> str:
        """The options of one drive, but for `if` and `id`."""
        random = self._random
        if random.random() < 0.6:
            options = [f"file={random.choice((*_PLAIN, *_NAMES))}"]
            if random.random() < 0.4:
                options.append(f"driver={random.choice([*_CHILDREN])}")
            for _ in range(random.randrange(3)):
                options += self._more()
        else:
            options = self._node("", 0)
        if random.random() < 0.3:
            options += random.choice(_DRIVES).split(",")
        return ",".join(dict.fromkeys(options))

    def _more(self) -> list[str]:
        random = self._random
        own = random.choice([*_OWN.values()]).split(" ")
        case = random.randrange(4)
        if case == 0:
            return [random.choice(_COMMON)]
        if case == 1:
            return self._node(random.choice(("file.", "backing.")), 1)
        places = ("", "file.", "backing.", "image.", "backing.file.", "file.image.")
        place = "" if case == 2 else random.choice(places)
        return [place + option for option in random.choice(own).split(",")]

    def _node(self, prefix: str, depth: int) -> list[str]:
        random = self._random
        driver = random.choice([*_CHILDREN]) if random.random() < 0.7 else None
        kind = driver or random.choice(("qcow2", "file", "raw"))
        options = [f"{prefix}driver={driver}"] if driver else []
        if driver == "file" or (driver is None and random.random() < 0.6):
            names = _PLAIN if random.random() < 0.8 else _NAMES
            options.append(f"{prefix}filename={random.choice(names)}")
        for child in _CHILDREN[kind]:
            if random.random() < (0.7 if child in ("backing", "data-file") else 0.1):
                continue
            case = random.random()
            if case < 0.1:
                options.append(f"{prefix}{child}=n0")
            elif depth < 2 and case < 0.7:
                options += self._node(f"{prefix}{child}.", depth + 1)
            else:
                options.append(f"{prefix}{child}.filename={random.choice(_PLAIN)}")
        for pool, chance in ((_OWN.get(kind, "").split(" "), 0.3), (_COMMON, 0.2)):
            if pool[0] and random.random() < chance:
                options += [prefix + option for option in random.choice(pool).split(",")]
        return options
