"""How the queue served everybody over a span of time, as pure rules: who got which share.

Two indexes, as no single one tells both. The first compares what organizations got, by weight: it
falls when one asks for less than another, too. The second compares it with what each could have
had: its weighted max-min fair part of all that was done, and no more than it asked for. It is 1
unless somebody got less than that and somebody else more.

Source of the fair part: Bertsekas, Gallager, "Data Networks", 1992, section 6.5.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.ids import OrgId
from domain.queue_shares import jain_index


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgService:
    """What the queue did for one organization within the span, and what it owes it now."""

    org_id: OrgId
    weight: float = 1.0
    waiting: int = 0
    oldest_age_s: float = 0.0
    running: int = 0
    started: int = 0
    """Executions that started within the span; the waits are theirs."""
    completed: int = 0
    """Executions that ran and ended within it, well or not."""
    wait_p50_s: float | None = None
    wait_p95_s: float | None = None
    is_held: bool = False
    """It is paused or at its own limit: what waits of it asks the platform for nothing."""

    @property
    def owed(self) -> int:
        """What it still asks for."""
        return 0 if self.is_held else self.waiting

    @property
    def has_asked(self) -> bool:
        """Whether it asked for anything within the span."""
        return self.owed + self.running + self.started + self.completed > 0


@dataclass(frozen=True, slots=True)
class Shares:
    """Who got which part of something, and how equal that is."""

    total: int
    by_org: Mapping[OrgId, float]
    """Of those that asked for anything; they add up to 1, or all are 0."""
    index: float
    """Jain's index of what each got by its weight."""
    index_of_fair_parts: float
    """Jain's index of what each got by what it could have had."""

    def of(self, org_id: OrgId) -> float:
        """Say which part one organization got."""
        return self.by_org.get(org_id, 0.0)


@dataclass(frozen=True, slots=True)
class PlatformService:
    """How the queue served everybody within a span of so many seconds."""

    window_s: int
    orgs: Sequence[OrgService]
    """Those that asked for anything, or have something waiting."""
    started: Shares
    completed: Shares
    wait_p50_s: float | None = None
    wait_p95_s: float | None = None


def sum_up(
    orgs: Sequence[OrgService],
    *,
    window_s: int,
    waits_s: tuple[float | None, float | None] = (None, None),
) -> PlatformService:
    """Work out everybody's shares of what was started and of what was completed.

    Args:
        waits_s: the 50th and the 95th percentile of all waits.
    """
    known = [each for each in orgs if each.has_asked or each.waiting > 0]
    return PlatformService(
        window_s,
        known,
        _share_out(known, [each.started for each in known]),
        _share_out(known, [each.completed for each in known]),
        *waits_s,
    )


def _share_out(orgs: Sequence[OrgService], got: Sequence[int]) -> Shares:
    asked = [(each, own) for each, own in zip(orgs, got, strict=True) if each.has_asked]
    total = sum(own for _, own in asked)
    # What runs is under way, and neither had nor refused.
    wanted = [own + each.owed for each, own in asked]
    fair = deal_fairly(
        total, [(each.weight, want) for (each, _), want in zip(asked, wanted, strict=True)]
    )
    return Shares(
        total=total,
        by_org={each.org_id: own / total if total else 0.0 for each, own in asked},
        index=jain_index([own / each.weight for each, own in asked]),
        index_of_fair_parts=jain_index(
            [own / part for (_, own), part in zip(asked, fair, strict=True) if part > 0]
        ),
    )


def deal_fairly(total: float, claims: Sequence[tuple[float, float]]) -> list[float]:
    """Deal something out by weight, to nobody more than wanted, until it or all wants are gone.

    Args:
        claims: each one's weight and what it wants.
    """
    parts = [0.0] * len(claims)
    # Whoever wants least for its weight is satisfied first; the rest share what is left.
    order = sorted(range(len(claims)), key=lambda place: claims[place][1] / claims[place][0])
    left, weights = total, sum(weight for weight, _ in claims)
    for place in order:
        weight, want = claims[place]
        parts[place] = min(want, max(0.0, left) * weight / weights)
        left -= parts[place]
        weights -= weight
    return parts


def choose_shown(orgs: Sequence[OrgService], *, most: int) -> list[OrgService]:
    """Choose whom to show where there is no room for all.

    Half of the places are for those that move most, the others for those that wait longest: a
    small one that is forgotten must not be hidden by the large ones.
    """
    if len(orgs) <= most:
        return list(orgs)
    by_work = sorted(orgs, key=lambda org: (-(org.waiting + org.completed), org.org_id))
    chosen = {org.org_id for org in by_work[: most // 2]}
    for org in sorted(orgs, key=lambda org: (-_longest_wait_s(org), org.org_id)):
        if len(chosen) >= most:
            break
        chosen.add(org.org_id)
    return [org for org in orgs if org.org_id in chosen]


def _longest_wait_s(org: OrgService) -> float:
    return max(org.oldest_age_s, org.wait_p95_s or 0.0)
