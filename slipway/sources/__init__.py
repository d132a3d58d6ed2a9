"""Where raw tables are, and what answers SQL about them."""
