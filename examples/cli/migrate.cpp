// gameforge migrate: brings a database's schema to where the files say, and back.
#include "commands.hpp"
#include "host.hpp"
#include "progress.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <memory>
#include <string_view>
#include <system_error>

#include <unistd.h>

namespace command {
namespace {

constexpr std::int64_t look_around_us = 50'000;  // How late an event is shown, and Ctrl-C noticed.
constexpr std::int64_t close_timeout_us = 10'000'000;

/// A version as people write it: "3" and "003" are the same. Not the parser's own numbers, for which 010 is 8.
std::int64_t version_of(const std::string& text, std::int64_t smallest = 1) {
  std::int64_t version = 0;
  const auto* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, version);
  if (text.empty() || stop != end || error != std::errc() || version < smallest) {
    throw wrong(fmt::format("the version is \"{}\"; it must be a number of at least {}", text, smallest));
  }
  return version;
}

/// Seconds, with a fraction, as microseconds; 0 where none were given.
std::int64_t microseconds_of(const std::optional<double>& seconds, const char* option) {
  if (!seconds) return 0;
  if (!(*seconds > 0) || *seconds > 1e9) {
    throw wrong(fmt::format("--{} is {} seconds; it must be more than 0 and at most 1e9", option, *seconds));
  }
  return static_cast<std::int64_t>(*seconds * 1e6 + 0.5);
}

std::string milliseconds(std::int64_t duration_us) {
  return fmt::format("{:.1f} ms", static_cast<double>(duration_us) / 1000);
}

/// What every subcommand has.
struct Choice {
  std::string db;
  std::string dir = "migrations";
  std::vector<std::string> variables;
  std::optional<double> lock_wait_s;
  std::optional<double> lock_timeout_s;
  std::optional<double> statement_timeout_s;
  bool allow_out_of_order = false;
  bool all_or_nothing = false;
  bool no_checks = false;

  void add_to(CLI::App& app, Chosen& chosen) {
    app.add_option("--db", db, "The database: sqlite:PATH or postgresql://...; DATABASE_URL if it is not given")
        ->type_name("URL");
    app.add_option("--dir", dir, "The folder of the migrations")->capture_default_str()->type_name("DIR");
    app.add_option("--var", variables, "A value for ${name}, in files that declare it; may be given again")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
    app.add_flag("--json", chosen.json, "One JSON object on one line");
  }

  void add_running_to(CLI::App& app) {
    app.add_option("--lock-wait", lock_wait_s, "How long another runner is waited for while nothing moves; 60")
        ->type_name("SECONDS");
    app.add_option("--lock-timeout", lock_timeout_s, "How long a statement waits for a table; 3")->type_name("SECONDS");
    app.add_option("--statement-timeout", statement_timeout_s, "How long a statement may take; without limit")
        ->type_name("SECONDS");
  }
};

/// The plan's or the run's options.
struct Running {
  std::string to;
  std::string version;
  std::optional<std::uint32_t> steps;
  bool cascade = false;
  bool yes = false;
  bool dry_run = false;
  std::string prove;  // "" not at all, "copy", "in-place".

  void add_dry_run_to(CLI::App& app) {
    app.add_flag("--dry-run", dry_run, "Print the plan and its SQL; nothing is written");
    app.add_option("--prove", prove,
                   "With --dry-run: try it on a scratch copy and tell times, locks and changes; or =in-place,\n"
                   "in a transaction that is rolled back (sequences may move)")
        ->expected(0, 1)
        ->default_str("copy")
        ->type_name("[=in-place]");
  }

