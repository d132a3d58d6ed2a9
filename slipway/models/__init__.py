"""One model version, and what it answers with."""
