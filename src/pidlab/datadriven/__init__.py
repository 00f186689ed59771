"""Data-driven: what data tell without labels, such as fits of a mass, sWeights and efficiencies."""
