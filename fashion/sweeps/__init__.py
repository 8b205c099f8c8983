"""Many runs from one command: each in a process of its own, resumable, and gathered in one table."""
