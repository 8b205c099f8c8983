"""Authentication, sessions, and protection of users' browsers."""
