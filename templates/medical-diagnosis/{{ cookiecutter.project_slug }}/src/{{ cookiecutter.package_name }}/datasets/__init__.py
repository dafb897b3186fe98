"""Where examples come from: files, tables, downloads, and how they are divided."""
