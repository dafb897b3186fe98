"""What the report shows besides metrics."""
