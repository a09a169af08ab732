"""Takes the times out of Java's store of authorities, which notes when each was added: the same packages give the same file.

It is a program of its own that runs while the image is built and is in no layer: ``keystore.py FILE``. The form is that of
the JDK's JavaKeyStore.java: a head with the number of entries, for each its tag, alias, time and certificate, and at the end a
SHA-1 over the password, a fixed phrase and all of it. What is not in this form is left as it is.
"""

from __future__ import annotations

import hashlib
import struct
import sys

HEAD = struct.pack(">II", 0xFEEDFEED, 2)
TRUSTED = 2
PASSWORD = "changeit"
PHRASE = b"Mighty Aphrodite"
DIGEST_BYTES = 20


def entries(body: bytes) -> list[tuple[str, bytes]]:
    """The certificates by their aliases, as they stand behind their times; ValueError for what else may be in a store."""
    found = []
    place = len(HEAD) + 4
    for _ in range(struct.unpack_from(">I", body, len(HEAD))[0]):
        tag, alias_bytes = struct.unpack_from(">IH", body, place)
        if tag != TRUSTED:
            raise ValueError("a key")
        alias = body[place + 6 : place + 6 + alias_bytes]
        begin = place + 6 + alias_bytes + 8
        (type_bytes,) = struct.unpack_from(">H", body, begin)
        (certificate_bytes,) = struct.unpack_from(">I", body, begin + 2 + type_bytes)
        place = begin + 2 + type_bytes + 4 + certificate_bytes
        found.append((alias.decode(), body[begin:place]))
    if place != len(body):
        raise ValueError("more than its entries")
    return found


def settled(store: bytes) -> bytes:
    """The store with its entries sorted and without times; as it is where it is none of authorities alone."""
    body, digest = store[:-DIGEST_BYTES], store[-DIGEST_BYTES:]
    salt = PASSWORD.encode("utf-16-be") + PHRASE
    if not body.startswith(HEAD) or hashlib.sha1(salt + body, usedforsecurity=False).digest() != digest:
        return store
    try:
        found = sorted(entries(body))
    except (ValueError, struct.error):
        return store
    written = HEAD + struct.pack(">I", len(found))
    for alias, certificate in found:
        named = alias.encode()
        written += struct.pack(">IH", TRUSTED, len(named)) + named + struct.pack(">Q", 0) + certificate
    return written + hashlib.sha1(salt + written, usedforsecurity=False).digest()


def main(path: str) -> None:
    """Settles a file in its place."""
    with open(path, "rb") as file:
        store = file.read()
    with open(path, "wb") as file:
        file.write(settled(store))


if __name__ == "__main__":
    main(sys.argv[1])
