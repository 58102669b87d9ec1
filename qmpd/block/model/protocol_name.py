"""File names that begin with a protocol (``nbd:``, ``json:``)."""


def has_protocol(name: str) -> bool:
    """Whether a file name begins with a protocol rather than a path (``path_has_protocol``)."""
    head, separator, _ = name.partition(":")
    return bool(separator) and "/" not in head
