#!/usr/bin/env python3
"""Times GameForge's runner, Alembic and yoyo on SQLite as processes: COUNT small migrations from nothing, and with
nothing to do. Process start is included on every side; synchronous is SQLite's default, FULL.

Usage: migrate_rivals.py HOST [--count N] [--rounds N]      HOST is build/P/bin/gameforge_migrate_host
The rivals come from PyPI into build/bench-venv-migrate, pinned.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "build" / "bench-venv-migrate"
RIVALS = ["alembic==1.13.2", "yoyo-migrations==8.2.0"]


def venv() -> pathlib.Path:
    stamp = VENV / "rivals.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(RIVALS):
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        # yoyo still imports pkg_resources.
        subprocess.run([str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "setuptools<80", *RIVALS], check=True)
        stamp.write_text("\n".join(RIVALS))
    return VENV / "bin"


def statements(i: int) -> list[str]:
    return [f"CREATE TABLE item_{i} (id integer PRIMARY KEY, name text NOT NULL, created_us bigint)",
            f"CREATE INDEX item_{i}_name ON item_{i} (name)"]


def write_ours(folder: pathlib.Path, count: int) -> None:
    for i in range(1, count + 1):
        body = ";\n".join(statements(i))
        (folder / f"{i:05d}_table_{i}.sql").write_text(f"-- gameforge: up\n{body};\n-- gameforge: down\nDROP TABLE item_{i};\n")


def write_yoyo(folder: pathlib.Path, count: int) -> None:
    for i in range(1, count + 1):
        body = ";\n".join(statements(i))
        depends = f"-- depends: {i - 1:05d}_table\n" if i > 1 else ""
        (folder / f"{i:05d}_table.sql").write_text(f"{depends}{body};\n")
        (folder / f"{i:05d}_table.rollback.sql").write_text(f"DROP TABLE item_{i};\n")


def write_alembic(folder: pathlib.Path, count: int) -> None:
    versions = folder / "versions"
    versions.mkdir()
    (folder / "env.py").write_text(
        "from alembic import context\nfrom sqlalchemy import create_engine\n"
        "engine = create_engine(context.config.get_main_option('sqlalchemy.url'))\n"
        "with engine.connect() as connection:\n"
        "    context.configure(connection=connection, transaction_per_migration=True)\n"
        "    with context.begin_transaction():\n        context.run_migrations()\n")
    for i in range(1, count + 1):
        down = f"'{i - 1:05d}'" if i > 1 else "None"
        ups = "\n".join(f"    op.execute({text!r})" for text in statements(i))
        (versions / f"{i:05d}_table.py").write_text(
            f"from alembic import op\nrevision = '{i:05d}'\ndown_revision = {down}\n"
            f"def upgrade():\n{ups}\ndef downgrade():\n    op.execute('DROP TABLE item_{i}')\n")


def timed(command: list[str], where: pathlib.Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    host = str(pathlib.Path(arguments.host).resolve())
    bin_folder = venv()
    times: dict[str, dict[str, list[float]]] = {}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch)
            sides = {}
            for name, write in (("GameForge", write_ours), ("Alembic", write_alembic), ("yoyo", write_yoyo)):
                folder = root / name
                folder.mkdir()
                write(folder, arguments.count)
                database = root / f"{name}.db"
                if name == "GameForge":
                    command = [host, "run", f"sqlite:{database}", str(folder)]
                elif name == "Alembic":
                    (root / "alembic.ini").write_text(f"[alembic]\nscript_location = {folder}\nsqlalchemy.url = sqlite:///{database}\n")
                    command = [str(bin_folder / "alembic"), "-c", str(root / "alembic.ini"), "upgrade", "head"]
                else:
                    command = [str(bin_folder / "yoyo"), "apply", "--batch", "--no-config-file", "--database",
                               f"sqlite:///{database}", str(folder)]
                sides[name] = command
            # Else the first to wait for the disk would wait for the files just written too, of all sides.
            os.sync()
            for name, command in sides.items():
                figures = times.setdefault(name, {"from_nothing": [], "nothing_to_do": []})
                figures["from_nothing"].append(timed(command, root))
                figures["nothing_to_do"].append(statistics.median(timed(command, root) for _ in range(3)))
    ours = {key: statistics.median(values) for key, values in times["GameForge"].items()}
    print(f"{arguments.count} migrations on SQLite, {arguments.rounds} rounds, process start included; {', '.join(RIVALS)}\n")
    print("| | from nothing | beside GameForge | nothing to do | beside GameForge |")
    print("|---|---:|---:|---:|---:|")
    for name, figures in times.items():
        whole = statistics.median(figures["from_nothing"])
        idle = statistics.median(figures["nothing_to_do"])
        print(f"| {name} | {whole * 1e3:.0f} ms | {whole / ours['from_nothing']:.1f}x | {idle * 1e3:.1f} ms | {idle / ours['nothing_to_do']:.1f}x |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
