"""Carries a plan out on Ray and writes down everything that happens."""
