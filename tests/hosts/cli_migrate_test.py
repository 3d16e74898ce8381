"""gameforge migrate, as people and scripts use it, on SQLite and PostgreSQL; and the example of the README as it stands.

GAMEFORGE_POSTGRES_SERVER prints the URL of a fresh database for each line it is given.
"""

import json
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

COMMAND = os.environ["GAMEFORGE_COMMAND"]
SOURCE = Path(os.environ["GAMEFORGE_SOURCE"])
PATIENCE_S = 120

USERS = """-- gameforge: up
create table users (id int primary key, name text not null);
-- gameforge: down
drop table users;
"""
EMAILS = """-- gameforge: up
alter table users add column email text;
create index users_email on users (email);
-- gameforge: down
drop index users_email;
alter table users drop column email;
"""
ORDERS = """-- gameforge: up
create table orders (id int primary key, owner int references users (id));
-- gameforge: down
drop table orders;
"""


class Server:
    """The PostgreSQL server of these tests, started by the first who asks."""

    process = None

    @classmethod
    def fresh_url(cls):
        if cls.process is None:
            cls.process = subprocess.Popen([os.environ["GAMEFORGE_POSTGRES_SERVER"]], stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE, text=True)
        cls.process.stdin.write("\n")
        cls.process.stdin.flush()
        line = cls.process.stdout.readline().strip()
        if line.startswith("SKIP"):
            raise unittest.SkipTest(line)
        return line

    @classmethod
    def stop(cls):
        if cls.process is not None:
            cls.process.stdin.close()
            cls.process.wait(30)
            cls.process.stdout.close()
            cls.process = None


class Case(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        (self.folder / "migrations").mkdir()
        self.environment = {**os.environ, "DATABASE_URL": self.make_url()}

    def tearDown(self):
        self.temporary.cleanup()

    def make_url(self):
        return "sqlite:game.db"

    def write(self, name, text):
        (self.folder / "migrations" / name).write_text(text)

    def three(self):
        self.write("001_users.sql", USERS)
        self.write("002_emails.sql", EMAILS)
        self.write("003_orders.sql", ORDERS)

    def run_it(self, *arguments, environment=None):
        return subprocess.run([COMMAND, "migrate", *arguments], cwd=self.folder, capture_output=True, text=True,
                              timeout=PATIENCE_S, stdin=subprocess.DEVNULL, env=environment or self.environment)

    def good(self, *arguments):
        ended = self.run_it(*arguments)
        self.assertEqual(ended.returncode, 0, ended)
        return ended.stdout

    def good_json(self, *arguments):
        text = self.good(*arguments, "--json")
        self.assertEqual(text.count("\n"), 1, text)
        return json.loads(text)

    def bad(self, code, *arguments, says=()):
        ended = self.run_it(*arguments)
        self.assertEqual(ended.returncode, code, ended)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, ended.stderr)
        self.assertNotIn("terminate called", ended.stderr)
        return ended

    def applied(self):
        rows = json.loads(self.run_it("status", "--json").stdout)["migrations"]
        return [row["migration"] for row in rows if row["state"] == "applied"]


