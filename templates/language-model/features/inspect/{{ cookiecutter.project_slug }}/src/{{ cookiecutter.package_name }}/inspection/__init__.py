"""What ``inspect`` finds out about a user's data."""
