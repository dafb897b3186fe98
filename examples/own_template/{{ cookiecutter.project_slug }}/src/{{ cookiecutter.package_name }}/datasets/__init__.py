"""Where the series come from, and what is known of their days."""
