"""Gunicorn's settings: those of Slipway. Assign below to change one."""

from slipway.web.gunicorn_settings import *  # noqa: F403
