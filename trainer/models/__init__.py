"""Policies and reward models: loading, saving, attention over shared prompts, what they say of completions."""
