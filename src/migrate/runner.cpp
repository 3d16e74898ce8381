#include "migrate/runner.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>

namespace gf::migrate {
namespace {

std::string who_we_are() {
  char host[256] = "";
  (void)gethostname(host, sizeof host - 1);
  passwd entry{};
  passwd* found = nullptr;
  char buffer[4096];
  std::string user = fmt::format("uid {}", geteuid());
  if (getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) user = found->pw_name;
  return fmt::format("{}@{} process {}", user, host, getpid());
}

}  // namespace

Runner::Runner(const Settings& settings, const std::vector<Migration>& migrations,
               const std::vector<std::size_t>& order, sql::Connection& connection, std::string sqlite_path)
    : settings_(settings),
      migrations_(migrations),
      order_(order),
      connection_(connection),
      sqlite_path_(std::move(sqlite_path)),
      by_(settings.applied_by.empty() ? who_we_are() : settings.applied_by) {}

Result<void> Runner::check_cancel() const {
  if (settings_.cancel == nullptr || !settings_.cancel->load(std::memory_order_relaxed)) return success();
  return Error{Status::cancelled, "the run was cancelled", {}};
}

Result<void> Runner::check(const Plan& plan, Report& report) {
  const auto since_us = now_us();
  tell(EventType::checking, nullptr, 0, 0, "");
  for (const auto& step : plan.steps) {
    GF_TRYV(check_section(step.section, step.text().header, connection_.dialect()));
    GF_TRYV(check_section(step.verify, step.text().header, connection_.dialect()));
  }
  if (sqlite() && settings_.checks) {
    GF_TRY(const auto scratch, sql::open_sqlite(":memory:"));
    GF_TRY(const auto objects,
           connection_.query(
               "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
               "ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 WHEN 'view' THEN 2 ELSE 3 END, rowid"));
    for (std::size_t i = 0; i < objects.rows.size(); ++i) {
      // The tables behind a virtual table are made with it, and then a second time here.
      auto made = scratch->execute(objects.text(i, 0));
      if (!made && made.error().message.find("already exists") == std::string::npos) return made;
    }
    for (const auto& step : plan.steps) {
      // A resumed file's first statements are in the live schema already.
      if (step.resume) continue;
      GF_TRYV(replay_on(*scratch, step.section));
    }
  }
  GF_TRY(const auto before, read_snapshot(connection_));
  if (before && before->history_id == last_id_) {
    GF_TRY(const auto live, read_catalog(connection_));
    for (const auto& difference : compare(before->catalog, live)) {
      report.warnings.push_back(fmt::format("the schema has drifted: {} {} was {}, and is {}", difference.kind,
                                            difference.name,
                                            difference.expected.empty() ? "not there" : difference.expected,
                                            difference.found.empty() ? "not there" : difference.found));
    }
  }
  report.check_us += now_us() - since_us;
  return success();
}

Result<void> Runner::snapshot(Report& report) {
  const auto since_us = now_us();
  GF_TRY(const auto taken, snapshot_id(connection_));
  if (taken == last_id_) return success();
  GF_TRY(const auto history, read_history());
  if (history.unfinished || taken == history.last_id) return success();
  std::int64_t newest = 0;
  GF_TRYV(begin_locked(true, &newest));
  Result<void> result = success();
  // A runner that is still at work takes it when it ends.
  if (newest == history.last_id) {
    auto catalog = read_catalog(connection_);
    result = catalog ? write_snapshot(connection_, {newest, utc_text(settings_.clock->unix_us()), catalog.value()})
                     : Result<void>(catalog.error());
  }
  if (result) result = connection_.execute("COMMIT");
  if (!result && connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
  report.check_us += now_us() - since_us;
  return result;
}

Result<void> Runner::prepare_connection() {
  if (sqlite()) {
    GF_TRYV(connection_.set_timeouts(settings_.lock_timeout_us, 0));
    GF_TRYV(connection_.execute("PRAGMA foreign_keys = ON"));
    sql::watch_sqlite_schema(connection_, [this](std::string_view name) {
      if (!name.starts_with("gameforge_") && !name.starts_with("sqlite_")) touched_.emplace(name);
    });
  } else {
    GF_TRYV(connection_.set_timeouts(settings_.lock_timeout_us, settings_.statement_timeout_us));
  }
  if (!sqlite() && !prepared_) {
    // Our own statements are prepared once where the server's process stays the same.
    GF_TRY(const auto backend, connection_.backend_id());
    prepared_ = true;
    for (int i = 0; i < 2; ++i) {
      GF_TRY(const auto again, connection_.backend_id());
      prepared_ = prepared_ && again == backend;
    }
    connection_.allow_prepared(prepared_);
  }
  return success();
}

Result<void> Runner::run_single(const Migration& migration, bool up, Report& report) {
  GF_TRYV(prepare_connection());
  GF_TRY(auto history, read_history());
  if (!history.exists) {
    GF_TRYV(ensure_tables());
  }
  const PlanInput input{settings_, migrations_, order_, history, connection_};
  GF_TRY(auto step, single_step(input, migration, up ? nullptr : history.find(migration.version)));
  const bool outside = !step.text().header.transaction;
  GF_TRYV(outside ? run_outside(step, report, history.last_id) : run_in_transaction({&step}, report, history.last_id));
  return success();
}

Result<void> Runner::mark(const Migration& migration, const Record* record, const std::string& origin,
                          const std::string& reason, Report& report) {
  Step step;
  step.migration = &migration;
  step.direction = record == nullptr ? "up" : "down";
  if (record != nullptr) step.record = *record;
  Record marked = record_of(step, "applied");
  marked.origin = origin;
  marked.note = reason;
  marked.duration_us = 0;
  std::string down;
  if (record == nullptr) {
    GF_TRY(const auto section, migration.down(connection_.dialect(), settings_.variables));
    down = down_text_for_record(migration, section);
  }
  GF_TRYV(add_record(connection_, marked, down, false));
  auto& told = report.steps.emplace_back();
  told.label = marked.label;
  told.version = marked.version;
  told.direction = marked.direction;
  told.reason = origin;
  told.done = true;
  return success();
}

Result<void> Runner::run(const Goal& goal, Report& report) {
  GF_TRYV(prepare_connection());
  bool first = true;
  bool tables = false;
  std::set<std::string> intended;  // Rollback, redo: what the first plan meant, so that no later plan reaches further.
  for (;;) {
    GF_TRY(const auto history, read_history(true));
    last_id_ = history.last_id;
    tables = history.exists;
    const PlanInput input{settings_, migrations_, order_, history, connection_};
    Plan plan;
    if (first || goal.kind == Goal::Kind::up) {
      GF_TRY(plan, make_plan(input, goal));
      if (first) describe_plan(plan, connection_.dialect(), report);
    } else {
      // Another runner was faster. What it undid is undone; what is left of ours is undone by version.
      for (const auto& step : report.steps) {
        if (step.done) continue;
        const bool applied = history.find(step.version) != nullptr;
        if ((step.direction == "down") != applied) continue;
        if (step.direction == "down") {
          GF_TRY(auto part, make_plan(input, Goal{Goal::Kind::rollback, step.version, 0, true}));
          for (auto& one : part.steps) {
            if (!intended.contains(one.label())) {
              return Error{Status::wrong_state,
                           fmt::format("{} was applied by another runner meanwhile, on top of what is to be undone",
                                       one.label()),
                           {}};
            }
          }
          for (auto& one : part.steps) {
            const bool planned = std::any_of(plan.steps.begin(), plan.steps.end(),
                                             [&](const Step& other) { return other.label() == one.label(); });
            if (!planned) plan.steps.push_back(std::move(one));
          }
        } else {
          GF_TRY(auto part, make_plan(input, Goal{Goal::Kind::up, step.version, 0, false}));
          for (auto& one : part.steps) {
            if (one.label() == step.label) plan.steps.push_back(std::move(one));
          }
        }
      }
    }
    if (first) {
      for (const auto& step : plan.steps) intended.insert(step.label());
    }
    if (plan.steps.empty()) break;
    if (first && !bare) {
      if (auto checked = check(plan, report); !checked) {
        // Without the lock the schema may be newer than the records that the plan was made from. Then the plan is what
        // is wrong, and it is made anew; each turn means that another runner got further.
        GF_TRY(const auto now, read_history(true));
        if (now.last_id != history.last_id || now.exists != history.exists) continue;
        return checked;
      }
    }
    if (roll_back) {
      tables_exist_ = history.exists;
    } else if (!history.exists) {
      GF_TRYV(ensure_tables());
    }
    first = false;
    tables = true;
    const auto since_us = now_us();
    bool stale = false;
    if (settings_.all_or_nothing || roll_back) {
      std::vector<Step*> all;
      for (auto& step : plan.steps) {
        if (!step.text().header.transaction || step.resume) {
          return Error{Status::unsupported,
                       fmt::format("{} runs outside a transaction, so it cannot be one with the others", step.label()),
                       {}};
        }
        all.push_back(&step);
      }
      GF_TRY(const auto turn, run_in_transaction(all, report, last_id_));
      stale = turn == Turn::stale;
    } else {
      for (auto& step : plan.steps) {
        GF_TRYV(check_cancel());
        const bool outside = !step.text().header.transaction || step.resume;
        GF_TRY(const auto turn,
               outside ? run_outside(step, report, last_id_) : run_in_transaction({&step}, report, last_id_));
        stale = turn == Turn::stale;
        if (stale) break;
      }
    }
    report.apply_us += now_us() - since_us;
    if (!stale) break;
  }
  // What another runner did in our place is no part of this report.
  std::erase_if(report.steps, [](const StepReport& step) { return !step.done; });
  if (!bare && !roll_back && tables) {
    GF_TRYV(snapshot(report));
  }
  return success();
}

Result<void> Runner::change_records(const std::function<Result<void>(const History&)>& change) {
  if (sqlite()) {
    GF_TRYV(connection_.set_timeouts(settings_.lock_timeout_us, 0));
  }
  GF_TRY(const auto before, read_history());
  if (!before.exists) {
    GF_TRYV(ensure_tables());
  }
  std::int64_t newest = 0;
  GF_TRYV(begin_locked(true, &newest));
  Result<void> result = success();
  auto history = History::read(connection_);
  result = history ? change(history.value()) : Result<void>(history.error());
  if (result) result = connection_.execute("COMMIT");
  if (!result && connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
  return result;
}

}  // namespace gf::migrate
