"""Migrations from Python, on a SQLite file: works, events, errors with their report, polling, cancelling."""

import os
import sqlite3
import sys
import tempfile
import time
import unittest

from support import run_in_this_interpreter

import gameforge

PATIENCE_S = 120
USERS = "-- gameforge: up\nCREATE TABLE users (id INTEGER PRIMARY KEY);\n-- gameforge: down\nDROP TABLE users;\n"
EMAILS = "-- gameforge: up\nALTER TABLE users ADD COLUMN email TEXT;\n-- gameforge: down\nALTER TABLE users DROP COLUMN email;\n"


class Migrations(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = os.path.join(self.temporary.name, "migrations")
        os.mkdir(self.folder)
        self.path = os.path.join(self.temporary.name, "game.db")
        self.url = "sqlite:" + self.path
        self.write("001_users.sql", USERS)
        self.write("002_emails.sql", EMAILS)

    def tearDown(self):
        self.temporary.cleanup()

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def columns(self):
        connection = sqlite3.connect(self.path)
        try:
            return [row[1] for row in connection.execute("PRAGMA table_info(users)")]
        finally:
            connection.close()

    def open(self, **options):
        return gameforge.Migrator(self.url, self.folder, **options)

    def test_up_back_and_again_with_events(self):
        with self.open() as migrator:
            self.assertEqual([step["migration"] for step in migrator.plan()["steps"]], ["001_users", "002_emails"])
            self.assertFalse(os.path.exists(self.path))
            events = []
            report = migrator.apply(on_event=events.append)
            self.assertEqual([step["done"] for step in report["steps"]], [True, True])
            self.assertEqual(self.columns(), ["id", "email"])
            self.assertEqual([e.text for e in events if e.type == "finished"], ["001_users", "002_emails"])
            self.assertEqual((events[-1].type, events[-1].status), ("ended", 0))
            states = [row["state"] for row in migrator.status()["migrations"]]
            self.assertEqual(states, ["applied", "applied"])
            self.assertEqual(migrator.diff(), [])
            self.assertEqual(migrator.diff(since_last_run=True), [])
            self.assertIn("CREATE TABLE", migrator.dump().upper())
            self.assertTrue(migrator.prove()["unchanged"])
            with self.assertRaises(gameforge.CallerError) as refused:
                migrator.rollback(1)
            self.assertIn("002_emails", refused.exception.message)
            migrator.rollback(1, cascade=True)
            self.assertEqual(self.columns(), [])
            migrator.apply(to=1)
            self.assertEqual(self.columns(), ["id"])
            migrator.apply()
            migrator.redo()
            migrator.rollback(steps=1)
            migrator.rollback(to=0)
            self.assertEqual(self.columns(), [])
            self.assertEqual(migrator.round_trip()["errors"], [])
        with self.assertRaises(ValueError):
            migrator.status()

    def test_a_failure_has_its_class_and_its_report(self):
        self.write("003_broken.sql", "-- gameforge: up\nCREATE TABLE c (x INTEGER);\nINSERT INTO nowhere VALUES (1);\n")
        with self.open() as migrator:
            with self.assertRaises(gameforge.GameForgeError) as refused:
                migrator.apply()
            failure = refused.exception.report["failure"]
            self.assertEqual((failure["file"], failure["line"], failure["statement_number"]), ("003_broken.sql", 3, 2))
            self.assertEqual(self.columns(), [])
            with self.assertRaises(ValueError):
                migrator.rollback()
        with self.assertRaises(gameforge.CallerError):
            gameforge.Migrator("mysql://x", self.folder)
        with self.assertRaises(ValueError):
            self.open(lock_wait=0)

    def test_files_of_the_host_variables_and_records(self):
        files = {
            "001_a.sql": "-- gameforge: variables: size\n-- gameforge: up\nCREATE TABLE a (x INTEGER DEFAULT ${size});\n",
            "002_b.sql": "-- gameforge: up\nCREATE TABLE b (x INTEGER);\n",
        }
        with gameforge.Migrator(self.url, files=files, variables={"size": "42"}, applied_by="a test") as migrator:
            self.assertEqual(migrator.validate()["errors"], [])
            migrator.apply(to=1)
            self.assertIn("42", migrator.dump())
            migrator.mark_applied(2, "by hand")
            rows = migrator.status()["migrations"]
            self.assertEqual([row["applied_by"] for row in rows], ["a test"] * 2)
            migrator.mark_unapplied(2, "it was not")
            migrator.apply()

    def test_polling_and_cancelling(self):
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        with self.open() as migrator:
            migrator.start_apply()
            until = time.monotonic() + PATIENCE_S
            seen = None
            while seen is None or seen.type != "waiting":
                self.assertLess(time.monotonic(), until)
                seen = migrator.poll()
            self.assertIn(str(os.getpid()), seen.text)
            self.assertFalse(migrator.done())
            migrator.cancel()
            self.assertTrue(migrator.done(PATIENCE_S))
            with self.assertRaises(gameforge.FlowError):
                migrator.result()
            connection.execute("ROLLBACK")
            connection.close()
            migrator.start_apply()
            self.assertTrue(migrator.done(PATIENCE_S))
            self.assertEqual(len(migrator.result()["steps"]), 2)

    def test_create_makes_the_next_file_and_one_alone(self):
        made = gameforge.create_migration(self.folder, "add prices")
        self.assertEqual(os.path.basename(made), "003_add_prices.sql")
        self.assertEqual(sorted(os.listdir(self.folder)), ["001_users.sql", "002_emails.sql", "003_add_prices.sql"])


def main():
    if not run_in_this_interpreter():
        return 77
    unittest.main(verbosity=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
