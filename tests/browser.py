"""A headless Chromium on a page of `sdjax explore`, and what it asked the network for.

Chromium and its driver are Debian's; nothing is downloaded.
"""

import json
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

INSTALL = "apt-get install -y chromium chromium-driver"


def missing() -> list[str]:
    """Return the programs that are not there."""
    return [p for p in ("chromium", "chromedriver") if shutil.which(p) is None]


@contextmanager
def browser(downloads: Path, size: tuple[int, int] = (1280, 1000)):
    """Yield a Selenium driver whose requests are recorded."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("headless=new", "no-sandbox", "disable-gpu"):
        options.add_argument(f"--{argument}")
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument(f"--window-size={size[0]},{size[1]}")
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(downloads)}
    )
    options.set_capability(
        "goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"}
    )
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


class OnPage:
    """One tab of the browser, spoken to by the ids of the page."""

    def __init__(self, driver, url: str):
        self.driver, self.url = driver, url
        self.requests: list[str] = []
        self.console: list[str] = []

    def load(self, query: str = "") -> None:
        """Open the page, and wait until it has its first unit."""
        self.driver.get(self.url + query)
        self.wait(lambda: self.value("unit") != "")

    def find(self, selector: str):
        from selenium.webdriver.common.by import By

        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition, seconds: float = 60):
        """Return what a condition gives as soon as it is true of the page."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if found := condition():
                    return found
            except (IndexError, StaleElementReferenceException):
                pass
            time.sleep(0.05)
        raise TimeoutError(f"{seconds} s: {self.text('body')[:1500]}")

    def text(self, selector: str) -> str:
        return self.find(selector)[0].text

    def value(self, name: str) -> str:
        selector = f"#{name} textarea, #{name} input"
        return self.find(selector)[0].get_property("value")

    def type(self, name: str, text: str, clear: bool = True) -> None:
        """Type into a field, a key at a time as a person does."""
        from selenium.webdriver.common.keys import Keys

        field = self.find(f"#{name} textarea, #{name} input")[0]
        if clear:
            field.send_keys(Keys.CONTROL, "a")
            field.send_keys(Keys.DELETE)
        field.send_keys(text)

    def paste(self, name: str, text: str) -> None:
        """Set a field at once."""
        script = """
            const [field, text] = arguments, owner = Object.getPrototypeOf(field);
            Object.getOwnPropertyDescriptor(owner, 'value').set.call(field, text);
            field.dispatchEvent(new Event('input', {bubbles: true}));
        """
        field = self.find(f"#{name} textarea, #{name} input")[0]
        self.driver.execute_script(script, field, text)

    def slide(self, name: str, value: float) -> None:
        """Set a slider by its number field."""
        from selenium.webdriver.common.keys import Keys

        field = self.find(f"#{name} input[type=number]")[0]
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(f"{value}", Keys.TAB)

    def click(self, selector: str) -> None:
        self.wait(lambda: self.find(selector))
        self.driver.execute_script("arguments[0].click()", self.find(selector)[0])

    def open_tab(self, label: str) -> None:
        """Open a part of the page: Read, Write, Table."""
        tabs = self.find("button[role=tab]")
        self.wait(lambda: any(t.text == label for t in tabs))
        next(t for t in tabs if t.text == label).click()

    def colours(self) -> list[tuple[str, str, str]]:
        """Return each character, the colour that the browser paints, and its value."""
        script = """
            return [...document.querySelectorAll('#coloured .text span')].map(
                s => [s.textContent, getComputedStyle(s).backgroundColor, s.title]);
        """
        return [tuple(cell) for cell in self.driver.execute_script(script)]

    def coloured(self) -> str:
        return "".join(character for character, _, _ in self.colours())

    def look(self) -> None:
        """Note what was asked for since the last time, and what the console says."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message["method"] == "Network.webSocketCreated":
                self.requests.append(message["params"]["url"])
        self.console += [e["message"] for e in self.driver.get_log("browser")]

    def outside(self) -> list[str]:
        """Return the requests to other hosts than the page's."""
        self.look()
        own = urlsplit(self.url).netloc
        kept = ("data:", "blob:", "about:", "chrome:")
        return [
            url
            for url in self.requests
            if not url.startswith(kept) and urlsplit(url).netloc != own
        ]
