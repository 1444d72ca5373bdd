"""The built book as a reader meets it: every page in a browser without network, at a laptop's and a phone's width."""

import os
import re
import shutil
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from book import build

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
PAGES = sorted(HTML.rglob("*.html"), key=str) if HTML.exists() else []
PAGES = [page for page in PAGES if "_static" not in page.parts]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What a page shows outside code, with the typeset formulas taken out.
PROSE = """() => {
    const main = (document.querySelector("main") ?? document.body).cloneNode(true);
    main.querySelectorAll("pre, code, script, style, mjx-container").forEach(node => node.remove());
    return main.textContent;
}"""
RAW_TEX = re.compile(r"\$\$|\\[\[\](){}]|\\[a-zA-Z]{2,}|\$[^$\n]*[\\^_{}][^$\n]*\$")
SHOWN = "box => [...box.querySelectorAll('img')].filter(i => i.checkVisibility()).map(i => i.src).join()"


def missing(what: str) -> None:
    """Skip on a machine that lacks something, fail where everything was to be there."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


def name(page: Path) -> str:
    return page.relative_to(HTML).as_posix()


@pytest.fixture(scope="module")
def browser():
    if not BROWSER:
        missing("no chromium on the PATH: `apt install chromium`")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Open a page from its file with the network off; the page, and what went wrong while it loaded."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    faults = []

    def local_only(route):
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            faults.append(f"asks the network for {route.request.url}")
            route.abort()

    def open_page(path: Path):
        context.route("**/*", local_only)
        page = context.new_page()
        page.on(
            "console", lambda note: faults.append(f"console: {note.text}") if note.type == "error" else None
        )
        page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
        page.on("requestfailed", lambda request: faults.append(f"cannot load {request.url}"))
        page.goto(path.as_uri(), wait_until="load")
        page.evaluate("window.MathJax?.startup?.promise")
        return page, faults

    yield open_page
    context.close()


def inspect(page) -> list[str]:
    """What a reader would find wrong with an open page."""
    faults = [f"raw TeX: {found!r}" for found in RAW_TEX.findall(page.evaluate(PROSE))[:3]]
    errors = page.locator("mjx-merror, merror, [data-mjx-error]")
    faults += [
        f"a formula MathJax cannot set: {error.get_attribute('data-mjx-error')}" for error in errors.all()
    ]
    for image in page.locator("main img").all():
        alt = (image.get_attribute("alt") or "").strip()
        if not image.evaluate("image => image.complete && image.naturalWidth > 0"):
            faults.append(f"an image does not load: {alt!r}")
        if len(alt) <= 15 or re.search(r"\.(png|svg|jpe?g|gif)$|^\S+$", alt):
            faults.append(f"alt text that does not say what the image shows: {alt!r}")
    for box in page.locator(".course-explorer").all():
        slider = box.locator("input[type=range]").first
        before = box.evaluate(SHOWN)
        slider.evaluate(
            "s => { s.value = s.value == s.max ? s.min : s.max; s.dispatchEvent(new Event('input', {bubbles: true})); }"
        )
        if box.evaluate(SHOWN) == before:
            faults.append("an explorer whose slider changes nothing")
    for width in (1280, 380):
        page.set_viewport_size({"width": width, "height": 900})
        needed = page.evaluate("document.documentElement.scrollWidth")
        if needed > width:
            faults.append(f"is {needed} pixels wide in a window of {width}")
    return faults


def test_book_is_built():
    if not PAGES:
        missing("the book is not built: run `make book`")


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=name)
def test_page(opened, path):
    if 'http-equiv="Refresh"' in path.read_text(encoding="utf-8"):
        pytest.skip("forwards to the first page")
    page, faults = opened(path)
    faults += inspect(page)
    assert not faults, f"{name(path)}:\n" + "\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<p>the bound $$x$$</p>", "raw TeX"),
        (r"<p>\frac{1}{2}</p>", "raw TeX"),
        ("<p>so $x_i$ it is</p>", "raw TeX"),
        ("<mjx-container><mjx-merror data-mjx-error='Undefined control sequence'></mjx-merror></mjx-container>", "Undefined"),
        ("<img src='gone.png' alt='Sixteen digits drawn by the model'>", "does not load"),
        ("<img src='https://example.org/a.png' alt='Sixteen digits drawn by the model'>", "asks the network"),
        ("<img src='dot.svg' alt='../_images/0123456789abcdef.png'>", "alt text"),
        ("<img src='dot.svg'>", "alt text"),
        ("<div style='width: 500px'>wide</div>", "pixels wide in a window of 380"),
        ("<script>console.error('oh')</script>", "console: oh"),
        ("<script>undefined_name()</script>", "script error"),
        ("<div class='course-explorer'><img src='dot.svg' alt='A dot on a white ground'><input type='range'></div>", "slider"),
    ],
)  # fmt: skip
def test_each_kind_of_fault_is_found(opened, tmp_path, body, fault):
    (tmp_path / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    (tmp_path / "page.html").write_text(f"<!doctype html><link rel=icon href=data:,><main>{body}</main>")
    page, faults = opened(tmp_path / "page.html")
    assert any(fault in found for found in faults + inspect(page))


class Links(HTMLParser):
    """The anchors of a page, where it links to, and what it loads."""

    def __init__(self):
        super().__init__()
        self.anchors, self.links, self.loaded = set(), [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon"):
            self.loaded.append(values["href"])
        elif tag != "a" and "src" in values:
            self.loaded.append(values["src"])


@pytest.fixture(scope="module")
def parsed() -> dict[Path, Links]:
    pages = defaultdict(Links)
    for page in PAGES:
        pages[page].feed(page.read_text(encoding="utf-8"))
    return pages


def test_links_lead_somewhere(parsed):
    broken = []
    for page, content in parsed.items():
        for link in content.links:
            parts = urlsplit(link)
            if parts.scheme or not link.strip("#"):
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            known = target.exists() and (
                not parts.fragment
                or target not in parsed
                or unquote(parts.fragment) in parsed[target].anchors
            )
            if not known:
                broken.append(f"{name(page)}: {link}")
    assert not broken, "\n".join(broken)


def test_nothing_is_loaded_from_elsewhere(parsed):
    remote = [
        f"{name(page)}: {url}"
        for page, content in parsed.items()
        for url in content.loaded
        if re.match(r"(https?:)?//", url)
    ]
    assert not remote, "\n".join(remote)


def test_chapters_stay_within_their_time():
    """At most 45 s in the smoke tier; a slower processor than the one they are measured on gets half as much again."""
    if not PAGES:
        pytest.skip("the book is not built")
    times = build.times_of(build.chapters())
    late = {path.stem: cpu for path, (_, cpu) in times.items() if cpu > 1.5 * build.CHAPTER_LIMIT}
    assert not late, f"seconds: {late}"
