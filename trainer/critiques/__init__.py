"""Reward models that write why, and then which."""
