"""Load pickles safely: an allowlist, constructors for listed calls, and checks of the result."""
