"""The database roles of running processes and of backups, and how to reach the database as them."""

import hashlib
import hmac

from sqlalchemy import URL

APP_ROLE = "tenantry_app"
PLATFORM_ROLE = "tenantry_platform"
# Reads every row of every table, for `pg_dump`. Made without a password: nobody can be it before an
# administrator gives it one.
BACKUP_ROLE = "tenantry_backup"


def derive_role_url(owner_url: URL, role: str) -> URL:
    """Make the URL of one of our roles from the owner's, where none is configured.

    The password is HMAC-SHA256 of the role's name under the owner's password: nobody has to
    store it, and it ends with the owner's. Set the roles' own URLs so that the processes that
    serve tenants need not know the owner's.
    """
    if not owner_url.password:
        raise ValueError("an owner's URL without a password needs the roles' own URLs")
    password = hmac.new(owner_url.password.encode(), role.encode(), hashlib.sha256).hexdigest()
    return owner_url.set(username=role, password=password)
