"""How fast training is on this machine: plain path, fast path, and what the hardware allows."""
