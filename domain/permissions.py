"""Who may do what: the one table of roles and permissions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from domain.errors import ErrorCode, TenantryError
from domain.ids import OrgId, TokenId, UserId


class Role(StrEnum):
    """What somebody is in an organization."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    EDITOR = "editor"
    ADMIN = "admin"


class Permission(StrEnum):
    """One thing that a role may allow: `<resource>.<act>`."""

    AGENT_TYPES_READ = "agent_types.read"
    WORKFLOWS_READ = "workflows.read"
    WORKFLOWS_WRITE = "workflows.write"
    EXECUTIONS_READ = "executions.read"
    EXECUTIONS_EXECUTE = "executions.execute"
    METRICS_READ = "metrics.read"
    EVENTS_READ = "events.read"
    AUDIT_READ = "audit.read"
    MEMBERS_READ = "members.read"
    MEMBERS_WRITE = "members.write"
    TOKENS_OWN = "tokens.own"
    """Make, list and revoke one's own tokens."""
    TOKENS_WRITE = "tokens.write"
    """List and revoke everybody's tokens of the organization."""
    ORGANIZATIONS_READ = "organizations.read"
    ORGANIZATIONS_WRITE = "organizations.write"
    """Create organizations and list all of them: the platform's administrators only."""


_VIEWER = frozenset(
    {
        Permission.AGENT_TYPES_READ,
        Permission.WORKFLOWS_READ,
        Permission.EXECUTIONS_READ,
        Permission.METRICS_READ,
        Permission.EVENTS_READ,
        Permission.ORGANIZATIONS_READ,
        Permission.TOKENS_OWN,
    }
)
_OPERATOR = _VIEWER | {Permission.EXECUTIONS_EXECUTE}
_EDITOR = _OPERATOR | {Permission.WORKFLOWS_WRITE}
_ADMIN = _EDITOR | {
    Permission.AUDIT_READ,
    Permission.MEMBERS_READ,
    Permission.MEMBERS_WRITE,
    Permission.TOKENS_WRITE,
}

ROLE_PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.EDITOR: _EDITOR,
    Role.ADMIN: _ADMIN,
}
PLATFORM_PERMISSIONS = frozenset({Permission.ORGANIZATIONS_WRITE})
"""What a platform administrator has besides what their role in the organization allows."""


class PermissionMissing(TenantryError):
    """Somebody asks for what they may not do."""

    code = ErrorCode.PERMISSION_MISSING

    def __init__(self, permission: Permission) -> None:
        super().__init__(
            f"This needs the permission `{permission.value}`, which your token does not have.",
            hint="Ask an administrator of your organization for a role or a token that has it.",
        )
        self.permission = permission


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts: a user, in one organization, by a token, and what they may do."""

    org_id: OrgId
    user_id: UserId
    token_id: TokenId
    permissions: frozenset[Permission]

    def can(self, permission: Permission) -> bool:
        """Say whether this is allowed."""
        return permission in self.permissions

    def check_can(self, permission: Permission) -> None:
        """Make sure that this is allowed.

        Raises:
            PermissionMissing: it is not.
        """
        if not self.can(permission):
            raise PermissionMissing(permission)


def permissions_of(
    role: Role, *, platform_admin: bool = False, scopes: Iterable[Permission] | None = None
) -> frozenset[Permission]:
    """List what a role allows, narrowed to a token's scopes.

    A token never allows more than its owner may do now: a role that was taken away takes its
    tokens' permissions along.

    Args:
        scopes: the token's; `None` is one that was not narrowed.
    """
    owned = ROLE_PERMISSIONS[role]
    if platform_admin:
        owned |= PLATFORM_PERMISSIONS
    return owned if scopes is None else owned & frozenset(scopes)
