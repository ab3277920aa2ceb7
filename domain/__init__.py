"""What a workflow, an execution, an agent and an error ARE: no I/O, no framework."""
