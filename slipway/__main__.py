"""``python -m slipway``."""

from slipway.cli.main import main

main(prog_name="slipway")
