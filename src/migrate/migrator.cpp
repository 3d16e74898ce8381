#include "migrate/graph.hpp"
#include "migrate/migrate.hpp"
#include "migrate/plan.hpp"
#include "migrate/runner.hpp"
#include "migrate/scratch.hpp"
#include "migrate/sums.hpp"

#include "base/files.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ctime>

namespace gf::migrate {
namespace {

std::string sqlite_path_of(const std::string& url) {
  const auto parsed = sql::parse_url(url);
  if (!parsed || parsed.value().dialect != sql::Dialect::sqlite || parsed.value().target == ":memory:") return "";
  return parsed.value().target;
}

/// `create`: the database is about to be written. Otherwise a SQLite file that is not there reads as an empty database.
Result<std::unique_ptr<sql::Connection>> connect(const Settings& settings, bool create) {
  if (settings.url.empty()) return Error{Status::invalid_argument, "no database was named; give its URL", {}};
  sql::OpenOptions options;
  options.create = create;
  options.busy_timeout_us = settings.lock_timeout_us;
  options.application_name = "gameforge migrate";
  auto opened = sql::open(settings.url, options);
  if (!opened && !create && opened.error().status == Status::not_found && settings.url.starts_with("sqlite:")) {
    return sql::open_sqlite(":memory:");
  }
  return opened;
}

/// What the error's message says about its place, for reports of what was refused before it ran.
void fill_failure(Error& error, Report& report) {
  if (report.failure) return;
  FailureReport failure;
  failure.message = error.message;
  std::string_view rest = error.message;
  const auto sql_at = rest.find(".sql:");
  if (sql_at != std::string_view::npos && rest.find(' ') > sql_at) {
    failure.file = rest.substr(0, sql_at + 4);
    rest.remove_prefix(sql_at + 5);
    const auto [end, error_code] = std::from_chars(rest.data(), rest.data() + rest.size(), failure.line);
    if (error_code == std::errc() && end != rest.data() + rest.size()) {
      std::from_chars(end + 1, rest.data() + rest.size(), failure.column);
    }
  }
  for (const auto& step : report.steps) {
    if (failure.file.empty() || step.file != failure.file) continue;
    failure.label = step.label;
    for (std::size_t i = 0; i < step.statements.size(); ++i) {
      if (error.message.find(describe(i, step.statements[i])) == std::string::npos) continue;
      failure.statement_number = i + 1;
      failure.statement = step.statements[i];
      break;
    }
    const bool none =
        std::none_of(report.steps.begin(), report.steps.end(), [](const StepReport& one) { return one.done; });
    if (none) {
      failure.advice = "nothing was applied: correct the file and run again";
      error.message += "; " + failure.advice;
    }
    break;
  }
  report.failure = std::move(failure);
}

}  // namespace

Result<Migrator> Migrator::open(Settings settings) {
  if (!settings.url.empty()) {
    GF_TRYV(sql::parse_url(settings.url));
  }
  Migrator migrator;
  std::vector<SourceFile> files;
  if (!settings.folder.empty()) {
    GF_TRY(files, read_folder(settings.folder));
  } else {
    for (const auto& file : settings.embedded) files.push_back({std::string(file.name), std::string(file.text)});
  }
  GF_TRY(migrator.migrations_, parse_files(std::move(files)));
  GF_TRY(migrator.order_, order_of(migrator.migrations_));
  settings.embedded = {};  // Copied; the caller's may go.
  migrator.settings_ = std::move(settings);
  return migrator;
}

Result<Report> Migrator::plan(const Goal& goal) const {
  GF_TRY(const auto connection, connect(settings_, false));
  Runner runner(settings_, migrations_, order_, *connection, sqlite_path_of(settings_.url));
  GF_TRY(const auto history, runner.read_history());
  GF_TRY(const auto plan, make_plan({settings_, migrations_, order_, history, *connection}, goal));
  Report report;
  describe_plan(plan, connection->dialect(), report);
  return report;
}

Result<void> Migrator::apply(const Goal& goal, Report& report) const {
  const auto run = [&]() -> Result<void> {
    GF_TRY(const auto connection, connect(settings_, goal.kind == Goal::Kind::up));
    Runner runner(settings_, migrations_, order_, *connection, sqlite_path_of(settings_.url));
    return runner.run(goal, report);
  };
  auto result = run();
  if (result) return result;
  Error error = result.error();
  fill_failure(error, report);
  return error;
}

Result<void> Migrator::prove(const Goal& goal, bool in_place, Report& report) const {
  const auto run = [&]() -> Result<void> {
    GF_TRY(const auto live, connect(settings_, false));
    GF_TRY(const auto before, read_catalog(*live));
    GF_TRY(const auto records, History::read(*live));
    Settings settings = settings_;
    settings.hooks.before = nullptr;
    settings.hooks.after = nullptr;
    if (in_place) {
      // Short: everything that waits behind us waits as long.
      settings.lock_timeout_us = std::min<std::int64_t>(settings.lock_timeout_us, 500'000);
      settings.lock_retries = 0;
      Runner runner(settings, migrations_, order_, *live, sqlite_path_of(settings_.url));
      runner.collect_locks = runner.roll_back = true;
      GF_TRYV(runner.run(goal, report));
      if (runner.catalog_inside) report.changes = compare(before, *runner.catalog_inside);
      report.warnings.push_back("in place: sequences may have moved, since they do not roll back");
    } else {
      GF_TRY(auto scratch, Scratch::copy_of(settings_.url, *live));
      Catalog last = before;
      settings.hooks.after = [&](const std::string& label, const std::string& direction) -> Result<void> {
        GF_TRY(auto now, read_catalog(scratch.connection()));
        for (auto& step : report.steps) {
          if (step.label == label && step.direction == direction) step.changes = compare(last, now);
        }
        last = std::move(now);
        return success();
      };
      Runner runner(settings, migrations_, order_, scratch.connection(), "");
      runner.collect_locks = runner.bare = true;
      GF_TRYV(runner.run(goal, report));
      report.changes = compare(before, last);
    }
    GF_TRY(const auto after, read_catalog(*live));
    GF_TRY(const auto records_after, History::read(*live));
    report.unchanged = fingerprint(before) == fingerprint(after) && records.last_id == records_after.last_id;
    if (!report.unchanged) {
      return Error{
          Status::schema_drift, "the database changed while the plan was being proved; somebody else is at work", {}};
    }
    return success();
  };
  auto result = run();
  if (result) return result;
  Error error = result.error();
  fill_failure(error, report);
  return error;
}

Result<StatusReport> Migrator::status() const {
  GF_TRY(const auto connection, connect(settings_, false));
  Runner runner(settings_, migrations_, order_, *connection, sqlite_path_of(settings_.url));
  GF_TRY(const auto history, runner.read_history());
  StatusReport report;
  report.url = sql::redacted(settings_.url);
  report.entries = make_status({settings_, migrations_, order_, history, *connection});
  for (const auto& [version, index] : history.by_version)
    report.highest_applied = std::max(report.highest_applied, version);
  for (const auto& entry : report.entries) {
    if (entry.state == "pending" || entry.state == "late" || entry.state == "outdated") ++report.pending;
    if (entry.state != "pending" && entry.state != "applied" && entry.state != "edited" && entry.state != "outdated") {
      ++report.problems;
    }
  }
  return report;
}

namespace {

/// The files by themselves, for one dialect.
ValidateReport validate_files(const std::vector<Migration>& migrations, const std::vector<std::size_t>& order,
                              const Settings& settings, sql::Dialect dialect) {
  ValidateReport report;
  std::unique_ptr<sql::Connection> scratch;
  if (dialect == sql::Dialect::sqlite) {
    auto opened = sql::open_sqlite(":memory:");
    if (!opened) {
      report.errors.push_back(opened.error());
      return report;
    }
    scratch = std::move(opened).value();
  }
  const auto remark = [&](const Migration& migration, std::string rule, std::string_view words) {
    report.warnings.push_back({migration.file, {}, std::move(rule), fmt::format("{}:1:1: {}", migration.file, words)});
  };
  std::vector<const Migration*> all;
  all.reserve(migrations.size());
  for (const auto index : order) all.push_back(&migrations[index]);
  for (const auto& migration : migrations) {
    if (migration.repeatable) all.push_back(&migration);
  }
  const std::string tomorrow = [&] {
    const std::time_t seconds = settings.clock->unix_us() / 1'000'000 + 86'400;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return fmt::format("{:04}{:02}{:02}{:02}{:02}{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                       parts.tm_hour, parts.tm_min, parts.tm_sec);
  }();
  std::set<std::string> made;
  for (const auto* migration : all) {
    ++report.checked;
    if (migration->version_text.size() == 14 && migration->version_text > tomorrow) {
      report.errors.push_back(
          {Status::invalid_argument,
           fmt::format("{}:1:1: the version {} lies in the future; everything newer would come late", migration->file,
                       migration->version_text),
           {}});
    }
    const auto part = [&](const Result<Section>& section, bool up) {
      if (!section) {
        report.errors.push_back(section.error());
        return;
      }
      if (auto checked = check_section(section.value(), migration->header, dialect); !checked) {
        report.errors.push_back(checked.error());
        return;
      }
      if (!up) return;
      for (auto& warning : lint(section.value(), migration->header.transaction, dialect, made)) {
        report.warnings.push_back(std::move(warning));
      }
      if (!scratch) return;
      if (auto replayed = replay_on(*scratch, section.value()); !replayed) report.errors.push_back(replayed.error());
    };
    part(migration->up(dialect, settings.variables), true);
    const auto down = migration->down(dialect, settings.variables);
    part(down, false);
    if (down && !down.value().present && !migration->header.irreversible && !migration->repeatable) {
      remark(*migration, "no-down", "there is no down section, and the header does not say that it is irreversible");
    }
    if (down && down.value().present && migration->header.irreversible) {
      report.errors.push_back(
          {Status::invalid_argument,
           fmt::format("{}:1:1: the header says irreversible, and there is a down section", migration->file),
           {}});
    }
  }
  for (std::size_t i = 1; i < migrations.size(); ++i) {
    const auto& before = migrations[i - 1];
    const auto& migration = migrations[i];
    if (migration.repeatable) break;
    if (migration.version_text.size() < 12 && migration.version != before.version + 1) {
      remark(migration, "gap",
             fmt::format("no version lies between {} and {}", before.version_text, migration.version_text));
    }
  }
  return report;
}

}  // namespace

Result<ValidateReport> Migrator::validate() const {
  GF_TRY(auto report, validate_schema());
  if (!settings_.folder.empty()) {
    GF_TRY(auto sums, check_sums(settings_.folder, migrations_));
    for (auto& error : sums) report.errors.push_back(std::move(error));
  }
  return report;
}

Result<ValidateReport> Migrator::validate_schema() const {
  if (settings_.url.empty()) {
    // No database says which dialect is meant: files must hold in one of the two.
    auto sqlite = validate_files(migrations_, order_, settings_, sql::Dialect::sqlite);
    auto postgres = validate_files(migrations_, order_, settings_, sql::Dialect::postgresql);
    return sqlite.errors.size() <= postgres.errors.size() ? std::move(sqlite) : std::move(postgres);
  }
  GF_TRY(const auto url, sql::parse_url(settings_.url));
  auto report = validate_files(migrations_, order_, settings_, url.dialect);
  GF_TRY(const auto connection, connect(settings_, false));
  Runner runner(settings_, migrations_, order_, *connection, sqlite_path_of(settings_.url));
  GF_TRY(const auto history, runner.read_history());
  auto plan = make_plan({settings_, migrations_, order_, history, *connection}, Goal{});
  if (!plan) report.errors.push_back(plan.error());
  GF_TRY(const auto snapshot, read_snapshot(*connection));
  if (snapshot) {
    GF_TRY(const auto live, read_catalog(*connection));
    const bool behind = std::any_of(history.rows.begin(), history.rows.end(), [&](const Record& row) {
      return row.id > snapshot->history_id && row.origin == "run";
    });
    // A run that was killed took no snapshot; what it changed is no drift.
    if (!behind) report.drift = compare(snapshot->catalog, live);
  }
  return report;
}

Result<ValidateReport> Migrator::round_trip() const {
  GF_TRY(auto scratch, Scratch::empty(settings_.url));
  Settings settings = settings_;
  settings.hooks = {};
  settings.allow_out_of_order = true;
  Runner runner(settings, migrations_, order_, scratch.connection(), "");
  runner.bare = true;
  ValidateReport report;
  for (const auto index : order_) {
    const auto& migration = migrations_[index];
    Report run;
    GF_TRY(const auto before, read_catalog(scratch.connection()));
    const auto fail = [&](const Error& error) { report.errors.push_back(error); };
    if (auto up = runner.run_single(migration, true, run); !up) {
      // What follows stands on this one.
      fail(up.error());
      return report;
    }
    ++report.checked;
    GF_TRY(const auto down, migration.down(scratch.connection().dialect(), settings.variables));
    if (migration.header.irreversible || !down.present) {
      report.warnings.push_back({migration.file,
                                 {},
                                 migration.header.irreversible ? "irreversible" : "no-down",
                                 fmt::format("{}:1:1: it cannot be undone", migration.file)});
      continue;
    }
    GF_TRY(const auto up_once, read_catalog(scratch.connection()));
    if (auto undone = runner.run_single(migration, false, run); !undone) {
      fail(undone.error());
      continue;
    }
    GF_TRY(const auto back, read_catalog(scratch.connection()));
    const auto tell = [&](const std::vector<SchemaDifference>& differences, std::string_view after) {
      for (const auto& difference : differences) {
        fail({Status::schema_drift,
              fmt::format("{}:1:1: after {} {} {} is {}, and was {}", migration.file, after, difference.kind,
                          difference.name, difference.found.empty() ? "not there" : difference.found,
                          difference.expected.empty() ? "not there" : difference.expected),
              {}});
      }
    };
    tell(compare(before, back), "up and down");
    if (auto again = runner.run_single(migration, true, run); !again) {
      fail(again.error());
      return report;
    }
    GF_TRY(const auto up_twice, read_catalog(scratch.connection()));
    tell(compare(up_once, up_twice), "up, down and up");
  }
  return report;
}

Result<void> Migrator::baseline(std::int64_t version, Report& report) const {
  const bool known = std::any_of(migrations_.begin(), migrations_.end(), [&](const Migration& migration) {
    return !migration.repeatable && migration.version == version;
  });
  if (!known)
    return Error{Status::not_found, fmt::format("there is no migration {} to take as the baseline", version), {}};
  GF_TRY(const auto connection, connect(settings_, true));
  Runner runner(settings_, migrations_, order_, *connection, sqlite_path_of(settings_.url));
  return runner.change_records([&](const History& history) -> Result<void> {
    if (!history.applied.empty()) {
      return Error{Status::wrong_state,
                   fmt::format("{} is applied already; a baseline is for a database without records",
                               history.rows[history.applied.front()].label),
                   {}};
    }
    for (const auto index : order_) {
      const auto& migration = migrations_[index];
      if (migration.version > version) continue;
      GF_TRYV(runner.mark(migration, nullptr, "baseline", "", report));
    }
    return success();
  });
}

Result<void> Migrator::repair(Repair verb, std::int64_t version, const std::string& reason, Report& report) const {
  GF_TRY(const auto connection, connect(settings_, false));
  Runner runner(settings_, migrations_, order_, *connection, sqlite_path_of(settings_.url));
  const auto file = std::find_if(migrations_.begin(), migrations_.end(), [&](const Migration& migration) {
    return !migration.repeatable && migration.version == version;
  });
  const bool has_file = file != migrations_.end();
  return runner.change_records([&](const History& history) -> Result<void> {
    const Record* record = history.find(version);
    const Record* open_record = nullptr;
    if (history.unfinished && history.rows[*history.unfinished].version == version) {
      open_record = &history.rows[*history.unfinished];
    }
    switch (verb) {
      case Repair::accept_edit: {
        if (record == nullptr) return Error{Status::not_found, fmt::format("migration {} is not applied", version), {}};
        if (!has_file) return Error{Status::not_found, fmt::format("{} has no file", record->label), {}};
        Record accepted = *record;
        accepted.note = fmt::format("{}{}the edit of {} was accepted by {} at {}, the file {}_{} in place of {}{}{}",
                                    record->note, record->note.empty() ? "" : "\n", record->checksum, runner.by(),
                                    utc_text(settings_.clock->unix_us()), file->version_text, file->name, record->label,
                                    reason.empty() ? "" : ": ", reason);
        accepted.checksum = file->checksum;
        accepted.token_sum = file->token_sum(connection->dialect());
        accepted.name = file->name;
        accepted.label = file->label();
        auto& told = report.steps.emplace_back();
        told.label = accepted.label;
        told.version = version;
        told.direction = "up";
        told.reason = "edit accepted";
        told.done = true;
        GF_TRY(const auto down, file->down(connection->dialect(), settings_.variables));
        return update_sums(*connection, accepted, down_text_for_record(*file, down));
      }
      case Repair::mark_applied:
        if (record != nullptr && open_record == nullptr) {
          return Error{Status::wrong_state, fmt::format("{} is applied already", record->label), {}};
        }
        if (!has_file) return Error{Status::not_found, fmt::format("there is no migration {}", version), {}};
        return runner.mark(*file, nullptr, "marked", reason, report);
      case Repair::mark_unapplied:
        if (record == nullptr && open_record == nullptr) {
          return Error{Status::wrong_state, fmt::format("migration {} is not applied", version), {}};
        }
        return runner.mark(has_file ? *file : Migration{}, record != nullptr ? record : open_record, "marked", reason,
                           report);
    }
    return success();
  });
}

Result<std::string> Migrator::dump() const {
  GF_TRY(const auto connection, connect(settings_, false));
  return dump_schema(*connection);
}

Result<std::vector<SchemaDifference>> Migrator::diff() const {
  GF_TRY(const auto live, connect(settings_, false));
  Settings settings = settings_;
  settings.hooks = {};
  settings.allow_out_of_order = true;
  GF_TRY(const auto history, History::read(*live));
  GF_TRY(auto scratch, Scratch::empty(settings_.url));
  Runner runner(settings, migrations_, order_, scratch.connection(), "");
  runner.bare = true;
  const auto apply_file = [&](const Migration& migration) -> Result<void> {
    Report run;
    return runner.run_single(migration, true, run);
  };
  for (const auto index : history.applied) {
    const auto& record = history.rows[index];
    const auto file = std::find_if(migrations_.begin(), migrations_.end(), [&](const Migration& migration) {
      return !migration.repeatable && migration.version == record.version;
    });
    if (file == migrations_.end()) {
      return Error{
          Status::not_found, fmt::format("{} is applied, and its file is not there to compare with", record.label), {}};
    }
    GF_TRYV(apply_file(*file));
  }
  for (const auto& migration : migrations_) {
    if (migration.repeatable && history.repeatable.contains(migration.name)) {
      GF_TRYV(apply_file(migration));
    }
  }
  GF_TRY(const auto expected, read_catalog(scratch.connection()));
  GF_TRY(const auto found, read_catalog(*live));
  return compare(expected, found);
}

Result<std::vector<SchemaDifference>> Migrator::drift() const {
  GF_TRY(const auto connection, connect(settings_, false));
  GF_TRY(const auto snapshot, read_snapshot(*connection));
  if (!snapshot)
    return Error{Status::wrong_state, "no run has ended here yet, so there is nothing to compare with", {}};
  GF_TRY(const auto live, read_catalog(*connection));
  return compare(snapshot->catalog, live);
}

Result<std::string> Migrator::next_path(const std::string& folder, std::string_view name, const Clock& clock) {
  std::string plain;
  for (const char c : name) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (word) {
      plain += c;
    } else if (c >= 'A' && c <= 'Z') {
      plain += static_cast<char>(c + 32);
    } else if (!plain.empty() && plain.back() != '_') {
      plain += '_';
    }
  }
  while (!plain.empty() && plain.back() == '_') plain.pop_back();
  if (plain.empty()) {
    return Error{Status::invalid_argument,
                 fmt::format("{} has no letter or digit for a name, such as \"add user preferences\"", shown(name)),
                 {}};
  }
  GF_TRY(const auto files, read_folder(folder));
  std::int64_t highest = 0;
  std::size_t width = 3;
  for (const auto& file : files) {
    GF_TRY(const auto parsed, parse_file_name(file.name));
    if (parsed.form == FileName::Form::repeatable) continue;
    if (parsed.name == plain) {
      return Error{Status::already_exists, fmt::format("{} has that name already", file.name), {}};
    }
    if (parsed.version > highest) {
      highest = parsed.version;
      width = parsed.version_text.size();
    }
  }
  std::string version = fmt::format("{:0{}}", highest + 1, width);
  if (width == 14) {
    const std::time_t seconds = clock.unix_us() / 1'000'000;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    version = fmt::format("{:04}{:02}{:02}{:02}{:02}{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                          parts.tm_hour, parts.tm_min, parts.tm_sec);
    // Two files of one second, or a clock that is behind: the next number is as good.
    if (version <= fmt::format("{}", highest)) version = fmt::format("{}", highest + 1);
  }
  const std::string path = join_path(folder, fmt::format("{}_{}.sql", version, plain));
  if (is_regular_file(path)) return Error{Status::already_exists, fmt::format("{} is there already", shown(path)), {}};
  return path;
}

Result<std::string> Migrator::create(const std::string& folder, std::string_view name, const Clock& clock) {
  GF_TRY(const auto path, next_path(folder, name, clock));
  const std::string text = fmt::format(
      "-- {0}\n"
      "-- Keys that may stand here, each on a line of its own behind `-- gameforge: `: depends, transaction, "
      "foreign-keys,\n"
      "-- irreversible, timeout, lock-timeout, compatible-back-to, variables. A section may be for one database only, "
      "such\n"
      "-- as `up sqlite`.\n"
      "\n"
      "-- gameforge: up\n"
      "\n"
      "-- gameforge: down\n",
      shown(name));
  // Both texts are there before either file is: a damaged file of sums leaves nothing half made.
  GF_TRY(const auto migration, parse_files({{path.substr(path.find_last_of('/') + 1), text}}));
  GF_TRY(const auto sums, sums_with(folder, migration.front()));
  GF_TRYV(write_whole(path, text));
  if (!sums.empty()) {
    GF_TRYV(write_whole(join_path(folder, sums_file), sums));
  }
  return path;
}

}  // namespace gf::migrate
