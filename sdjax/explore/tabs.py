"""What each open tab of the page keeps: its reader, and which call is its newest."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

from sdjax.inference.prefixes import PrefixReader, States

TABS = 8  # whose states are kept; one used longer ago reads its text anew


class Tab:
    """One tab: its calls may come on several threads, and only the newest goes on."""

    def __init__(self, reader: PrefixReader):
        self._reader, self._lock = reader, threading.Lock()
        self._calls = 0
        self._newest = {"read": 0, "write": 0}  # 0: none goes on

    def begin(self, what: str) -> int:
        """Make a call the newest of its kind, so that older ones stop; return it."""
        with self._lock:
            self._calls += 1
            self._newest[what] = self._calls
            return self._calls

    def stop(self, what: str) -> None:
        """Let no call of a kind go on."""
        with self._lock:
            self._newest[what] = 0

    def stopped(self, what: str) -> bool:
        """Tell whether calls of a kind stopped, and not for a newer one."""
        return self._newest[what] == 0

    def goes_on(self, what: str, call: int) -> bool:
        """Tell whether a call is still the newest of its kind."""
        return self._newest[what] == call

    def read(self, data: bytes, call: int) -> Iterator[int | States | None]:
        """Read a text; yield how many bytes are known, and then the states.

        None comes instead if a newer call has begun. The lock is held for one piece at
        a time: who stops asking blocks nobody.
        """
        steps = self._reader.steps(data)
        while True:
            with self._lock:
                if not self.goes_on("read", call):
                    yield_now = None
                elif (done := next(steps, None)) is None:
                    yield_now = self._reader.states(data)
                else:
                    yield_now = done
            yield yield_now
            if not isinstance(yield_now, int):
                return


class Tabs:
    """The tabs that are open, the ones used last."""

    def __init__(self, reader: Callable[[], PrefixReader]):
        self._make, self._lock = reader, threading.Lock()
        self._open: OrderedDict[str, Tab] = OrderedDict()

    def of(self, name: str) -> Tab:
        """Return the tab of a name; a new one where there is none."""
        with self._lock:
            tab = self._open.pop(name, None) or Tab(self._make())
            self._open[name] = tab
            while len(self._open) > TABS:
                self._open.popitem(last=False)
            return tab

    def close(self, name: str) -> None:
        """Forget a tab, and stop what it has begun."""
        with self._lock:
            tab = self._open.pop(name, None)
        if tab is not None:
            tab.stop("read")
            tab.stop("write")
