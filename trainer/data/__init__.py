"""What is learned from: snapshot folders, token ids, groups of completions, batches."""
