"""The sweeps of the study `few-shot`: every strategy, LeCam regularisation and augmentations with 10, 50 and 200 images."""
