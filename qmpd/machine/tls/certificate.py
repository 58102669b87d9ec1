"""Certificates, as far as credentials are checked before they are used (X.509 in DER)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"

_BASIC_CONSTRAINTS: Final = bytes.fromhex("551d13")
_KEY_USAGE: Final = bytes.fromhex("551d0f")
_PURPOSES: Final = bytes.fromhex("551d25")

ANY_PURPOSE: Final = bytes.fromhex("551d2500")
FOR_SERVERS: Final = bytes.fromhex("2b06010505070301")
FOR_CLIENTS: Final = bytes.fromhex("2b06010505070302")

SIGNS: Final = 0
"""Number of the bit ``digitalSignature`` in the key usage."""
ENCIPHERS_KEYS: Final = 2
SIGNS_CERTIFICATES: Final = 5


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself.

    `is_authority`: whether it may sign others; None where it does not say.  `usages`: what its key
    may be used for, as numbers of bits; None where it does not say.  `purposes`: for whom it is,
    as object identifiers; None where it does not say.  A critical extension binds.
    """

    begins: datetime
    ends: datetime
    is_authority: bool | None = None
    usages: frozenset[int] | None = None
    usage_is_critical: bool = False
    purposes: frozenset[bytes] | None = None
    purpose_is_critical: bool = False


def read_certificates(pem: str) -> list[Certificate]:
    """The certificates in a file.

    :raises ValueError: they are malformed, or there is none
    """
    found = []
    rest = pem
    while (start := rest.find(_BEGIN)) >= 0:
        end = rest.index(_END, start) + len(_END)
        found.append(_certificate(ssl.PEM_cert_to_DER_cert(rest[start:end])))
        rest = rest[end:]
    if not found:
        raise ValueError("no certificate")
    return found


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of DER in `data`: tag and content of each.

    :raises ValueError: it is malformed
    """
    place = 0
    while place < len(data):
        if place + 2 > len(data):
            raise ValueError("cut short")
        tag, length = data[place], data[place + 1]
        place += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[place : place + count], "big")
            place += count
        if place + length > len(data):
            raise ValueError("cut short")
        yield tag, data[place : place + length]
        place += length


def _certificate(der: bytes) -> Certificate:
    ((_, outer),) = _elements(der)
    (_, body), *_ = _elements(outer)
    fields = [(tag, content) for tag, content in _elements(body) if tag != 0xA0]
    # serial number, algorithm, issuer, validity, ...
    begins, ends = (_moment(tag, content) for tag, content in _elements(fields[3][1]))
    known: dict[bytes, tuple[bool, bytes]] = {}
    for tag, content in fields:
        if tag == 0xA3:
            ((_, extensions),) = _elements(content)
            known = dict(_extension(extension) for _, extension in _elements(extensions))
    usage = known.get(_KEY_USAGE)
    purpose = known.get(_PURPOSES)
    constraints = known.get(_BASIC_CONSTRAINTS)
    return Certificate(
        begins,
        ends,
        None if constraints is None else _is_authority(constraints[1]),
        None if usage is None else _bits(usage[1]),
        usage is not None and usage[0],
        None if purpose is None else _identifiers(purpose[1]),
        purpose is not None and purpose[0],
    )


def _extension(data: bytes) -> tuple[bytes, tuple[bool, bytes]]:
    """Identifier of an extension, whether it is critical, and its value."""
    parts = list(_elements(data))
    critical = any(tag == 1 and content != b"\0" for tag, content in parts)
    return parts[0][1], (critical, parts[-1][1])


def _is_authority(value: bytes) -> bool:
    ((_, content),) = _elements(value)
    return any(tag == 1 and flag != b"\0" for tag, flag in _elements(content))


def _bits(value: bytes) -> frozenset[int]:
    ((_, content),) = _elements(value)
    bits = content[1:]
    return frozenset(n for n in range(8 * len(bits)) if bits[n // 8] & 0x80 >> n % 8)


def _identifiers(value: bytes) -> frozenset[bytes]:
    ((_, content),) = _elements(value)
    return frozenset(identifier for _, identifier in _elements(content))


def _moment(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii").rstrip("Z")
    if tag == 0x17:
        # years of two digits: 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