  bool in_place() const {
    if (prove.empty() || prove == "copy") return false;
    if (prove == "in-place") return true;
    throw wrong(fmt::format("--prove is \"{}\"; it stands alone, or is in-place", prove));
  }
};

class Migrator {
 public:
  Migrator(const Choice& choice, bool json, bool needs_database) : json_(json) {
    std::string url = choice.db;
    if (url.empty()) {
      if (const char* given = std::getenv("DATABASE_URL")) url = given;
    }
    if (url.empty() && needs_database) {
      throw wrong("no database was named; give --db URL, or set DATABASE_URL");
    }
    std::vector<std::string> names;
    std::vector<std::string> values;
    for (const auto& variable : choice.variables) {
      const auto equals = variable.find('=');
      if (equals == std::string::npos || equals == 0) {
        throw wrong(fmt::format("--var is \"{}\"; it must be NAME=VALUE", variable));
      }
      names.push_back(variable.substr(0, equals));
      values.push_back(variable.substr(equals + 1));
    }
    std::vector<const char*> name_texts;
    std::vector<const char*> value_texts;
    for (const auto& name : names) name_texts.push_back(name.c_str());
    for (const auto& value : values) value_texts.push_back(value.c_str());

    gf_migrator_options options = GF_MIGRATOR_OPTIONS_INIT;
    if (!url.empty()) options.url = url.c_str();
    options.folder = choice.dir.c_str();
    options.variable_names = name_texts.data();
    options.variable_values = value_texts.data();
    options.variable_count = static_cast<std::uint32_t>(names.size());
    if (choice.allow_out_of_order) options.flags |= GF_MIGRATOR_ALLOW_OUT_OF_ORDER;
    if (choice.all_or_nothing) options.flags |= GF_MIGRATOR_ALL_OR_NOTHING;
    if (choice.no_checks) options.flags |= GF_MIGRATOR_NO_CHECKS;
    options.lock_wait_us = microseconds_of(choice.lock_wait_s, "lock-wait");
    options.lock_timeout_us = microseconds_of(choice.lock_timeout_s, "lock-timeout");
    options.statement_timeout_us = microseconds_of(choice.statement_timeout_s, "statement-timeout");
    check(gf_migrator_open(&options, &migrator_));
  }
  Migrator(const Migrator&) = delete;
  Migrator& operator=(const Migrator&) = delete;
  ~Migrator() { gf_migrator_close(migrator_, close_timeout_us); }

  gf_migrator* get() const { return migrator_; }
  const gf_migrator_info& info() const { return info_; }

  /// Shows what a work that was started does, and gives its report. Throws why it could not be carried out.
  Json end(gf_status started) {
    check(started);
    Progress progress;
    std::string waited_for;
    bool asked = false;
    for (bool over = false; !over;) {
      gf_migrator_info fresh = GF_MIGRATOR_INFO_INIT;
      info_ = fresh;
      const auto status = gf_migrator_wait(migrator_, look_around_us, &info_);
      if (status != GF_ERR_TIMED_OUT) check(status);
      over = status == GF_OK;
      if (interrupted() && !asked) {
        asked = true;
        check(gf_migrator_cancel(migrator_));
      }
      show_events(progress, waited_for);
    }
    progress.clear();
    auto report = json_of([this](char* b, std::uint64_t* s) { return gf_migrator_report_json(migrator_, b, s); });
    if (info_.status == GF_OK) return report;
    const auto error = json_of([this](char* b, std::uint64_t* s) { return gf_migrator_error_json(migrator_, b, s); });
    throw Failure{info_.status, error.value("message", std::string()), Json{{"report", std::move(report)}}};
  }

 private:
  void show_events(Progress& progress, std::string& waited_for) {
    for (;;) {
      gf_migration_event event = GF_MIGRATION_EVENT_INIT;
      std::uint64_t size = 0;
      auto status = gf_migrator_poll(migrator_, &event, nullptr, &size);
      std::string text;
      while (status == GF_OK || status == GF_ERR_BUFFER_TOO_SMALL) {
        text.resize(size);
        status = gf_migrator_poll(migrator_, &event, text.data(), &size);
        if (status == GF_OK) break;
      }
      if (status == GF_ERR_WOULD_BLOCK) return;
      check(status);
      text.resize(size - 1);
      const char* const way = event.direction == GF_MIGRATION_DOWN ? "down" : "up";
      switch (event.type) {
        case GF_MIGRATION_EVENT_WAITING:
          // Told once, and again for another owner.
          if (text == waited_for) break;
          waited_for = text;
          progress.clear();
          (void)std::fprintf(stderr, "waiting for %s\n", text.c_str());
          break;
        case GF_MIGRATION_EVENT_RETRYING:
          progress.clear();
          (void)std::fprintf(stderr, "%s\n", text.c_str());
          break;
        case GF_MIGRATION_EVENT_CHECKING:
          progress.say("checking");
          break;
        case GF_MIGRATION_EVENT_STARTED:
          progress.say(fmt::format("{} {}", text, way));
          break;
        case GF_MIGRATION_EVENT_STATEMENT:
          progress.say(fmt::format("{} {}, statement {} of {}", text, way, event.statement, event.statement_count));
          break;
        case GF_MIGRATION_EVENT_FINISHED:
          progress.clear();
          // Of a proof the report tells; here it would look applied.
          if (!json_ && info_.work == GF_MIGRATOR_WORK_APPLY) {
            std::printf("%s %s, %s\n", text.c_str(), way, milliseconds(event.elapsed_us).c_str());
          }
          break;
        default:
          break;  // The end is told by the work's status.
      }
    }
  }

