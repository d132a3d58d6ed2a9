"""What pages, cards and API documents share to describe a model version."""
