"""What tests share: builders of sweeps, stores, images and servers."""
