"""What every figure is drawn on: styles and sizes, the label of an experiment, and how a figure becomes a file."""
