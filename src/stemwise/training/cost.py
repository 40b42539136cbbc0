"""What a fit costs: processor time and time by the clock."""

import time

from lightning.pytorch.callbacks import Callback

__all__ = ["Cost"]


class Cost(Callback):
    """What a fit has cost so far, over all sittings up to the last finished epoch.

    Attributes:
        core_minutes: processor time of this process, all threads; without `workers`, who load.
        minutes: by the clock.
    """

    def __init__(self) -> None:
        self.core_minutes = self.minutes = 0.0
        self._since = (time.process_time(), time.monotonic())

    def on_train_epoch_end(self, trainer: object, module: object) -> None:
        """Add what has passed since the last epoch."""
        now = (time.process_time(), time.monotonic())
        self.core_minutes += (now[0] - self._since[0]) / 60
        self.minutes += (now[1] - self._since[1]) / 60
        self._since = now

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed fit adds to."""
        return {"core_minutes": self.core_minutes, "minutes": self.minutes}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from what earlier sittings cost."""
        self.core_minutes, self.minutes = state["core_minutes"], state["minutes"]
