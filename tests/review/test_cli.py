"""`loxo review` as a command: faults in one line, export without a browser, a decision log that is open elsewhere."""

import socket

from loxo.review.session import Session


def test_faults_are_one_sentence(loxo, run, tmp_path):
    session = Session(run, "Ana")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for args, words in (
            ((tmp_path / "nowhere",), "there is no such folder"),
            ((run, "--port", taken.getsockname()[1]), "cannot listen on"),
            ((run, "--host", "no.such.address.example"), "cannot listen on"),
            ((run, "--recordings", tmp_path / "nowhere"), "Give the folder that contains the recordings"),
            ((run, "--reviewer", "Ana"), "another `loxo review` has this decision log open"),
            ((run, "--reviewer", "///"), "no letter or digit"),
            ((run, "--reviewer", "a\tb"), "in one line"),
            ((run, "--reviewer", "a" * 101), "at most 100 characters"),
        ):
            code, _, err = loxo("review", *args, "--no-browser")
            assert code == 2 and words in err and "Traceback" not in err, args
    session.close()


def test_the_command_exports_without_a_browser(loxo, run):
    code, out, _ = loxo("review", run, "--export")
    assert code == 0 and out.startswith("Nothing has been reviewed yet")
    session = Session(run, "Ana")
    session.act([{"row": 0, "verdict": "yes"}, {"row": 1, "verdict": "no"}])
    session.close()
    code, out, _ = loxo("review", run, "--export")
    assert code == 0 and out.startswith("1 true event of 2 reviewed:") and (run / "reviewed" / "events.csv").is_file()
    (run / "review" / "ben.jsonl").write_text(
        '{"action": 1, "at": "", "changes": [{"event": "a", "start_s": "abc"}]}\n'
    )
    code, out, err = loxo("review", run, "--export")
    assert code == 1 and out.startswith("1 true event of 2 reviewed:") and "ben.jsonl, line 1" in err
