"""One thread, as in a trial with one CPU: networks this small are slower on several, and far slower beside other processes."""

import torch

torch.set_num_threads(1)
