"""Workflows as Prefect flows, and Prefect's states as the tenants' rows."""
