"""HTTP in, problems out: the REST API. It writes rows; worker and steward act on them."""
