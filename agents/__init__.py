"""The agents that workflows are made of, and the connectors that they read from."""
