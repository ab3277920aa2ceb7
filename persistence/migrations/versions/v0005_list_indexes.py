"""Make lists of executions read their own organization's rows only, by labels, too."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ORG = "(select nullif(current_setting('app.org_id', true), ''))"

# `labels @> …` may not be asked of an index before the policy has been checked, because `@>` is
# not leakproof, so a GIN index on `labels` is of no use to a tenant. `=` on text is: hence one
# row for each label, in the order in which lists are read.
LABELS = """
create table execution_labels (
    org_id text not null,
    key text not null,
    value text not null,
    created_at timestamptz not null,
    execution_id text not null,
    primary key (org_id, key, value, created_at, execution_id)
);
drop index executions_labels;
"""

# The rows follow `executions.labels`, whoever writes it, and nothing else writes them. Adding is
# for each statement and not for each row, so that ten thousand executions are labelled at once.
#
# No foreign key: it would look for each execution once more, and what would break it, the
# removal of an execution, removes its labels.
TRIGGERS = """
create function add_execution_labels() returns trigger language plpgsql as $$
begin
    insert into execution_labels (org_id, key, value, created_at, execution_id)
    select e.org_id, l.key, l.value, e.created_at, e.id
    from added e cross join jsonb_each_text(e.labels) l
    where e.labels <> '{}';
    return null;
end $$;
create trigger executions_labelled after insert on executions
    referencing new table as added for each statement execute function add_execution_labels();
create function change_execution_labels() returns trigger language plpgsql as $$
begin
    delete from execution_labels g using jsonb_each_text(old.labels) l
    where g.org_id = old.org_id and g.key = l.key and g.value = l.value
        and g.created_at = old.created_at and g.execution_id = old.id;
    if tg_op = 'UPDATE' then
        insert into execution_labels (org_id, key, value, created_at, execution_id)
        select new.org_id, l.key, l.value, new.created_at, new.id
        from jsonb_each_text(new.labels) l;
    end if;
    return null;
end $$;
create trigger executions_relabelled after update of labels on executions
    for each row when (old.labels is distinct from new.labels)
    execute function change_execution_labels();
create trigger executions_unlabelled after delete on executions
    for each row when (old.labels <> '{}') execute function change_execution_labels();
"""

# The owner is held to the policies of `executions` and sees nothing: so not for this statement.
BACKFILL = """
alter table executions no force row level security;
insert into execution_labels (org_id, key, value, created_at, execution_id)
select e.org_id, l.key, l.value, e.created_at, e.id
from executions e cross join jsonb_each_text(e.labels) l
where e.labels <> '{}';
alter table executions force row level security;
"""

# For an organization that was idle for long, Postgres took the index of all ids, and walked it
# past the rows of all others. `unique (org_id, id)`, which is there since the first version and
# which foreign keys name, identifies a row and gives every list in order of the ids; the other
# index of these two columns gave nothing beside it.
KEYS = """
alter table executions replica identity using index executions_org_id_id_key;
alter table executions drop constraint executions_pkey;
drop index executions_org;
"""

# What figures are counted from, in the index of the times that they are asked for: the rows
# themselves lie scattered among those of all organizations, each in a page of its own.
FIGURES = """
drop index executions_created;
create index executions_created on executions (org_id, created_at desc, id desc)
    include (status, workflow_id, trigger, error_code, started_at, duration_seconds,
        tokens_used, cost);
alter table agent_runs drop constraint agent_runs_execution_id_agent_name_attempt_key;
alter table agent_runs add unique (org_id, execution_id, agent_name, attempt)
    include (status, duration_seconds, tokens_used, cost);
"""

# A workflow is of one organization only, and a value goes with its key. Not knowing, Postgres
# would think an organization's share of a workflow to be a part of the workflow's rows, choose
# plans for a handful of them, and estimate totals so.
STATISTICS = """
create statistics executions_workflows (dependencies) on org_id, workflow_id from executions;
create statistics execution_labels_pairs (mcv) on key, value from execution_labels;
analyze executions (org_id, workflow_id);
analyze execution_labels;
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    for block in (LABELS, BACKFILL, TRIGGERS, KEYS, FIGURES, STATISTICS):
        op.execute(block)
    rule = f"org_id = {ORG}"
    op.execute("alter table execution_labels enable row level security")
    op.execute("alter table execution_labels force row level security")
    op.execute(
        "create policy tenant on execution_labels to tenantry_app "
        f"using ({rule}) with check ({rule})"
    )
    op.execute("grant select, insert, delete on execution_labels to tenantry_app")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
