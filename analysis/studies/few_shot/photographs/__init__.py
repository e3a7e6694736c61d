"""The sweeps of the study `photographs`: four ways to train on 100 photographs in equal time, from faces and from scratch."""
