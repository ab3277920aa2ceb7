"""`tenantry bench`: Tenantry beside bare Prefect and DBOS, in turns, on one PostgreSQL."""
