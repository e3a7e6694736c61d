"""The GAN core: the training loop, its losses, optimizer and augmentation."""
