"""Keep a summary of the queue per organization, so that a claim need not read all that waits.

`first_1` to `first_5` say since when the oldest waiting execution of each priority has waited (in
seconds since 1970; null: none). They may be too early, which costs a look, and are never too late:
whoever inserts writes them by a trigger, and a claim raises them only while it holds the
organization's advisory lock, which no insert that is not committed yet shares.

What waits already is found by the steward's sweep of the heads, in the first minute, and by the
first claim that finds waiting executions and no head that tells of any: this step reads no
execution, and holds no lock while it would.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ORG = "(select nullif(current_setting('app.org_id', true), ''))"

HEADS = """
create table queue_heads (
    org_id text primary key references organizations (id),
    -- How much the queue has served it, in executions divided by its weight.
    clock double precision not null default 0,
    -- How many were taken since none of it waited.
    taken bigint not null default 0,
    -- Copies of what `organizations` says, for one scan of a narrow table is all a claim reads.
    weight double precision not null default 1,
    max_running integer,
    is_paused boolean not null default false,
    first_1 double precision,
    first_2 double precision,
    first_3 double precision,
    first_4 double precision,
    first_5 double precision,
    -- Nothing of it could start, for limits of its workflows: not looked at again before.
    retry_at double precision,
    -- Where a claim stopped to read its lines, if there are more than one claim reads.
    lines_after text
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
"""

# The owner itself sees no organization while the policies are forced upon it.
COPIES = """
alter table organizations no force row level security;
insert into queue_heads (org_id, clock, taken, weight, max_running, is_paused)
    select id, queue_clock, queue_taken, weight, max_running, paused_at is not null
    from organizations;
alter table organizations force row level security;
"""

ORGANIZATIONS = """
create function queue_heads_follow_organization() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into queue_heads (org_id, clock, taken, weight, max_running, is_paused)
        values (new.id, new.queue_clock, new.queue_taken, new.weight, new.max_running,
            new.paused_at is not null);
    else
        update queue_heads set weight = new.weight, max_running = new.max_running,
            is_paused = new.paused_at is not null
        where org_id = new.id;
    end if;
    return null;
end $$;
create trigger organizations_queue_head after insert or update of weight, max_running, paused_at
    on organizations for each row execute function queue_heads_follow_organization();
"""

# Lock, look, write: each statement of the function sees what was committed until then. A claim
# that cleared the head before the lock was given is seen; one that comes later does not get the
# lock, and leaves the head as it is.
ADDED = """
create function queue_heads_follow_added() returns trigger language plpgsql as $$
declare
    org record;
begin
    for org in
        select org_id,
            min(extract(epoch from created_at)::float) filter (where priority = 1) as first_1,
            min(extract(epoch from created_at)::float) filter (where priority = 2) as first_2,
            min(extract(epoch from created_at)::float) filter (where priority = 3) as first_3,
            min(extract(epoch from created_at)::float) filter (where priority = 4) as first_4,
            min(extract(epoch from created_at)::float) filter (where priority = 5) as first_5
        from added
        where run_id is null and status in ('PENDING', 'RUNNING') and cancel_requested_at is null
        group by org_id order by org_id
    loop
        perform queue_heads_wake(org.org_id, org.first_1, org.first_2, org.first_3, org.first_4,
            org.first_5);
    end loop;
    return null;
end $$;
create function queue_heads_wake(org text, f1 float, f2 float, f3 float, f4 float, f5 float)
returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(2118734, hashtext(org));
    update queue_heads set first_1 = least(first_1, f1), first_2 = least(first_2, f2),
        first_3 = least(first_3, f3), first_4 = least(first_4, f4), first_5 = least(first_5, f5),
        retry_at = null
    where org_id = org and (f1 < coalesce(first_1, 'infinity') or f2 < coalesce(first_2, 'infinity')
        or f3 < coalesce(first_3, 'infinity') or f4 < coalesce(first_4, 'infinity')
        or f5 < coalesce(first_5, 'infinity') or retry_at is not null);
end $$;
create trigger executions_queue_head after insert on executions
    referencing new table as added for each statement execute function queue_heads_follow_added();
"""

# What was blocked by a limit is looked at again when a limit changes or a run ends.
FREED = """
create function queue_heads_follow_freed() returns trigger language plpgsql as $$
begin
    update queue_heads set retry_at = null where org_id = new.org_id and retry_at is not null;
    return null;
end $$;
create trigger runs_queue_head after update of closed_at on runs for each row
    when (old.closed_at is null and new.closed_at is not null)
    execute function queue_heads_follow_freed();
create trigger workflows_queue_head after update of max_running, paused_at on workflows
    for each row execute function queue_heads_follow_freed();
"""

GRANTS = """
grant select on queue_heads to tenantry_app, tenantry_platform;
grant insert, update on queue_heads to tenantry_platform;
grant update (weight, max_running, is_paused, first_1, first_2, first_3, first_4, first_5, retry_at)
    on queue_heads to tenantry_app;
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    for block in (HEADS, COPIES, ORGANIZATIONS, ADDED, FREED, GRANTS):
        op.execute(block)
    op.execute("alter table queue_heads enable row level security")
    op.execute("alter table queue_heads force row level security")
    op.execute(
        f"create policy tenant on queue_heads to tenantry_app using (org_id = {ORG})"
        f" with check (org_id = {ORG})"
    )
    op.execute(
        "create policy platform on queue_heads to tenantry_platform using (true) with check (true)"
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
