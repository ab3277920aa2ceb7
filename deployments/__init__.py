"""How Tenantry is put into service: command line, embedded stack, worker and steward."""
