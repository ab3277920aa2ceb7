"""What makes a benchmark's figures worthless."""


class BenchFailed(Exception):
    """A contender broke off, or what it wrote is not what it was asked to write."""
