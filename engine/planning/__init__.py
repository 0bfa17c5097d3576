"""Turns a study and its options into trials with keys: options, checks, plan, remaining work."""
