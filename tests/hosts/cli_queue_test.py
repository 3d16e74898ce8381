"""gameforge queue, as operators and workers that are scripts use it, on a Redis server of the tests' own."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from support import RedisServer

COMMAND = os.environ["GAMEFORGE_COMMAND"]
PATIENCE_S = 60


class Queue(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = RedisServer(PATIENCE_S)
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        # Each test has a queue of its own.
        self.environment = {**os.environ, "REDIS_URL": f"unix://{self.server.socket}"}
        self.queue = ["--queue", self.id().rsplit(".", 1)[-1]]

    def run_queue(self, *arguments, code=0, stdin=None, environment=None):
        done = subprocess.run([COMMAND, "queue", *arguments, *self.queue], input=stdin, capture_output=True,
                              timeout=PATIENCE_S, env=environment or self.environment)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done

    def text(self, *arguments, **options):
        return self.run_queue(*arguments, **options).stdout.decode()

    def lines(self, *arguments, **options):
        return [json.loads(line) for line in self.text(*arguments, "--json", **options).splitlines()]

    def refusal(self, *arguments, code=1):
        done = self.run_queue(*arguments, code=code)
        self.assertEqual(done.stdout, b"")
        return done.stderr.decode()

    def test_a_script_can_be_a_worker(self):
        job = self.text("enqueue", '{"prompt": "a red potion"}', "--user", "ann", "--tag", "tile", "--attempts", "2",
                        "--content-type", "application/json").strip()
        self.assertRegex(job, "^[0-9a-f]{32}$")
        (taken,) = self.lines("reserve", "--wait", "5", "--lease", "60", "--worker", "script")
        self.assertEqual(taken["payload"], '{"prompt": "a red potion"}')
        self.assertEqual((taken["user"], taken["tags"], taken["attempt"]), ("ann", ["tile"], 1))
        key = taken["key"]
        self.assertEqual(key, f"{job}:1")
        self.run_queue("progress", key, "3", "20", "--note", "sampling")
        self.assertGreater(self.lines("extend", key, "--lease", "90")[0]["expires_at_us"], taken["lease_expires_us"])
        shown = self.lines("show", job)[0]
        self.assertEqual(shown["progress"], {"done": 3, "total": 20, "note": "sampling"})
        self.assertEqual((shown["state"], shown["worker"]), ("running", "script"))
        (outcome,) = self.lines("fail", key, "--status", "io_error", "--message", "no disk", "--retry")
        self.assertIn(outcome["state"], ("waiting", "delayed"))
        self.assertIn("is over", self.refusal("complete", key, code=2))

        # By hand the next: the key, then the payload; and the payload alone into a file.
        self.text("sweep")
        payload = self.server.folder / "job.json"
        key = self.text("reserve", "--wait", "5", "--payload", str(payload)).strip()
        self.assertEqual(key, f"{job}:2")
        self.assertEqual(payload.read_text(), '{"prompt": "a red potion"}')
        self.assertEqual(self.text("release", key).strip(), "waiting")
        key = self.text("reserve").splitlines()[0]
        self.run_queue("complete", key, "--reference", "assets/potion.png", "--result", "fine")
        self.assertEqual(self.text("show", job, "--result", "-"), "fine")
        self.assertIn("reference: assets/potion.png", self.text("show", job))
        self.assertEqual([event["type"] for event in self.lines("events")],
                         ["accepted", "started", "retried", "started", "released", "started", "done"])
        figures = self.lines("stats")[0]
        self.assertEqual(figures["totals"]["done"], 1)
        self.assertEqual(figures["run"]["count"], 1)

    def test_many_lines_bytes_and_keys(self):
        listed = self.lines("enqueue", "--lines", "--file", "-", "--priority", "low",
                            stdin=b"".join(b"job %d\n" % number for number in range(2500)))
        self.assertEqual(len({line["id"] for line in listed}), 2500)
        self.assertEqual(self.lines("stats")[0]["waiting"], {"high": 0, "normal": 0, "low": 2500})
        self.assertEqual(len(self.lines("list", "--limit", "0")), 2500)
        self.assertEqual(len(self.lines("list", "--limit", "7")), 7)
        self.assertIn("and more", self.text("list"))
        self.assertEqual(self.lines("purge", "--state", "waiting", "--all"), [{"removed": 2500}])
        # Bytes that are no text come as they went.
        blob = bytes(range(256))
        self.run_queue("enqueue", "--file", "-", "--key", "once", stdin=blob)
        again = self.lines("enqueue", "--file", "-", "--key", "once", stdin=blob)[0]
        self.assertTrue(again["duplicate"])
        self.assertIn("gameforge: the key is held by job",
                      self.refusal("enqueue", "x", "--key", "once", "--refuse-duplicate"))
        self.assertEqual(self.run_queue("show", again["id"], "--payload", "-").stdout, blob)
        self.assertEqual(base64.b64decode(self.lines("reserve")[0]["payload_base64"]), blob)

    def test_dead_letters(self):
        for user in ("ann", "bob", "ann"):
            self.text("enqueue", "x", "--user", user)
            key = self.text("reserve").splitlines()[0]
            self.assertEqual(self.text("fail", key, "--status", "501", "--message", "no disk", "--dead").strip(), "dead")
        letters = self.lines("dlq", "list")
        self.assertEqual(len(letters), 3)
        self.assertIn("ann  io_error: no disk", self.text("dlq", "list"))
        self.assertEqual(len(self.lines("dlq", "list", "--user", "ann", "--status", "io_error")), 2)
        self.assertEqual(self.lines("dlq", "list", "--status", "network_error"), [])
        self.assertEqual(self.lines("dlq", "list", "--older-than", "60"), [])
        history = self.lines("dlq", "show", letters[0]["id"])[0]["history"]
        self.assertEqual([(entry["end"], entry["status"]) for entry in history], [("failed", "io_error")])
        self.assertIn("a filter, or --all", self.refusal("dlq", "requeue"))
        self.assertIn("a filter, or --all", self.refusal("dlq", "purge"))
        self.assertEqual(self.text("dlq", "requeue", letters[0]["id"]).strip(), "1 requeued")
        self.assertEqual(self.text("dlq", "requeue", "--user", "bob").strip(), "1 requeued")
        self.assertEqual(self.lines("dlq", "purge", "--all"), [{"removed": 1}])
        self.assertIn("no dead letter", self.refusal("dlq", "requeue", letters[0]["id"]))

    def test_pause_drain_and_cancel(self):
        self.run_queue("pause")
        job = self.text("enqueue", "x").strip()
        self.assertIn("(paused)", self.text("stats"))
        self.refusal("reserve", code=2)
        self.run_queue("resume")
        key = self.text("reserve").splitlines()[0]
        self.assertIn("still run", self.refusal("drain", "--wait", "0.2", code=2))
        self.assertEqual(self.text("cancel", job).strip(), "requested")
        # The holder learns by its exit code.
        self.assertIn("end the run", self.text("extend", key, code=2))
        self.assertEqual(self.text("fail", key).strip(), "cancelled")
        self.run_queue("drain", "--wait", "5")
        self.assertIn("is cancelled", self.refusal("cancel", job))
        self.assertEqual(self.text("stats", "--user", "ann").strip(), "waiting 0, running 0")

    def test_watching_ends_with_ctrl_c(self):
        for arguments in (["stats", "--watch", "0.1"], ["stats", "--watch", "0.1", "--json"], ["events", "--follow"],
                          ["reserve", "--wait", "60"]):
            with self.subTest(arguments):
                process = subprocess.Popen([COMMAND, "queue", *arguments, *self.queue], env=self.environment,
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                time.sleep(0.6)
                process.send_signal(signal.SIGINT)
                out, error = process.communicate(timeout=PATIENCE_S)
                if arguments[0] == "reserve":
                    self.assertEqual((process.returncode, out), (2, b""), error)
                else:
                    self.assertEqual(process.returncode, 0, error)
                if arguments[0] == "stats":
                    self.assertGreaterEqual(out.count(b"oldest"), 2)
        # Nothing was taken by the one that was interrupted.
        self.assertEqual(self.lines("stats")[0]["totals"]["taken"], 0)

    def test_prometheus(self):
        self.text("enqueue", "x")
        page = self.text("stats", "--prometheus")
        self.assertIn(f'gameforge_queue_accepted_total{{queue="{self.queue[1]}"}} 1', page)
        try:
            from prometheus_client.parser import text_string_to_metric_families
        except ImportError:
            return  # The unit tests hold the form; this is a second opinion where it is installed.
        self.assertGreater(len(list(text_string_to_metric_families(page))), 20)

    def test_what_is_wrong_is_told(self):
        bare = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        done = self.run_queue("stats", code=1, environment=bare)
        self.assertIn(b"--redis URL", done.stderr)
        done = self.run_queue("stats", "--redis", "redis://ann:secret@127.0.0.1:1", code=5)
        self.assertNotIn(b"secret", done.stderr)
        self.assertIn(b"127.0.0.1:1", done.stderr)
        done = self.run_queue("stats", "--redis", "redis://ann:secret@127.0.0.1:1", "--json", code=5)
        self.assertEqual(json.loads(done.stdout)["error"]["name"], "network_error")
        self.assertNotIn(b"secret", done.stdout + done.stderr)
        for arguments, words in ((["enqueue"], "give a payload"), (["enqueue", "x", "--file", "y"], "not both"),
                                 (["enqueue", "--file", "/nowhere/x"], "/nowhere/x"),
                                 (["enqueue", "x", "--priority", "top"], "high, normal, low"),
                                 (["enqueue", "x", "--delay", "-1"], "--delay"),
                                 (["enqueue", "x", "--attempts", "0"], "attempts"),
                                 (["enqueue", "x", "--lines"], "--lines needs --file"),
                                 (["complete", "abc"], "ID:TOKEN"), (["complete", "abc:1"], "32 hex digits"),
                                 (["show", "abc"], "32 hex digits"), (["show", "0" * 31 + "1"], "not in the queue"),
                                 (["list", "--state", "gone"], "delayed, waiting"), (["purge", "--all"], "--state"),
                                 (["purge", "--state", "waiting"], "a filter, or --all"),
                                 (["fail", "0" * 32 + ":1", "--status", "bad"], "--status"),
                                 (["reserve", "--count", "0"], "count is 0"), (["stats", "--watch", "x"], "--watch")):
            with self.subTest(arguments):
                self.assertIn(words, self.refusal(*arguments))

    def test_the_example_of_the_readme_runs_as_it_stands(self):
        readme = (Path(os.environ["GAMEFORGE_SOURCE"]) / "README.md").read_text()
        part = readme.split("## A queue that many machines share", 1)[1]
        script = part.split("```sh\n", 1)[1].split("```", 1)[0]
        self.assertIn("export REDIS_URL=redis://localhost\n", script)
        script = script.replace("redis://localhost", self.environment["REDIS_URL"])
        done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, timeout=PATIENCE_S,
                              env={**self.environment, "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, 0, done.stderr)
        job, key, payload = done.stdout.splitlines()[:3]
        self.assertEqual((key, payload), (f"{job}:1", '{"prompt": "a red potion"}'))
        self.assertIn("running     1\n", done.stdout)

    def test_every_help_has_an_example(self):
        def helps(*words):
            done = subprocess.run([COMMAND, "queue", *words, "--help"], capture_output=True, text=True,
                                  timeout=PATIENCE_S)
            self.assertEqual(done.returncode, 0)
            self.assertIn("Examples:\n  gameforge queue", done.stdout, words)
            return done.stdout

        def subcommands(text):
            part = text.split("Subcommands:\n", 1)[1].split("\n\n", 1)[0]
            return [line.split()[0] for line in part.splitlines() if line.startswith("  ") and line[2] != " "]

        names = subcommands(helps())
        self.assertGreater(len(names), 15)
        for name in names:
            page = helps(name)
            if name == "dlq":
                for inner in subcommands(page):
                    helps(name, inner)


if __name__ == "__main__":
    if shutil.which("redis-server") is None:
        print("SKIP: there is no redis-server; scripts/setup installs it")
        sys.exit(77)
    unittest.main(verbosity=2)
