"""The stack that runs with nothing installed: PostgreSQL, Prefect's server, and their keeper.

Start at `stack.open_stack`. The keeper is a small process of its own that starts the services,
restarts those that die, and stops them all when no process uses the home any more.
"""
