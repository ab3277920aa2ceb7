"""Write small files so that a reader, or a crash, never meets a half-written one."""

import os
import secrets
import uuid
from contextlib import suppress
from pathlib import Path


def write_private(path: Path, text: str, *, durable: bool = False) -> None:
    """Replace a file's content in one step, readable for its owner only.

    Args:
        durable: have the content on the disk before the name, so that also after a power cut
            the file is old or new. Costs milliseconds.
    """
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def read_or_make_secret(path: Path) -> str:
    """Return a random secret of 256 bits, the same one at every later call.

    Of two processes that make it at once both get the one that was there first.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        pass
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    # Hex needs no quoting in URLs, SQL or configuration files.
    write_private(fresh, secrets.token_hex(32), durable=True)
    try:
        # Unlike a rename, a link never replaces the secret that another process has just made.
        with suppress(FileExistsError):
            path.hardlink_to(fresh)
    finally:
        fresh.unlink()
    return path.read_text(encoding="utf-8")
