"""Keeping an organization's connectors inside the organization's own folder."""

from pathlib import Path, PurePosixPath, PureWindowsPath

from agents.errors import ConnectorInvalid
from domain.text import quote


def resolve_below(root: Path, relative: str) -> Path:
    """Find a path below `root`, which itself is trusted.

    Absolute paths, `..` and symbolic links that lead outside are refused: the path comes from a
    tenant, and the folder next door belongs to another one.

    Raises:
        ConnectorInvalid: the path leaves `root`.
    """
    posix, windows = PurePosixPath(relative), PureWindowsPath(relative)
    is_bad = (
        "\x00" in relative
        or posix.is_absolute()
        or bool(windows.drive or windows.root)
        or ".." in posix.parts
        or ".." in windows.parts
    )
    if is_bad:
        raise _outside(relative)
    real_root = root.resolve()
    resolved = (real_root / relative).resolve()
    if not resolved.is_relative_to(real_root):
        raise _outside(relative)
    return resolved


def _outside(relative: str) -> ConnectorInvalid:
    return ConnectorInvalid(
        f"The path {quote(relative)} leads out of your organization's data folder.",
        hint="Give a path inside that folder, without a leading `/`, without `..` and without "
        "links to elsewhere, such as `exports/companies.csv`.",
    )
