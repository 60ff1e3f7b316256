"""Training: data, losses, loops. Nothing in `vidgen` imports from here."""
