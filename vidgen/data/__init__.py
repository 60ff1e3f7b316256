"""Real clips: packs and folders of them, and those that are drawn on the spot, for training and measuring."""
