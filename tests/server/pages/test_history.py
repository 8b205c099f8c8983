"""Past predictions, feedback on them, and the images if the operator keeps them."""

import datetime
import io
import re

import pytest
from PIL import Image
from services import DATABASES
from serving import CLASSES, SETTINGS, form, png
from sqlalchemy import func, select, update

from fashion.server.pages.result_page import percent
from fashion.server.service import classify
from fashion.server.settings import Settings
from fashion.server.storage import prediction_history as module
from fashion.server.storage.accounts import Accounts
from fashion.server.storage.prediction_history import PredictionHistory
from fashion.server.storage.tables import ImageRow, PredictionRow
from fashion.uncertainty.posthoc import Judgement

IMAGE = Image.effect_noise((300, 200), 80).convert("RGB")
PAGE = {"Accept": "text/html"}
HOSTILE = "=<script>alert(1)</script>"


@pytest.fixture
def ask(sign_in):
    """Sign in, upload an image as a browser does, and return the prediction's number."""

    def send(client, name="admin", password="password", content=None, file_name="p.png"):
        sign_in(client, name, password)
        body, kind = form(("file", content or png(IMAGE)), name=file_name)
        page = client.post("/predict", data=body, content_type=kind, headers=PAGE)
        assert page.status_code == 200, page.text
        return int(re.search(r'id="feedback-(\d+)"', page.text)[1])

    return send


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    url = f"sqlite:///{tmp_path}/p.db" if request.param == "sqlite" else request.getfixturevalue("empty_postgresql_url")
    accounts = Accounts(url)
    accounts.upgrade()
    for name in ("ann", "bob"):
        accounts.add(name, "a long password")
    yield accounts.database
    accounts.database.close()


def kept(database, **settings) -> PredictionHistory:
    return PredictionHistory(database, Settings(**{**SETTINGS, **settings}))


def add(predictions, account="ann", jpeg=None) -> int:
    return predictions.add(account, "r", "0" * 64, "v", "Coat", 0.5, "accept", jpeg)


def count(database, row) -> int:
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(row))


def age(database, days: float) -> None:
    with database.writing() as connection:
        then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
        for row in (PredictionRow, ImageRow):
            connection.execute(update(row).values(time=then))


# -- In the database


def test_predictions_belong_to_their_account(database):
    known = kept(database)
    numbers = [add(known) for _ in range(5)]
    others = add(known, "bob")
    found, total = known.page("ann", 2, 2)
    assert ([each.id for each in found], total) == ([numbers[2], numbers[1]], 5)
    assert known.find(others, "ann") is None
    assert not known.give_feedback(others, "ann", "Bag")
    assert known.delete("ann", others) == 0
    assert known.find(others, "bob").said_class is None
    assert known.delete("ann") == 5
    assert count(database, PredictionRow) == 1


def test_feedback_can_be_changed_and_withdrawn(database):
    known = kept(database)
    number = add(known)
    assert known.find(number, "ann").was_right is None
    known.give_feedback(number, "ann", "Coat")
    assert known.find(number, "ann").was_right is True
    known.give_feedback(number, "ann", "Bag", HOSTILE)
    found = known.find(number, "ann")
    assert (found.was_right, found.said_class, found.comment) == (False, "Bag", HOSTILE)
    known.give_feedback(number, "ann", None)
    found = known.find(number, "ann")
    assert (found.said_class, found.comment, known.with_feedback()) == (None, None, [])


def test_class_names_may_be_long(database):
    known, name = kept(database), "\u05d7" * 300
    number = known.add("ann", "r", "0" * 64, "v", name, 0.5, "accept")
    known.give_feedback(number, "ann", name)
    found = known.find(number, "ann")
    assert found.predicted_class == found.said_class == name


def test_old_predictions_without_feedback_are_deleted(database):
    known = kept(database)
    add(known)
    said = add(known)
    known.give_feedback(said, "ann", "Coat")
    age(database, 91)
    known.prune()
    assert [each.id for each in known.page("ann", 1, 9)[0]] == [said]


def test_an_account_that_was_removed_meanwhile_has_no_history(database):
    known = kept(database, keep_images=True)
    assert add(known, "eve", jpeg=b"x") is None
    assert count(database, PredictionRow) == count(database, ImageRow) == 0


def test_an_account_that_is_removed_during_its_request_gets_the_answer(client, sign_in, accounts, monkeypatch):
    accounts.add("ada", "a long password")
    sign_in(client, "ada", "a long password")
    add_to_history = PredictionHistory.add

    def remove_and_add(*arguments, **options):
        accounts.remove("ada")
        return add_to_history(*arguments, **options)

    monkeypatch.setattr(PredictionHistory, "add", remove_and_add)
    body, kind = form(("file", png(IMAGE)))
    page = client.post("/predict", data=body, content_type=kind, headers=PAGE)
    assert page.status_code == 200
    assert "feedback-" not in page.text