class OnBoth:
    """The same on either database; the classes below say which."""

    def test_up_and_down(self):
        self.three()
        self.assertIn("001_users up (pending)", self.good("run", "--dry-run"))
        self.assertEqual(self.applied(), [])
        self.assertIn("done: 2 of 2", self.good("run", "--to", "002"))
        self.assertEqual(self.applied(), ["001_users", "002_emails"])
        report = self.good_json("run")
        self.assertEqual([(s["migration"], s["done"]) for s in report["steps"]], [("003_orders", True)])
        self.assertIn("nothing to do", self.good("run"))

        self.bad(1, "rollback", "001", says=["002_emails", "003_orders"])
        self.bad(1, "rollback", "7", says="7")
        self.assertIn("loses table orders", self.good("rollback", "003"))
        self.assertEqual(self.applied(), ["001_users", "002_emails"])
        self.good("redo")
        self.good("run")
        self.good("rollback", "--steps", "2")
        self.assertEqual(self.applied(), ["001_users"])
        self.good("run")
        self.good("rollback", "--to", "1", "--json")
        self.assertEqual(self.applied(), ["001_users"])
        self.good("run")
        self.good("rollback", "1", "--cascade")
        self.assertEqual(self.applied(), [])

    def test_a_version_is_decimal(self):
        for number in range(1, 12):
            self.write(f"{number:03}_t{number}.sql", f"-- gameforge: up\ncreate table t{number} (id int);\n"
                                                     f"-- gameforge: down\ndrop table t{number};\n")
        self.good("run", "--to", "010")
        self.assertEqual(len(self.applied()), 10)
        self.good("rollback", "010")
        self.assertEqual(len(self.applied()), 9)

    def test_a_proof_changes_nothing(self):
        self.three()
        self.good("run", "--to", "1")
        before = self.good("dump")
        text = self.good("run", "--dry-run", "--prove")
        for part in ("alter table users add column email text;", "locks ", "of the whole plan", "it works"):
            self.assertIn(part, text)
        self.assertNotIn("done:", text)
        self.assertNotIn("002_emails up, ", text)  # As a run tells what it has applied.
        proof = self.good_json("run", "--dry-run", "--prove=in-place")
        self.assertTrue(proof["unchanged"])
        self.assertEqual([s["done"] for s in proof["steps"]], [True, True])
        self.assertGreaterEqual(len(proof["changes"]), 3)
        self.assertEqual(self.good("dump"), before)
        self.assertEqual(self.applied(), ["001_users"])
        self.bad(1, "run", "--dry-run", "--prove=sideways", says="sideways")

    def test_status_tells_and_counts(self):
        self.three()
        self.good("run", "--to", "2")
        text = self.good("status")
        self.assertRegex(text, r"001_users\s+applied\s+20\d\d-")
        self.assertRegex(text, r"003_orders\s+pending")
        self.assertIn("1 pending, 0 problems", text)
        status = self.good_json("status")
        self.assertEqual((status["highest_applied"], status["pending"]), (2, 1))
        self.write("002_emails.sql", EMAILS + "select 1;\n")
        ended = self.run_it("status")
        self.assertEqual(ended.returncode, 4, ended)
        self.assertRegex(ended.stdout, r"002_emails\s+changed")

    def test_what_fails_says_where_and_under_json_too(self):
        self.write("001_users.sql", USERS)
        self.write("002_broken.sql", "-- gameforge: up\ncreate table more (id int);\n\ncreate tabel x (id int);\n")
        self.bad(4, "run", says=["002_broken.sql:4:", "statement 2", "nothing was applied"])
        failure = json.loads(self.run_it("run", "--json").stdout)["report"]["failure"]
        self.assertEqual((failure["migration"], failure["line"], failure["statement_number"], failure["statement"]),
                         ("002_broken", 4, 2, "create tabel x (id int)"))
        self.assertIn("nothing was applied", failure["advice"])
        self.write("002_broken.sql", "-- gameforge: up\ncreate table more (id int);\ninsert into more values ('a', 2);\n")
        ended = self.run_it("run", "--json", "--no-checks")
        self.assertEqual(ended.stdout.count("\n"), 1, ended)
        line = json.loads(ended.stdout)
        self.assertEqual(ended.returncode, line["error"]["status"] // 100)
        self.assertEqual(line["report"]["failure"]["file"], "002_broken.sql")
        self.assertEqual(line["report"]["failure"]["line"], 3)
        self.assertEqual(line["report"]["failure"]["statement_number"], 2)
        self.assertEqual(self.applied(), ["001_users"])

    def test_validate_round_trip_baseline_repair_dump_diff(self):
        self.three()
        self.assertIn("3 migrations checked: 0 problems", self.good("validate"))
        self.assertIn("3 migrations checked: 0 problems", self.good("validate", "--round-trip"))
        self.good("run")
        self.assertIn("no difference", self.good("diff"))
        script = self.good("dump")
        self.assertIn("users_email", script)
        self.good("dump", "--out", "schema.sql")
        self.assertEqual((self.folder / "schema.sql").read_text(), script)

        self.write("003_orders.sql", ORDERS + "select 1;\n")
        self.bad(4, "run", says="003_orders")
        self.good("repair", "--accept-edit", "3", "--reason", "the down part only")
        self.assertIn("nothing to do", self.good("run"))
        self.good("repair", "--mark-unapplied", "003")
        self.assertEqual(self.applied(), ["001_users", "002_emails"])
        self.assertEqual(self.run_it("diff").returncode, 4)
        self.good("repair", "--mark-applied", "3")
        self.assertIn("no difference", self.good("diff", "--since-last-run"))
        self.write("001_users.sql", USERS.replace("drop table users", "drop table if exists userz"))
        self.assertEqual(self.run_it("validate", "--round-trip", "--json").returncode, 4)

    def test_a_baseline_takes_a_database_as_it_is(self):
        self.three()
        self.write("004_more.sql", "-- gameforge: up\ncreate table more (id int);\n")
        self.assertIn("003_orders: baseline", self.good("baseline", "3"))
        self.bad(1, "baseline", "3", says="001_users")
        self.assertIn("done: 1 of 1", self.good("run"))

    def test_late_files_and_all_or_nothing(self):
        self.write("001_users.sql", USERS)
        self.write("003_orders.sql", ORDERS)
        self.good("run")
        self.write("002_emails.sql", EMAILS)
        self.bad(1, "run", says="002_emails")
        self.good("run", "--allow-out-of-order")
        self.write("004_a.sql", "-- gameforge: up\ncreate table a (id int);\n")
        self.write("005_b.sql", "-- gameforge: up\ninsert into a values (1, 2, 3, 4);\n")
        self.assertNotEqual(self.run_it("run", "--all-or-nothing", "--no-checks").returncode, 0)
        self.assertEqual(self.applied(), ["001_users", "002_emails", "003_orders"])

    def test_variables(self):
        self.write("001_users.sql", "-- gameforge: variables: name\n-- gameforge: up\ncreate table ${name} (id int);\n")
        self.bad(1, "run", says="name")
        self.good("run", "--var", "name=players")
        self.assertIn("players", self.good("dump", "--var", "name=players"))
        self.bad(1, "run", "--var", "name", says="NAME=VALUE")

    def at_a_terminal(self, answer, *arguments):
        """The command with a terminal as its standard input; its exit code and what it said."""
        controller, terminal = pty.openpty()
        process = subprocess.Popen([COMMAND, "migrate", *arguments], cwd=self.folder, env=self.environment,
                                   stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        os.close(terminal)
        if answer is not None:
            os.write(controller, answer.encode() + b"\n")
        said, _ = process.communicate(timeout=PATIENCE_S)
        os.close(controller)
        return process.returncode, said

    def test_losing_data_is_asked_about_at_a_terminal_alone(self):
        self.three()
        self.good("run")
        code, said = self.at_a_terminal("n", "rollback", "3")
        self.assertEqual(code, 2, said)
        self.assertIn("loses table orders", said)
        self.assertIn("Go on?", said)
        self.assertEqual(len(self.applied()), 3)
        code, said = self.at_a_terminal("y", "rollback", "3")
        self.assertEqual(code, 0, said)
        self.assertEqual(len(self.applied()), 2)
        code, said = self.at_a_terminal(None, "rollback", "2", "--yes")
        self.assertEqual(code, 0, said)
        self.assertNotIn("Go on?", said)
        self.good("rollback", "1")  # Standard input is no terminal.
        self.assertEqual(self.applied(), [])

    def test_the_readme_works_as_it_stands(self):
        readme = (SOURCE / "README.md").read_text()
        section = readme[readme.index("## Migrations"):]
        section = section[: section.index("\n## ", 4)]
        script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
        self.assertIn("gameforge migrate run", script)
        (self.folder / "migrations").rmdir()
        path = os.path.dirname(COMMAND) + os.pathsep + os.environ["PATH"]
        ended = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=self.folder, capture_output=True, text=True,
                               timeout=PATIENCE_S, stdin=subprocess.DEVNULL, env={**self.environment, "PATH": path})
        self.assertEqual(ended.returncode, 0, ended)
        self.assertIn("it works", ended.stdout)
        self.assertRegex(ended.stdout, r"001_add_users\s+applied")


class Sqlite(OnBoth, Case):
    def test_the_database_is_db_or_the_environment(self):
        self.three()
        self.good("run")
        self.assertTrue((self.folder / "game.db").exists())
        self.good("run", "--db", "sqlite:other.db")
        self.assertTrue((self.folder / "other.db").exists())
        del self.environment["DATABASE_URL"]
        self.bad(1, "run", says=["--db", "DATABASE_URL"])
        self.assertIn("3 migrations checked", self.good("validate"))

    def test_create_makes_the_next_file(self):
        self.three()
        self.assertEqual(self.good("create", "add user preferences").strip(), "migrations/004_add_user_preferences.sql")
        self.assertEqual(self.good_json("create", "More")["file"], "migrations/005_more.sql")
        self.bad(1, "create", "more", says="more")
        self.bad(1, "create", "x", "--dir", "nowhere", says="nowhere")

    def test_a_file_of_sums_sees_what_came_in_without_it(self):
        self.three()
        sums = self.folder / "migrations" / "gameforge.sum"
        self.good("validate")
        self.assertFalse(sums.exists())
        self.good("validate", "--write-sums")
        self.assertEqual(len(sums.read_text().splitlines()), 4)
        made = self.good("create", "one more").strip()
        self.good("validate")
        self.write("099_stray.sql", "-- gameforge: up\nCREATE TABLE stray (x INTEGER);\n")
        with open(self.folder / made, "a", encoding="utf-8") as file:
            file.write("DROP TABLE users;\n")
        ended = self.run_it("validate", "--json")
        self.assertEqual(ended.returncode, 4, ended)
        told = [error["message"] for error in json.loads(ended.stdout)["errors"]]
        self.assertEqual([text.split(":")[0] for text in told], ["004_one_more.sql", "099_stray.sql"])
        self.good("validate", "--write-sums")
        self.good("validate")
        self.bad(1, "validate", "--write-sums", "--round-trip", says="--write-sums")

    def test_another_dir(self):
        (self.folder / "schema").mkdir()
        (self.folder / "schema" / "001_users.sql").write_text(USERS)
        self.good("run", "--dir", "schema")
        self.bad(1, "run", "--dir", "nowhere", says="nowhere")

    def test_a_database_that_another_writes_is_waited_for_and_the_wait_ends(self):
        self.three()
        self.good("run", "--to", "1")
        other = sqlite3.connect(self.folder / "game.db", isolation_level=None)
        other.execute("begin immediate")
        ended = self.bad(5, "run", "--lock-wait", "0.2", says="locked")
        self.assertIn("waiting for", ended.stderr)
        # Ctrl-C while it waits: nothing is applied, and it is group 2.
        process = subprocess.Popen([COMMAND, "migrate", "run"], cwd=self.folder, env=self.environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        readable, _, _ = select.select([process.stderr], [], [], PATIENCE_S)
        self.assertTrue(readable)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 2, said)
        other.execute("rollback")
        other.close()
        self.assertEqual(self.applied(), ["001_users"])
        self.good("run")


class Postgres(OnBoth, Case):
    def make_url(self):
        return Server.fresh_url()

    def test_no_password_is_printed(self):
        self.three()
        host = self.environment["DATABASE_URL"].split("?host=")[1]
        name = self.environment["DATABASE_URL"].split("@/")[1].split("?")[0]
        secret = "hunter2secret"
        wrong = f"postgresql://locked:{secret}@/{name}?host={host}"
        for arguments in (["run"], ["status"], ["status", "--json"], ["validate"], ["dump"], ["run", "--dry-run"]):
            with self.subTest(arguments=arguments):
                ended = self.run_it(*arguments, "--db", wrong)
                self.assertEqual(ended.returncode, 1, ended)
                self.assertNotIn(secret, ended.stdout + ended.stderr)
                self.environment["DATABASE_URL"] = wrong
                ended = self.run_it(*arguments)
                self.assertEqual(ended.returncode, 1, ended)
                self.assertNotIn(secret, ended.stdout + ended.stderr)
        for arguments in (["status", wrong], ["run", "--tpyo", wrong], ["--db", wrong], ["run", "--to", wrong],
                          ["run", "--db", f"mysql://u:{secret}@h/x"], ["run", "--db", f"postgresql:/u:{secret}@h/x"]):
            with self.subTest(arguments=arguments):
                ended = self.run_it(*arguments)
                self.assertEqual(ended.returncode, 1, ended)
                self.assertNotIn(secret, ended.stdout + ended.stderr)
        right = self.good("status", "--db", f"postgresql://locked:right@/{name}?host={host}")
        self.assertNotIn("right", right)
        self.assertIn("***", right)

    def test_a_url_that_cannot_be_read_is_group_1_and_its_password_is_not_told(self):
        for url in ("postgresql://u:hunter2@[bad/d", "postgresql://u:hunter2@h:99999/d", "postgresql://u:hun%zzter2@h/d",
                    "postgresql://u:hunter2@h/d?nosuch=1", "postgresql://u:hun/ter2@h/d", "postgresql://u@h/d?password=hunter2&x"):
            with self.subTest(url=url):
                ended = self.bad(1, "status", "--db", url, says="cannot be read")
                self.assertNotIn("ter2", ended.stdout + ended.stderr)

    def test_a_server_that_is_not_there_is_group_5(self):
        self.three()
        self.bad(5, "run", "--db", "postgresql://postgres@/x?host=/nowhere/at/all", says="/nowhere/at/all")


if __name__ == "__main__":
    try:
        program = unittest.main(exit=False)
    finally:
        Server.stop()
    sys.exit(not program.result.wasSuccessful())
