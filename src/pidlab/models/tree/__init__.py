"""One decision tree, whose leaves are boxes that can be read as cuts."""