def test_a_failure_to_delete_old_predictions_is_logged(database, caplog, monkeypatch):
    monkeypatch.setattr(database, "writing", lambda: 1 / 0)
    kept(database).prune()
    assert "old predictions were not deleted: division by zero" in caplog.text


def test_images_are_kept_if_set_and_as_long_as_set(database):
    number = add(kept(database), jpeg=b"x")
    assert count(database, ImageRow) == 0
    known = kept(database, keep_images=True, keep_images_days=2)
    number = add(known, jpeg=b"x")
    assert known.image(number, "ann") == b"x"
    assert known.image(number, None) == b"x"
    assert known.image(number, "bob") is None
    assert known.find(number, "ann").has_image
    age(database, 2.01)
    assert known.image(number, "ann") is None  # at once
    assert not known.find(number, "ann").has_image
    known.prune()
    assert count(database, ImageRow) == 0


def test_images_are_deleted_with_the_prediction_the_account_or_the_setting(database):
    known = kept(database, keep_images=True)
    one, _ = add(known, jpeg=b"x"), add(known, "bob", jpeg=b"x")
    known.delete("ann", one)
    assert count(database, ImageRow) == 1
    kept(database).prune()  # no longer set
    assert count(database, ImageRow) == 0
    assert count(database, PredictionRow) == 1


def test_the_oldest_images_make_room(database, monkeypatch):
    monkeypatch.setattr(module, "MEBIBYTE", 10)
    known = kept(database, keep_images=True, keep_images_mebibytes=1)
    numbers = [add(known, jpeg=b"x" * size) for size in (4, 3, 3, 5)]
    assert [known.image(number, None) is not None for number in numbers] == [False, False, True, True]
    assert count(database, PredictionRow) == 4


# -- On the page


def test_a_prediction_is_listed_shown_and_deleted(client, ask):
    number = ask(client)
    listed = client.get("/history").text
    assert f'id="prediction-{number}"' in listed
    assert "p.png" not in listed
    shown = client.get(f"/history/{number}")
    assert shown.status_code == 200
    answer = client.post(f"/history/{number}/delete")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/history")
    assert client.get(f"/history/{number}").status_code == 404
    assert "Nothing here yet" in client.get("/history").text


def test_predictions_of_others_are_not_found(make_app, accounts, ask):
    accounts.add("bob", "a long password")
    app = make_app(keep_images=True)
    mine, theirs = app.test_client(), app.test_client()
    number = ask(theirs)
    ask(mine, "bob", "a long password")
    for path in ("", "/picture"):
        assert mine.get(f"/history/{number}{path}").status_code == 404
    for action in ("feedback", "delete"):
        answer = mine.post(f"/history/{number}/{action}", data={"said": "Bag"})
        assert answer.status_code == 404
    mine.post("/history/delete")
    assert theirs.get(f"/history/{number}").status_code == 200


@pytest.mark.parametrize("number", ["0", "999", str(2**31), str(2**80), "-1", "x", "1.5"])
def test_missing_predictions_are_not_found(client, sign_in, number):
    sign_in(client)
    assert client.get(f"/history/{number}").status_code == 404
    assert client.get(f"/history/{number}/picture").status_code == 404
    assert client.post(f"/history/{number}/delete").status_code == 404


def test_pages(client, ask):
    ask(client)
    for _ in range(13):
        client.post("/examples/0", headers=PAGE)
    for page in ("1", "2", "99", "-1", "x", str(2**80)):
        text = client.get(f"/history?page={page}").text
        last = page in {"2", "99", str(2**80)}
        assert f"Page {2 if last else 1} of 2" in text, page
        assert text.count('id="prediction-') == (2 if last else 12), page


def test_feedback_is_kept_and_shown_as_text(client, ask):
    number = ask(client)
    answer = client.post(
        f"/history/{number}/feedback", data={"said": "Something else", "comment": f" {HOSTILE}\x00\n "}
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/history/{number}")
    shown = client.get(answer.headers["Location"]).text
    assert "You said: <b><bdi>Something else</bdi></b>" in shown
    assert "<q>=&lt;script&gt;alert(1)&lt;/script&gt;</q>" in shown
    assert "<script>alert" not in shown


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ({"said": "Hat"}, "said: expected one of the classes, or nothing to withdraw the feedback."),
        ({"said": "<b>"}, "said: expected one of the classes, or nothing to withdraw the feedback."),
        ({"said": "Bag", "comment": "x" * 201}, "comment: got 201 characters, expected at most 200."),
    ],
)
def test_invalid_feedback_is_refused(client, ask, sent, detail):
    number = ask(client)
    answer = client.post(f"/history/{number}/feedback", data={**sent})
    assert answer.status_code == 400
    assert answer.json["detail"] == detail
    assert "You said" not in client.get(f"/history/{number}").text


