"""The queue's and the steward's own tables: clock, heads, workers, what is to be published.

They are read and written by SQL as text; these classes hold them to the migrations.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from persistence.tables import Table


class QueueClockRow(Table):
    __tablename__ = "queue_clock"
    is_only: Mapped[bool] = mapped_column(primary_key=True, server_default="true")
    time: Mapped[float] = mapped_column(server_default="0")


class QueueHeadRow(Table):
    __tablename__ = "queue_heads"
    org_id: Mapped[str] = mapped_column(primary_key=True)
    clock: Mapped[float] = mapped_column(server_default="0")
    taken: Mapped[int] = mapped_column(BigInteger, server_default="0")
    weight: Mapped[float] = mapped_column(server_default="1")
    max_running: Mapped[int | None]
    is_paused: Mapped[bool] = mapped_column(server_default="false")
    # Since when the oldest waiting execution of each priority waits, in seconds since 1970.
    first_1: Mapped[float | None]
    first_2: Mapped[float | None]
    first_3: Mapped[float | None]
    first_4: Mapped[float | None]
    first_5: Mapped[float | None]
    retry_at: Mapped[float | None]
    lines_after: Mapped[str | None]


class PublicationRow(Table):
    __tablename__ = "publications"
    org_id: Mapped[str] = mapped_column(primary_key=True)
    workflow_id: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger, server_default="1")
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    tries: Mapped[int] = mapped_column(server_default="0")
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]


class WorkerRow(Table):
    __tablename__ = "workers"
    name: Mapped[str] = mapped_column(primary_key=True)
    slots: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    agent_types: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
