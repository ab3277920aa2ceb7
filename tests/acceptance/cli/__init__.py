"""The command line as people and programs use it: the real executable, a real installation."""
