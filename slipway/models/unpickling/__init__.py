"""Read pickles without running them: our own constructors, and checks of what they build."""