  bool json_;
  gf_migrator* migrator_ = nullptr;
  gf_migrator_info info_ = GF_MIGRATOR_INFO_INIT;
};

void print_differences(const Json& differences, const char* margin) {
  for (const auto& one : differences) {
    const auto text = [&](const char* side) {
      const auto value = one.value(side, std::string());
      return value.empty() ? std::string("not there") : value;
    };
    std::printf("%s%s %s: %s -> %s\n", margin, one.value("kind", "").c_str(), one.value("name", "").c_str(),
                text("expected").c_str(), text("found").c_str());
  }
}

void print_plan(const Json& report, bool with_sql) {
  for (const auto& step : report.at("steps")) {
    std::printf("%s %s (%s)%s\n", step.value("migration", "").c_str(), step.value("direction", "").c_str(),
                step.value("reason", "").c_str(), step.value("transaction", true) ? "" : ", outside a transaction");
    if (with_sql) {
      for (const auto& statement : step.at("statements")) {
        auto text = statement.get<std::string>();
        for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1))
          text.insert(at + 1, "    ");
        std::printf("    %s;\n", text.c_str());
      }
    }
    for (const auto& drop : step.at("drops")) std::printf("  loses %s\n", drop.get<std::string>().c_str());
    for (const auto& warning : step.at("warnings")) {
      std::printf("  warning: %s\n", warning.value("message", "").c_str());
    }
  }
  for (const auto& warning : report.at("warnings")) std::printf("warning: %s\n", warning.get<std::string>().c_str());
}

void print_proof(const Json& report) {
  for (const auto& step : report.at("steps")) {
    std::printf("%s %s: %s\n", step.value("migration", "").c_str(), step.value("direction", "").c_str(),
                milliseconds(step.value("duration_us", std::int64_t{0})).c_str());
    for (const auto& lock : step.at("locks")) std::printf("  locks %s\n", lock.get<std::string>().c_str());
    print_differences(step.at("changes"), "  ");
  }
  const auto& changes = report.at("changes");
  std::printf("of the whole plan, %zu objects change\n", changes.size());
  for (const auto& warning : report.at("warnings")) std::printf("warning: %s\n", warning.get<std::string>().c_str());
  if (report.value("unchanged", false)) std::printf("it works; the database is what it was, checked by fingerprint\n");
}

/// At a terminal, losing data is asked about. A script is not asked, and goes on.
void ask_before_losing_data(const Json& plan) {
  if (::isatty(STDIN_FILENO) != 1) return;
  for (const auto& step : plan.at("steps")) {
    if (step.at("drops").empty()) continue;
    (void)std::fprintf(stderr, "This loses data. Go on? [y/N] ");
    std::string answer;
    std::getline(std::cin, answer);
    if (answer == "y" || answer == "Y" || answer == "yes") return;
    throw Failure{GF_ERR_CANCELLED, "nothing was undone"};
  }
}

/// Plan, proof or run, as it was asked.
void go(const Choice& choice, const Running& running, const gf_migration_goal& goal, bool plan_first, bool json) {
  const bool in_place = running.in_place();
  if (!running.prove.empty() && !running.dry_run) throw wrong("--prove stands beside --dry-run");
  Migrator migrator(choice, json, true);
  if (running.dry_run) {
    auto plan = migrator.end(gf_migrator_plan(migrator.get(), &goal));
    if (running.prove.empty()) {
      if (json) return print_json(plan);
      print_plan(plan, true);
      if (migrator.info().step_count == 0) std::printf("nothing to do\n");
      return;
    }
    if (!json) print_plan(plan, true);
    const auto proof = migrator.end(gf_migrator_prove(migrator.get(), &goal, in_place ? 1 : 0));
    if (json) return print_json(proof);
    return print_proof(proof);
  }
  if (plan_first) {
    const auto plan = migrator.end(gf_migrator_plan(migrator.get(), &goal));
    if (!json) print_plan(plan, false);
    if (!running.yes) ask_before_losing_data(plan);
  }
  const auto report = migrator.end(gf_migrator_apply(migrator.get(), &goal));
  if (json) return print_json(report);
  for (const auto& warning : report.at("warnings")) std::printf("warning: %s\n", warning.get<std::string>().c_str());
  if (migrator.info().step_count == 0) {
    std::printf("nothing to do\n");
  } else {
    std::printf("done: %u of %u, in %s\n", migrator.info().done_count, migrator.info().step_count,
                milliseconds(migrator.info().apply_us).c_str());
  }
}

