"""The C++ header."""
