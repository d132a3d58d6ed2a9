"""What a running service shows: metrics and a black-box check."""
