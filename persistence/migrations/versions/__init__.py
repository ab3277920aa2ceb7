"""Schema migrations. They import no application code, so that an old one never changes."""