void add_run(CLI::App& migrate, Chosen& chosen) {
  auto* app = migrate.add_subcommand("run", "Applies what is pending");
  auto choice = std::make_shared<Choice>();
  auto running = std::make_shared<Running>();
  choice->add_to(*app, chosen);
  app->add_option("--to", running->to, "Go up to this version, and no further")->type_name("V");
  running->add_dry_run_to(*app);
  app->add_flag("--allow-out-of-order", choice->allow_out_of_order,
                "Run files behind the newest applied version too; they are recorded as they really ran");
  app->add_flag("--all-or-nothing", choice->all_or_nothing, "All of it in one transaction");
  app->add_flag("--no-checks", choice->no_checks, "SQLite: do not compile every statement before anything is applied");
  choice->add_running_to(*app);
  app->footer(
      "Each migration is applied in a transaction of its own together with its record, or not at all; one that says\n"
      "`transaction: off` goes on behind its last good statement when it is run again.\n"
      "\n"
      "Examples:\n"
      "  gameforge migrate run --db sqlite:game.db\n"
      "  gameforge migrate run --db sqlite:game.db --dry-run --prove\n"
      "  DATABASE_URL=postgresql://localhost/game gameforge migrate run --to 7 --json");
  on_chosen(*app, chosen, [&chosen, choice, running] {
    gf_migration_goal goal = GF_MIGRATION_GOAL_INIT;
    if (!running->to.empty()) goal.version = version_of(running->to);
    go(*choice, *running, goal, false, chosen.json);
  });
}

void add_rollback(CLI::App& migrate, Chosen& chosen) {
  auto* app = migrate.add_subcommand("rollback", "Undoes migrations");
  auto choice = std::make_shared<Choice>();
  auto running = std::make_shared<Running>();
  auto* version = app->add_option("version", running->version, "Undo this one")->type_name("V");
  choice->add_to(*app, chosen);
  auto* to =
      app->add_option("--to", running->to, "Undo what was applied after this version, which stays; 0: everything")
          ->type_name("V");
  auto* steps = app->add_option("--steps", running->steps, "Undo the last N")->type_name("N");
  version->excludes(to)->excludes(steps);
  to->excludes(steps);
  app->add_flag("--cascade", running->cascade, "Undo first what depends on it, in the reverse of the applied order");
  app->add_flag("--yes", running->yes, "Do not ask at a terminal before data is lost");
  running->add_dry_run_to(*app);
  choice->add_running_to(*app);
  app->footer(
      "What was applied later counts as depending on a migration, unless its file says `depends`; then the rollback "
      "is\n"
      "refused with the names. The plan is printed first, and at a terminal losing data is asked about.\n"
      "\n"
      "Examples:\n"
      "  gameforge migrate rollback 003 --db sqlite:game.db\n"
      "  gameforge migrate rollback --to 2 --yes\n"
      "  gameforge migrate rollback --steps 1 --dry-run");
  on_chosen(*app, chosen, [&chosen, choice, running] {
    gf_migration_goal goal = GF_MIGRATION_GOAL_INIT;
    if (!running->version.empty()) {
      goal.kind = GF_MIGRATION_GOAL_ROLLBACK;
      goal.version = version_of(running->version);
    } else if (!running->to.empty()) {
      goal.kind = GF_MIGRATION_GOAL_ROLLBACK_TO;
      goal.version = version_of(running->to, 0);
    } else if (running->steps) {
      goal.kind = GF_MIGRATION_GOAL_ROLLBACK_STEPS;
      goal.steps = given_or_default(running->steps, "steps", std::numeric_limits<std::uint32_t>::max());
    } else {
      throw wrong("a rollback needs to know how far: a version, --to V or --steps N");
    }
    goal.cascade = running->cascade ? 1 : 0;
    go(*choice, *running, goal, true, chosen.json);
  });
}

