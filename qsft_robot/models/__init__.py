"""The autoregressive token models."""
