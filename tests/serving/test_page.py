"""The page, in a real Chromium: a file is chosen, the answer is listed and drawn."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

import zoo
from serving import Server
from tests.serving.kit import write_told
from zoo.data.loading import load


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (driver := shutil.which("chromedriver")):
        pytest.skip("needs chromium and its driver")
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=800,900"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    browser.set_script_timeout(30)
    yield browser
    browser.quit()


def until(browser, check):
    waiting = pytest.importorskip("selenium.webdriver.support.wait")
    waiting.WebDriverWait(browser, 30).until(lambda _: check())


def choose(browser, server, file):
    find = browser.find_element
    until(browser, lambda: server.name in find("id", "model").text)
    find("id", "file").send_keys(str(file))
    until(browser, lambda: "ms from here and back" in find("id", "time").text)


def drawn(browser):
    """The pixels of the canvas, (height, width, 4)."""
    script = """
    const canvas = document.getElementById("picture");
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.height, canvas.width, Array.from(data)];
    """
    height, width, data = browser.execute_script(script)
    return np.reshape(data, (height, width, 4))


@pytest.fixture
def black(tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "black.png")
    return tmp_path / "black.png"


@pytest.mark.oracle
def test_a_picture_and_a_file_that_is_none(browser, tmp_path):
    (done,) = zoo.export("lenet5", "tflite", out=tmp_path / "x")
    file, find = tmp_path / "digit.png", browser.find_element
    Image.fromarray(255 - load("mnist5k").test["image"][0][..., 0]).convert("RGB").save(file)
    with Server(done.path, port=0) as server:
        browser.get(f"{server.root}/")
        assert not find("id", "token").is_displayed()
        choose(browser, server, file)
        (label, share), *_ = [
            line.rsplit(" ", 1) for line in find("id", "rows").text.splitlines()[1:]
        ]
        best = zoo.predict("lenet5", [file])[0]
        assert label == best["label"]
        assert float(share) == pytest.approx(best["probability"], abs=1e-3)
        assert drawn(browser).shape[:2] == (28, 28)
        junk = tmp_path / "junk.png"
        junk.write_bytes(b"nonsense")
        find("id", "file").send_keys(str(junk))
        until(browser, lambda: "not a picture" in find("id", "error").text)
        assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"
                    and "400" not in line["message"]]  # fmt: skip


@pytest.mark.oracle
def test_masks_boxes_and_a_token(browser, tmp_path, black):
    mask = np.zeros((4, 4))
    mask[:, :2] = 1
    told = {
        "boxes": [[[2, 2, 6, 6]]],
        "scores": [[0.9]],
        "classes": [[1]],
        "masks": mask[None, None],
    }
    write_told(tmp_path / "m", 8, told, task="detect", labels=("a", "b"))
    (tmp_path / "token").write_text("secret")
    find = browser.find_element
    with Server(tmp_path / "m", port=0, token_file=tmp_path / "token") as server:
        browser.get(f"{server.root}/")
        until(browser, find("id", "token").is_displayed)
        find("id", "token").send_keys("wrong\n")
        until(browser, lambda: "not the server's token" in find("id", "error").text)
        find("id", "token").clear()
        find("id", "token").send_keys("secret\n")
        choose(browser, server, black)
        assert "b 0.9000" in find("id", "rows").text and "mask" not in find("id", "rows").text
        seen = drawn(browser)[..., :3].sum(axis=-1) > 0
    assert seen[25, 60:140].all()  # the box: 25 to 75 down, 50 to 150 across
    assert seen[35:65, 60:95].all() and not seen[35:65, 110:140].any()  # half of it is the mask
    assert not seen[80:, :].any() and not seen[:, 160:].any()


@pytest.mark.oracle
def test_points(browser, tmp_path, black):
    write_told(tmp_path / "m", 8, {"points": [[[0.5, 0.25]]]}, task="pose")
    with Server(tmp_path / "m", port=0) as server:
        browser.get(f"{server.root}/")
        choose(browser, server, black)
        seen = drawn(browser)[..., :3].sum(axis=-1) > 0
    assert seen[50, 50] and not seen[:40].any() and not seen[:, :40].any()


def test_the_page_needs_no_token_and_what_it_asks_does(tmp_path):
    write_told(tmp_path / "m", 8, {"points": [[[0.5, 0.25]]]}, task="pose")
    (tmp_path / "token").write_text("secret")
    with Server(tmp_path / "m", port=0, token_file=tmp_path / "token") as server:
        with urllib.request.urlopen(f"{server.root}/", timeout=30) as page:
            assert b"<title>Models</title>" in page.read()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{server.root}/models.json", timeout=30)