def test_a_stored_image_has_nothing_but_its_pixels(make_app, ask):
    client = make_app(keep_images=True).test_client()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6
    number = ask(client, content=png(Image.new("RGB", (4000, 3000), "navy"), "JPEG", exif=exif, comment=b"secret"))
    answer = client.get(f"/history/{number}/picture")
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    image = Image.open(io.BytesIO(answer.data))
    assert image.size == (750, 1000)  # upright, and as it was decoded for the model
    assert not image.getexif()
    assert b"camera" not in answer.data
    assert b"secret" not in answer.data
    assert f'src="/history/{number}/picture"' in client.get("/history").text
    assert "Images are stored on this server for a while" in client.get("/").text


def test_by_default_no_image_is_stored(client, ask):
    number = ask(client)
    assert client.get(f"/history/{number}/picture").status_code == 404
    assert "Images are not stored." in client.get("/").text


def test_examples(client, sign_in, served_model):
    page = client.get("/").text
    sign_in(client)
    assert len(served_model.card.examples) == 2
    for number, example in enumerate(served_model.card.examples):
        assert f'src="/examples/{number}"' in page
        image = client.get(f"/examples/{number}")
        assert (image.data, image.mimetype) == (example.content, "image/png")
        answer = client.post(f"/examples/{number}", headers=PAGE)
        assert answer.status_code == 200
        assert "used as is: 28 x 28 grey" in answer.text
        assert any(f"<h2><bdi>{each}</bdi>, " in answer.text for each in CLASSES)


@pytest.mark.parametrize("name", ["2", "-1", "bag", "..%2Fstyle", "9" * 30])
def test_there_are_no_other_examples(client, sign_in, name):
    sign_in(client)
    assert client.get(f"/examples/{name}").status_code == 404
    assert client.post(f"/examples/{name}").status_code == 404


def test_programs_leave_no_history(post, accounts):
    post(png(IMAGE))
    post(png(IMAGE), headers={**PAGE, "Authorization": "Basic YWRtaW46cGFzc3dvcmQ="})
    assert count(accounts.database, PredictionRow) == 0


def test_abstaining_is_shown_as_not_sure(client, served_model, monkeypatch, ask):
    monkeypatch.setattr(type(served_model.uncertainty), "judge", lambda *_, photo: Judgement("abstain", 2.0, 1.0))
    number = ask(client)
    page = client.post("/examples/0", headers=PAGE).text
    assert "<h2>Not sure</h2>" in page
    assert re.search(r"<h3>Is it <bdi>[^<]+</bdi> after all\?</h3>", page)
    assert "This may be none of these classes. Closest: <b><bdi>" in page
    assert "Not sure" in client.get(f"/history/{number}").text


def test_classes_that_are_also_likely_are_named(client, sign_in, served_model, monkeypatch):
    sign_in(client)
    monkeypatch.setattr(type(served_model.uncertainty), "judge", lambda *_, photo: Judgement("accept", 0.0, 1.0))
    for beside, said in (([4, 2], True), ([4, 2, 0, 1], False), ([], False)):
        monkeypatch.setattr(classify, "also_likely", lambda _, beside=beside: beside)
        page = client.post("/examples/0", headers=PAGE).text
        assert ("Or perhaps <bdi>Coat</bdi> or <bdi>Pullover</bdi>." in page) == said
        assert ("Or perhaps" in page) == bool(beside)
        assert "or one of" not in page
    monkeypatch.setattr(classify, "also_likely", lambda _: [4, 2, 0, 1, 3])
    page = client.post("/examples/0", headers=PAGE).text
    assert "<bdi>Coat</bdi> or <bdi>Pullover</bdi> or <bdi>T-shirt/top</bdi>, or one of 2 others." in page


@pytest.mark.parametrize(
    ("share", "digits", "words"),
    [
        (0.931, 0, "93 %"), (0.9951, 0, "over 99 %"), (1.0, 0, "100 %"), (0.9949, 0, "99 %"), (0.004, 0, "under 1 %"),
        (0.0, 0, "0 %"), (0.9996, 1, "> 99.9 %"), (0.00049, 1, "< 0.1 %"), (0.0005, 1, "0.1 %"), (0.254, 1, "25.4 %"),
    ],
)  # fmt: skip
def test_percentages_never_round_to_certainty(share, digits, words):
    assert percent(share, digits) == words