void add_redo(CLI::App& migrate, Chosen& chosen) {
  auto* app = migrate.add_subcommand("redo", "Undoes one migration and applies it again");
  auto choice = std::make_shared<Choice>();
  auto running = std::make_shared<Running>();
  app->add_option("version", running->version, "This one; the last applied if it is not given")->type_name("V");
  choice->add_to(*app, chosen);
  app->add_flag("--cascade", running->cascade, "What depends on it too");
  app->add_flag("--yes", running->yes, "Do not ask at a terminal before data is lost");
  running->add_dry_run_to(*app);
  choice->add_running_to(*app);
  app->footer(
      "Examples:\n"
      "  gameforge migrate redo --db sqlite:game.db\n"
      "  gameforge migrate redo 003 --cascade --yes");
  on_chosen(*app, chosen, [&chosen, choice, running] {
    gf_migration_goal goal = GF_MIGRATION_GOAL_INIT;
    goal.kind = GF_MIGRATION_GOAL_REDO;
    if (!running->version.empty()) goal.version = version_of(running->version);
    goal.cascade = running->cascade ? 1 : 0;
    go(*choice, *running, goal, true, chosen.json);
  });
}

void add_status(CLI::App& migrate, Chosen& chosen) {
  auto* app = migrate.add_subcommand("status", "Lists the migrations and how each stands");
  auto choice = std::make_shared<Choice>();
  choice->add_to(*app, chosen);
  app->footer(
      "Ends with 0 when records and files agree, pending ones or not; else with the group of the first problem.\n"
      "\n"
      "Examples:\n"
      "  gameforge migrate status --db sqlite:game.db\n"
      "  gameforge migrate status --json | jq .pending");
  on_chosen(*app, chosen, [&chosen, choice] {
    Migrator migrator(*choice, chosen.json, true);
    const auto report = migrator.end(gf_migrator_status(migrator.get()));
    const auto& info = migrator.info();
    chosen.exit_code = group_of(info.problem_status);
    if (chosen.json) return print_json(report);
    std::printf("%s\n", report.value("database", "").c_str());
    std::size_t width = 9;
    for (const auto& row : report.at("migrations")) width = std::max(width, row.value("migration", "").size());
    for (const auto& row : report.at("migrations")) {
      auto line = fmt::format("{:<{}}  {:<10}  {}", row.value("migration", ""), width, row.value("state", ""),
                              row.value("applied_at", ""));
      if (!row.value("applied_by", "").empty()) line += "  " + row.value("applied_by", "");
      if (row.value("origin", "run") != "run" && !row.value("origin", "").empty()) {
        line += fmt::format(" ({})", row.value("origin", ""));
      }
      if (!row.value("detail", "").empty()) line += "  " + row.value("detail", "");
      while (!line.empty() && line.back() == ' ') line.pop_back();
      std::printf("%s\n", line.c_str());
    }
    std::printf("%u pending, %u problems\n", info.pending_count, info.problem_count);
  });
}

