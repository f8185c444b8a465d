"""The embedded AWS: start it, deploy the real stacks onto it, look at what they do."""
