"""Training: what a batch holds, what each stage makes small, and the run that does them in order.

References: sections III-A2 and III-B2 of the paper (stages), IV-C (conditions).
"""

from stemwise.training.runs import train
from stemwise.training.setting import training_bank

__all__ = ["train", "training_bank"]
