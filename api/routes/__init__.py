"""The routes below `/api/v1`, one file a resource."""
