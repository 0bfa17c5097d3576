"""Tests, intervals, corrections and models that the tables rest on."""