void add_validate(CLI::App& migrate, Chosen& chosen) {
  auto* app = migrate.add_subcommand("validate", "Checks the files, and with a database what it has of them");
  auto choice = std::make_shared<Choice>();
  auto round_trip = std::make_shared<bool>(false);
  auto write_sums = std::make_shared<bool>(false);
  choice->add_to(*app, chosen);
  auto* trip = app->add_flag("--round-trip", *round_trip, "Run every migration up, down and up on a scratch database");
  app->add_flag("--write-sums", *write_sums,
                "Write gameforge.sum into the folder: from then on a file that is put in, taken out or edited without\n"
                "this option is an error, and two branches that both add one meet in a merge conflict")
      ->excludes(trip);
  app->footer(
      "Ends with 0, or with the group of the first thing that is wrong; warnings do not count.\n"
      "\n"
      "Examples:\n"
      "  gameforge migrate validate --dir migrations\n"
      "  gameforge migrate validate --dir migrations --write-sums\n"
      "  gameforge migrate validate --db sqlite:game.db --round-trip");
  on_chosen(*app, chosen, [&chosen, choice, round_trip, write_sums] {
    Migrator migrator(*choice, chosen.json, false);
    if (*write_sums) {
      // The library fills an empty one in.
      const auto path = choice->dir + "/gameforge.sum";
      if (!std::ofstream(path, std::ios::binary | std::ios::trunc)) {
        throw Failure{GF_ERR_IO, fmt::format("{} could not be written", path)};
      }
    }
    const auto report =
        migrator.end(*round_trip ? gf_migrator_round_trip(migrator.get()) : gf_migrator_validate(migrator.get()));
    chosen.exit_code = group_of(migrator.info().problem_status);
    if (chosen.json) return print_json(report);
    for (const auto& error : report.at("errors")) std::printf("error: %s\n", error.value("message", "").c_str());
    if (!report.at("drift").empty()) std::printf("the schema has drifted since the last run:\n");
    print_differences(report.at("drift"), "  ");
    for (const auto& warning : report.at("warnings")) {
      std::printf("warning: %s\n", warning.value("message", "").c_str());
    }
    std::printf("%u migrations checked: %u problems, %u warnings\n", migrator.info().step_count,
                migrator.info().problem_count, migrator.info().warning_count);
  });
}

void add_records(CLI::App& migrate, Chosen& chosen) {
  auto* baseline = migrate.add_subcommand(
      "baseline", "Records every migration up to a version as applied: for a database that has that schema already");
  auto choice = std::make_shared<Choice>();
  auto version = std::make_shared<std::string>();
  baseline->add_option("version", *version, "The last one that the database has")->required()->type_name("V");
  choice->add_to(*baseline, chosen);
  baseline->footer(
      "Examples:\n"
      "  gameforge migrate baseline 4 --db sqlite:game.db");
  const auto print_records = [](const Json& report) {
    for (const auto& step : report.at("steps")) {
      std::printf("%s: %s\n", step.value("migration", "").c_str(), step.value("reason", "").c_str());
    }
  };
  on_chosen(*baseline, chosen, [&chosen, choice, version, print_records] {
    const auto to = version_of(*version);
    Migrator migrator(*choice, chosen.json, true);
    const auto report = migrator.end(gf_migrator_baseline(migrator.get(), to));
    if (chosen.json) return print_json(report);
    print_records(report);
  });

  auto* repair = migrate.add_subcommand("repair", "Changes the record of one migration, and nothing else");
  struct Repair {
    Choice choice;
    std::string accept_edit;
    std::string mark_applied;
    std::string mark_unapplied;
    std::string reason;
  };
  auto asked = std::make_shared<Repair>();
  auto* verbs = repair->add_option_group("what", "One of");
  verbs->add_option("--accept-edit", asked->accept_edit, "The file as it is now counts as what was applied")
      ->type_name("V");
  verbs->add_option("--mark-applied", asked->mark_applied, "It was done by hand")->type_name("V");
  verbs->add_option("--mark-unapplied", asked->mark_unapplied, "It was undone by hand")->type_name("V");
  verbs->require_option(1);
  repair->add_option("--reason", asked->reason, "Why, for the record")->type_name("TEXT");
  asked->choice.add_to(*repair, chosen);
  repair->footer(
      "Who, when and why are recorded.\n"
      "\n"
      "Examples:\n"
      "  gameforge migrate repair --accept-edit 3 --reason \"a comment was corrected\" --db sqlite:game.db\n"
      "  gameforge migrate repair --mark-applied 5");
  on_chosen(*repair, chosen, [&chosen, asked, print_records] {
    const bool edit = !asked->accept_edit.empty();
    const bool applied = !asked->mark_applied.empty();
    const auto verb = edit      ? GF_MIGRATION_ACCEPT_EDIT
                      : applied ? GF_MIGRATION_MARK_APPLIED
                                : GF_MIGRATION_MARK_UNAPPLIED;
    const auto at = version_of(edit ? asked->accept_edit : applied ? asked->mark_applied : asked->mark_unapplied);
    Migrator migrator(asked->choice, chosen.json, true);
    const auto report = migrator.end(gf_migrator_repair(migrator.get(), verb, at, asked->reason.c_str()));
    if (chosen.json) return print_json(report);
    print_records(report);
  });
}

