"""Where organizations keep their records: files, databases, kept data sets."""
