"""Keep which workflows are to be published to Prefect, so that a round costs what has changed.

A row is a workflow that differs, or may, from what Prefect was given; triggers write it whoever
changes a workflow or a schedule. Everything that is there now is looked at once.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ORG = "(select nullif(current_setting('app.org_id', true), ''))"

TABLE = """
create table publications (
    org_id text not null references organizations (id),
    workflow_id text not null,
    -- Counts changes: one that comes while the one before is published is published as well.
    revision bigint not null default 1,
    due_at timestamptz not null default clock_timestamp(),
    tries integer not null default 0,
    error_code text,
    error_message text,
    primary key (org_id, workflow_id),
    foreign key (org_id, workflow_id) references workflows (org_id, id) on delete cascade
);
create index publications_due on publications (due_at);
"""

# The owner itself sees no workflow while the policies are forced upon it.
PRESENT = """
alter table workflows no force row level security;
insert into publications (org_id, workflow_id) select org_id, id from workflows;
alter table workflows force row level security;
"""

TRIGGERS = """
create function publications_follow(org text, workflow text) returns void language sql as $$
    insert into publications (org_id, workflow_id) values (org, workflow)
    on conflict (org_id, workflow_id) do update set revision = publications.revision + 1,
        due_at = least(publications.due_at, clock_timestamp()), tries = 0;
$$;
create function publications_follow_workflow() returns trigger language plpgsql as $$
begin
    perform publications_follow(new.org_id, new.id);
    return null;
end $$;
create function publications_follow_schedule() returns trigger language plpgsql as $$
begin
    perform publications_follow(new.org_id, new.workflow_id);
    return null;
end $$;
create trigger workflows_added_publication after insert on workflows
    for each row execute function publications_follow_workflow();
-- Not its counters, which move with each end of an execution.
create trigger workflows_changed_publication
    after update of version, slug, name, description, draft_version, archived_at on workflows
    for each row when ((old.version, old.slug, old.name, old.description, old.draft_version,
        old.archived_at) is distinct from (new.version, new.slug, new.name, new.description,
        new.draft_version, new.archived_at))
    execute function publications_follow_workflow();
create trigger schedules_publication after insert or update on schedules
    for each row execute function publications_follow_schedule();
"""

GRANTS = """
grant select, insert, update on publications to tenantry_app;
grant select, insert, update, delete on publications to tenantry_platform;
-- An organization that is made over the API brings its queue head along.
grant insert on queue_heads to tenantry_app;
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    for block in (TABLE, PRESENT, TRIGGERS, GRANTS):
        op.execute(block)
    op.execute("alter table publications enable row level security")
    op.execute("alter table publications force row level security")
    op.execute(
        f"create policy tenant on publications to tenantry_app using (org_id = {ORG})"
        f" with check (org_id = {ORG})"
    )
    op.execute(
        "create policy platform on publications to tenantry_platform using (true) with check (true)"
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
