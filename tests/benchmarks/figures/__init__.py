"""The table of all figures of speed, memory and size: each before this work and now, its goal, and its command; profiles."""
