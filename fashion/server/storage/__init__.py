"""The server's database: accounts, sessions, the request log and the prediction history."""
