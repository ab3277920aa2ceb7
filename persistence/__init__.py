"""The tenants' rows in PostgreSQL. The only floor that says `select`."""
