"""One thread, as in a trial with one CPU, here and in the processes that tests start.

What is as small as in tests is slower on several, and far slower beside other processes. Libraries look here when they are
loaded.
"""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
