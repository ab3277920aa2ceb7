"""Workflow definitions to start from; `tenantry demo` runs them."""

from importlib.resources import files

ENTERPRISE_LEAD_SEARCH = "enterprise-lead-search.yaml"
TEST_SALES_INTELLIGENCE = "test-sales-intelligence.yaml"


def read_example(name: str) -> str:
    """Read an example's YAML."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