void add_schema(CLI::App& migrate, Chosen& chosen) {
  auto* dump = migrate.add_subcommand("dump", "Prints the schema as a SQL script");
  auto choice = std::make_shared<Choice>();
  auto out = std::make_shared<std::string>();
  choice->add_to(*dump, chosen);
  dump->add_option("--out", *out, "Write it to a file instead")->type_name("FILE");
  dump->footer(
      "Examples:\n"
      "  gameforge migrate dump --db sqlite:game.db > schema.sql\n"
      "  gameforge migrate dump --out schema.sql");
  on_chosen(*dump, chosen, [&chosen, choice, out] {
    Migrator migrator(*choice, chosen.json, true);
    const auto report = migrator.end(gf_migrator_dump(migrator.get()));
    if (out->empty()) {
      if (chosen.json) return print_json(report);
      std::printf("%s", report.value("dump", "").c_str());
      return;
    }
    std::ofstream file(*out, std::ios::binary);
    file << report.value("dump", "");
    file.close();
    if (!file) throw Failure{GF_ERR_IO, fmt::format("{} could not be written", *out)};
    if (chosen.json) print_json({{"file", *out}});
  });

  auto* diff = migrate.add_subcommand("diff", "Compares the schema with what the applied files make");
  auto diff_choice = std::make_shared<Choice>();
  auto since = std::make_shared<bool>(false);
  diff_choice->add_to(*diff, chosen);
  diff->add_flag("--since-last-run", *since, "Compare with the schema at the end of the last run instead");
  diff->footer(
      "Each line is an object: as it should be -> as it is. Ends with 0 when there is no difference, else with 4.\n"
      "\n"
      "Examples:\n"
      "  gameforge migrate diff --db sqlite:game.db\n"
      "  gameforge migrate diff --since-last-run --json");
  on_chosen(*diff, chosen, [&chosen, diff_choice, since] {
    Migrator migrator(*diff_choice, chosen.json, true);
    const auto report = migrator.end(*since ? gf_migrator_drift(migrator.get()) : gf_migrator_diff(migrator.get()));
    chosen.exit_code = group_of(migrator.info().problem_status);
    if (chosen.json) return print_json(report);
    print_differences(report.at("differences"), "");
    if (report.at("differences").empty()) std::printf("no difference\n");
  });
}

void add_create(CLI::App& migrate, Chosen& chosen) {
  auto* app = migrate.add_subcommand("create", "Makes the next numbered file from a template");
  auto dir = std::make_shared<std::string>("migrations");
  auto name = std::make_shared<std::string>();
  app->add_option("name", *name, "What it does, in words")->required()->type_name("NAME");
  app->add_option("--dir", *dir, "The folder of the migrations")->capture_default_str()->type_name("DIR");
  app->add_flag("--json", chosen.json, "One JSON object on one line");
  app->footer(
      "Examples:\n"
      "  gameforge migrate create \"add user preferences\"");
  on_chosen(*app, chosen, [&chosen, dir, name] {
    const auto path =
        text_of([&](char* b, std::uint64_t* s) { return gf_migration_create(dir->c_str(), name->c_str(), b, s); });
    if (chosen.json) return print_json({{"file", path}});
    std::printf("%s\n", path.c_str());
  });
}

}  // namespace

void add_migrate(CLI::App& app, Chosen& chosen) {
  auto* migrate = app.add_subcommand("migrate", "Brings a database's schema to where the files say, and back");
  migrate->require_subcommand(1);
  migrate->footer(
      "Files are called NNN_name.sql and have the sections `-- gameforge: up` and `-- gameforge: down`. The database "
      "is\n"
      "--db URL, or DATABASE_URL: sqlite:PATH or postgresql://USER@HOST/NAME.\n"
      "\n"
      "Examples:\n"
      "  gameforge migrate create \"add users\"\n"
      "  gameforge migrate run --db sqlite:game.db\n"
      "  gameforge migrate status --db sqlite:game.db");
  add_run(*migrate, chosen);
  add_create(*migrate, chosen);
  add_rollback(*migrate, chosen);
  add_redo(*migrate, chosen);
  add_status(*migrate, chosen);
  add_validate(*migrate, chosen);
  add_records(*migrate, chosen);
  add_schema(*migrate, chosen);
}

}  // namespace command
