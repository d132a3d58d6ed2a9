"""Bytes in, bytes out: predictions without Flask."""
