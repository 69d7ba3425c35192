"""Drawing completions: engines behind one small interface."""
