"""Add the events that live listeners read, and indexes for the audit trail's filters."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ORG = "(select nullif(current_setting('app.org_id', true), ''))"

EVENTS = """
create table events (
    org_id text not null,
    -- 1, 2, 3, … in each organization, without a gap, in the order of the commits.
    seq bigint not null check (seq >= 1),
    execution_id text not null,
    workflow_id text not null,
    status text not null,
    at timestamptz not null,
    primary key (org_id, seq)
);
create index events_at on events (at);
"""

# A reader who has seen 7 never looks for 6 again: so no number may become visible after a higher
# one. The number is therefore taken under a lock of the organization that is held until the
# commit is visible, which a sequence does not do.
#
# The trigger is deferred: it runs when all else of the transaction is done, so that the lock is
# the last one taken, is held for the commit only, and cannot be part of a deadlock, whatever
# order the transaction's own statements lock in. `when` is checked at once: a statement that
# changes no status queues nothing.
#
# The notification names the organization and nothing else: any role may listen. Equal ones of
# one transaction are one.
TRIGGER = """
create function note_execution_event() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('tenantry.events.' || new.org_id, 0));
    insert into events (org_id, seq, execution_id, workflow_id, status, at)
    values (
        new.org_id,
        coalesce((select max(seq) from events where org_id = new.org_id), 0) + 1,
        new.id, new.workflow_id, new.status, clock_timestamp()
    );
    perform pg_notify('tenantry_events', new.org_id);
    return null;
end $$;
create constraint trigger executions_added after insert on executions
    deferrable initially deferred for each row execute function note_execution_event();
create constraint trigger executions_moved after update on executions
    deferrable initially deferred for each row when (old.status is distinct from new.status)
    execute function note_execution_event();
"""

AUDIT = """
create index audit_logs_type on audit_logs (org_id, resource_type, seq desc);
create index audit_logs_refused on audit_logs (org_id, seq desc) where not success;
"""

# Old events are removed across organizations, by the platform; it sees neither what happened
# nor to which execution.
GRANTS = """
grant select, insert on events to tenantry_app;
grant select (org_id, seq, at), delete on events to tenantry_platform;
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    for block in (EVENTS, TRIGGER, AUDIT, GRANTS):
        op.execute(block)
    rule = f"org_id = {ORG}"
    op.execute("alter table events enable row level security")
    op.execute("alter table events force row level security")
    op.execute(f"create policy tenant on events to tenantry_app using ({rule}) with check ({rule})")
    op.execute(
        "create policy platform on events to tenantry_platform using (true) with check (true)"
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
