"""Homes for tests: below a folder that `nobody` can enter, as PostgreSQL needs it under root."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary_home() -> Iterator[Path]:
    """Make an empty `TENANTRY_HOME` and remove it, with all that is in it, at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tenantry-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder / "home"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
