"""An ImageInfo as text, as ``info block -v`` shows it (``bdrv_image_info_dump``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.base.qdict import ordered
from qmpd.monitor.hmp.quantities import human_size
from qmpd.monitor.hmp.snapshots import dump_snapshots

if TYPE_CHECKING:
    from qmpd.profile.rules import Rules


def dump_image_info(image: Mapping[str, Any], rules: Rules) -> str:
    """The lines for one image; sizes in bytes.

    :param rules: those of the version in whose form it is
    """
    size = image["virtual-size"]
    actual = image.get("actual-size")
    lines = [
        f"image: {image['filename']}",
        f"file format: {image['format']}",
        f"virtual size: {human_size(size)} ({size} bytes)",
        f"disk size: {'unavailable' if actual is None else human_size(actual)}",
    ]
    if image.get("encrypted"):
        lines.append("encrypted: yes")
    if "cluster-size" in image:
        lines.append(f"cluster_size: {image['cluster-size']}")
    if image.get("dirty-flag"):
        lines.append("cleanly shut down: no")
    if "backing-filename" in image:
        lines.append(f"backing file: {_backing(image)}")
    if "backing-filename-format" in image:
        lines.append(f"backing file format: {image['backing-filename-format']}")
    text = "\n".join(lines) + "\n"
    if "limits" in image:
        text += "Block limits:\n" + dump_specific(image["limits"], 1)
    if image.get("snapshots"):
        text += "Snapshot list:\n" + dump_snapshots(image["snapshots"], rules)
    specific = image.get("format-specific")
    if specific and specific["data"]:
        text += "Format specific information:\n" + dump_specific(specific["data"], 1)
    return text


def _backing(image: Mapping[str, Any]) -> str:
    name, full = image["backing-filename"], image.get("full-backing-filename")
    if full is None:
        return f"{name} (cannot determine actual path)"
    return str(name) if name == full else f"{name} (actual path: {full})"


def dump_specific(value: Mapping[str, Any] | list[Any], level: int) -> str:
    """Lines for nested data, indented by four blanks a level (``dump_qdict``)."""
    indent = "    " * level
    if isinstance(value, list):
        items = [(f"[{number}]", item) for number, item in enumerate(value)]
    else:
        items = [(key.replace("-", " "), item) for key, item in ordered(value).items()]
    text = ""
    for key, item in items:
        if isinstance(item, (dict, list)):
            text += f"{indent}{key}:\n" + dump_specific(item, level + 1)
        else:
            shown = {True: "true", False: "false"}[item] if isinstance(item, bool) else item
            text += f"{indent}{key}: {shown}\n"
    return text
