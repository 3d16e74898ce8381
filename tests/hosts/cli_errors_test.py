"""gameforge errors, as an operator uses it, on a Redis server of the tests' own; the errors come through the C ABI."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import unittest

from support import RedisServer, run_in_this_interpreter

COMMAND = os.environ["GAMEFORGE_COMMAND"]
PATIENCE_S = 60


class Options(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint32), ("kept_errors", ctypes.c_uint32), ("group_limit", ctypes.c_uint32),
                ("most_waiting", ctypes.c_uint32), ("redis_url", ctypes.c_char_p), ("name_space", ctypes.c_char_p),
                ("process", ctypes.c_char_p), ("kept_us", ctypes.c_int64), ("command_timeout_us", ctypes.c_int64),
                ("most_waiting_bytes", ctypes.c_uint64)]


class Report(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint32), ("status", ctypes.c_uint32), ("severity", ctypes.c_uint32),
                ("foreign_domain", ctypes.c_uint32), ("foreign_number", ctypes.c_int64), ("message", ctypes.c_char_p),
                ("place", ctypes.c_char_p), ("module", ctypes.c_char_p), ("model", ctypes.c_char_p),
                ("user", ctypes.c_char_p), ("device", ctypes.c_char_p), ("context_keys", ctypes.c_void_p),
                ("context_values", ctypes.c_void_p), ("causes", ctypes.c_void_p), ("context_count", ctypes.c_uint32),
                ("cause_count", ctypes.c_uint32), ("unix_us", ctypes.c_int64)]


class Errors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = RedisServer(PATIENCE_S)
        cls.addClassCleanup(cls.server.stop)
        cls.library = ctypes.CDLL(os.environ["GAMEFORGE_LIBRARY"])

    def setUp(self):
        # Each test has a name space of its own.
        self.name_space = self.id().rsplit(".", 1)[-1]
        self.environment = {**os.environ, "REDIS_URL": f"unix://{self.server.socket}"}

    def run_errors(self, *arguments, code=0, environment=None):
        done = subprocess.run([COMMAND, "errors", *arguments, "--namespace", self.name_space], capture_output=True,
                              timeout=PATIENCE_S, env=environment or self.environment, text=True)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done

    def record(self, *reports):
        options = Options(struct_size=ctypes.sizeof(Options), redis_url=f"unix://{self.server.socket}".encode(),
                          name_space=self.name_space.encode(), process=b"worker 1", command_timeout_us=20_000_000)
        store = ctypes.c_void_p()
        self.assertEqual(self.library.gf_error_store_open(ctypes.byref(options), ctypes.byref(store)), 0)
        for report in reports:
            given = Report(struct_size=ctypes.sizeof(Report), **report)
            self.assertEqual(self.library.gf_error_store_record(store, ctypes.byref(given)), 0)
        self.assertEqual(self.library.gf_error_store_flush(store, ctypes.c_int64(20_000_000)), 0)
        self.assertEqual(self.library.gf_error_store_close(store, ctypes.c_int64(20_000_000)), 0)

    def test_top_show_and_tail(self):
        self.record(*[dict(status=501, message=f"tile {number} was not stored".encode(), place=b"Assets::store",
                           user=b"ann") for number in range(5)],
                    dict(status=0, severity=4, message=b"driver lost 0x17\nforged line\x1b[31m", module=b"driver"))
        lines = self.run_errors("top").stdout.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertIn("io_error in Assets::store", lines[0])
        self.assertEqual(lines[0].split()[1], "5")
        self.assertIn("fatal", lines[1])
        self.assertEqual(lines[2], "6 errors")
        top = json.loads(self.run_errors("top", "--json", "--window", "86400", "--count", "1").stdout)
        self.assertEqual((top["errors"], len(top["groups"])), (6, 1))
        fingerprint = top["groups"][0]["fingerprint"]
        self.assertEqual(fingerprint, lines[0].split()[0])
        shown = self.run_errors("show", fingerprint).stdout
        self.assertIn("tile 4 was not stored", shown)
        self.assertIn("worker 1", shown)
        group = json.loads(self.run_errors("show", fingerprint, "--json").stdout)
        self.assertEqual(group["by_process"], {"worker 1": 5})
        self.assertEqual(group["sample"]["user"], "ann")
        tail = self.run_errors("tail", "--count", "3").stdout.splitlines()
        self.assertEqual(len(tail), 3)
        self.assertIn("worker 1  io_error in Assets::store: tile 4 was not stored", tail[1])
        # What somebody wrote into an error forges no line, and paints nothing.
        self.assertIn("forged line", tail[2])
        self.assertNotIn("\x1b", tail[2])
        self.assertEqual(len([json.loads(line) for line in self.run_errors("tail", "--json").stdout.splitlines()]), 6)

    def test_tail_follows_until_it_is_interrupted(self):
        self.record(dict(status=501, message=b"before"))
        follower = subprocess.Popen([COMMAND, "errors", "tail", "--follow", "--json", "--namespace", self.name_space],
                                    stdout=subprocess.PIPE, env=self.environment, text=True)
        self.assertEqual(json.loads(follower.stdout.readline())["error"]["message"], "before")
        self.record(*[dict(status=501, message=f"then {number}".encode()) for number in range(30)])
        seen = [json.loads(follower.stdout.readline())["error"]["message"] for _ in range(30)]
        self.assertEqual(seen, [f"then {number}" for number in range(30)])
        follower.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(PATIENCE_S), 0)
        follower.stdout.close()

    def test_an_empty_store_and_what_is_not_there(self):
        self.assertEqual(self.run_errors("top").stdout, "0 errors\n")
        self.assertEqual(self.run_errors("tail").stdout, "")
        self.assertIn("there is no group", self.run_errors("show", "12", code=1).stderr)
        self.assertIn("hexadecimal", self.run_errors("show", "xyz", code=1).stderr)
        self.assertIn("--window", self.run_errors("top", "--window", "0", code=1).stderr)
        without = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        self.assertIn("--redis", self.run_errors("top", code=1, environment=without).stderr)
        gone = {**os.environ, "REDIS_URL": "redis://user:hunter2@127.0.0.1:1"}
        failed = self.run_errors("top", code=5, environment=gone)
        self.assertNotIn("hunter2", failed.stdout + failed.stderr)


if __name__ == "__main__":
    if not shutil.which("redis-server"):
        print("SKIP: there is no redis-server; scripts/setup installs it")
        sys.exit(77)
    if not run_in_this_interpreter():
        sys.exit(77)
    unittest.main()
