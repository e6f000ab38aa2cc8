"""Training: the only part that imports lightning; hydra only in config.py and train.py."""
