"""The pairs table, the picture intake, the loader, and the sample data."""
