"""The benchmark of lists says what breaks its claims."""

from benchmarks.listing import find_plan_faults, find_slow

OWN = {
    "Node Type": "Index Scan",
    "Index Name": "executions_status",
    "Index Cond": "((org_id = (InitPlan 1).col1) AND (status = 'FAILED'::text))",
}
OF_ALL = {"Node Type": "Index Scan", "Index Name": "executions_pkey"}
WHOLE_TABLE = {"Node Type": "Seq Scan", "Relation Name": "executions"}


def limit(*plans: dict) -> dict:
    return {"Node Type": "Limit", "Plans": list(plans)}


def test_a_plan_of_the_organizations_own_index_is_no_fault():
    assert list(find_plan_faults("status", limit(OWN))) == []


def test_a_plan_without_an_index_is_named_with_its_table():
    faults = "\n".join(find_plan_faults("status", limit(WHOLE_TABLE)))
    assert "`status` uses no index" in faults
    assert "`status` reads all of executions" in faults


def test_an_index_of_all_organizations_is_a_fault_beside_a_right_one():
    (fault,) = find_plan_faults("status", limit(OWN, OF_ALL))
    assert "`status` walks executions_pkey" in fault


def test_a_slow_list_is_named_and_slow_figures_are_not():
    fast, slow = [2.0] * 20, [2.0] * 18 + [51.0] * 2
    (fault,) = find_slow({"label": slow, "status": fast, "metrics, 30 days": slow})
    assert fault.startswith("`label` takes 51 ms")


def test_a_page_1000_that_takes_too_long_is_named():
    times = {"page 1 of 20, newest": [2.0] * 9, "page 1,000 of 20, newest": [2.9] * 9}
    assert list(find_slow(times)) == []
    (fault,) = find_slow(times | {"page 1,000 of 20, newest": [3.1] * 9})
    assert fault.startswith("`page 1,000 of 20, newest` takes 1.55 times")
