"""Models: estimators, one family a file or folder, and how a run trains, scores and explains them."""
