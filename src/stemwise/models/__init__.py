"""The paper's networks, and the checkpoints that carry their weights."""
