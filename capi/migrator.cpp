// Migrations at the ABI: options and goals in, a work's events, state and report out.
#include "buffers.hpp"
#include "firewall.hpp"
#include "objects.hpp"
#include "structs.hpp"

#include "migrate/worker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using gf::Error;
using gf::Result;
using gf::Status;
using gf::migrate::EventType;
using gf::migrate::Goal;
using gf::migrate::Outcome;
using gf::migrate::Repair;
using gf::migrate::Request;
using gf::migrate::StatusEntry;
using gf::migrate::Work;
using gf::migrate::WorkEvent;

namespace gf::capi {

MigratorTable& migrators() {
  static auto& table = *new MigratorTable;
  return table;
}

namespace {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_migrator_options) == 128);
static_assert(sizeof(gf_migration_goal) == 24);
static_assert(sizeof(gf_migrator_info) == 96);
static_assert(sizeof(gf_migration_event) == 48);
static_assert(sizeof(gf_migration_entry) == 24);
constexpr std::size_t first_options_bytes = 128;
constexpr std::size_t first_goal_bytes = 24;
constexpr std::size_t first_info_bytes = 96;
constexpr std::size_t first_event_bytes = 48;
constexpr std::size_t first_entry_bytes = 24;

static_assert(same(Work::none, GF_MIGRATOR_WORK_NONE) && same(Work::plan, GF_MIGRATOR_WORK_PLAN) &&
              same(Work::apply, GF_MIGRATOR_WORK_APPLY) && same(Work::prove, GF_MIGRATOR_WORK_PROVE) &&
              same(Work::status, GF_MIGRATOR_WORK_STATUS) && same(Work::validate, GF_MIGRATOR_WORK_VALIDATE) &&
              same(Work::round_trip, GF_MIGRATOR_WORK_ROUND_TRIP) && same(Work::baseline, GF_MIGRATOR_WORK_BASELINE) &&
              same(Work::repair, GF_MIGRATOR_WORK_REPAIR) && same(Work::dump, GF_MIGRATOR_WORK_DUMP) &&
              same(Work::diff, GF_MIGRATOR_WORK_DIFF) && same(Work::drift, GF_MIGRATOR_WORK_DRIFT));
static_assert(same(Goal::Kind::up, GF_MIGRATION_GOAL_UP) && same(Goal::Kind::rollback, GF_MIGRATION_GOAL_ROLLBACK) &&
              same(Goal::Kind::rollback_to, GF_MIGRATION_GOAL_ROLLBACK_TO) &&
              same(Goal::Kind::rollback_steps, GF_MIGRATION_GOAL_ROLLBACK_STEPS) &&
              same(Goal::Kind::redo, GF_MIGRATION_GOAL_REDO));

/// The text at `index` of an array that may be NULL where it is empty.
Result<std::string> text_at(const char* const* array, std::uint32_t index, std::string_view what) {
  GF_TRY(const auto text, needed_text(array[index], fmt::format("options->{}[{}]", what, index)));
  return std::string(text);
}

Result<void> check_array(const char* const* array, std::uint32_t count, std::string_view what) {
  if (count == 0 || array != nullptr) return success();
  return invalid(fmt::format("options->{} is NULL, and its count {}", what, count));
}

Result<std::int64_t> time_or(std::int64_t given_us, std::int64_t default_us, std::string_view what) {
  if (given_us < 0) return invalid(fmt::format("options->{} is {}; it must not be negative", what, given_us));
  return given_us == 0 ? default_us : given_us;
}

/// The settings, and the texts of files that the host brings along, which the settings only refer to.
struct Opening {
  migrate::Settings settings;
  std::vector<migrate::EmbeddedFile> files;
};

Result<void> read_migrator_options(const gf_migrator_options* given, Opening& opening) {
  if (given == nullptr) return invalid("options is NULL");
  GF_TRY(const auto read,
         read_options(given, gf_migrator_options GF_MIGRATOR_OPTIONS_INIT, first_options_bytes, "options"));
  auto& settings = opening.settings;
  constexpr std::uint32_t known =
      GF_MIGRATOR_ALLOW_OUT_OF_ORDER | GF_MIGRATOR_ALL_OR_NOTHING | GF_MIGRATOR_NO_CHECKS | GF_MIGRATOR_NO_LOCK_RETRIES;
  if ((read.flags & ~known) != 0 || read.reserved != 0) {
    return Error{
        Status::unsupported,
        fmt::format("options->flags is {:#x} and options->reserved {}; this version knows the flags {:#x} and no other",
                    read.flags, read.reserved, known),
        {}};
  }
  settings.allow_out_of_order = (read.flags & GF_MIGRATOR_ALLOW_OUT_OF_ORDER) != 0;
  settings.all_or_nothing = (read.flags & GF_MIGRATOR_ALL_OR_NOTHING) != 0;
  settings.checks = (read.flags & GF_MIGRATOR_NO_CHECKS) == 0;
  if (read.url != nullptr) settings.url = read.url;
  if (read.folder != nullptr) {
    settings.folder = read.folder;
    if (settings.folder.empty()) return invalid("options->folder is empty");
    if (read.file_count != 0) return invalid("options->folder is set, and options->file_count is not 0");
  }
  GF_TRYV(check_array(read.file_names, read.file_count, "file_names"));
  GF_TRYV(check_array(read.file_texts, read.file_count, "file_texts"));
  for (std::uint32_t index = 0; index < read.file_count; ++index) {
    GF_TRY(const auto name, needed_text(read.file_names[index], fmt::format("options->file_names[{}]", index)));
    GF_TRY(const auto text, needed_text(read.file_texts[index], fmt::format("options->file_texts[{}]", index)));
    opening.files.push_back({name, text});
  }
  settings.embedded = opening.files;
  GF_TRYV(check_array(read.variable_names, read.variable_count, "variable_names"));
  GF_TRYV(check_array(read.variable_values, read.variable_count, "variable_values"));
  for (std::uint32_t index = 0; index < read.variable_count; ++index) {
    GF_TRY(auto name, text_at(read.variable_names, index, "variable_names"));
    GF_TRY(auto value, text_at(read.variable_values, index, "variable_values"));
    if (!settings.variables.emplace(std::move(name), std::move(value)).second) {
      return invalid(fmt::format("options->variable_names[{}] is \"{}\", which was there before", index,
                                 read.variable_names[index]));
    }
  }
  if (read.applied_by != nullptr) settings.applied_by = read.applied_by;
  settings.tool_version =
      read.tool_version != nullptr ? std::string(read.tool_version) : fmt::format("GameForge {}", gf_version_text());
  GF_TRY(settings.lock_wait_us, time_or(read.lock_wait_us, settings.lock_wait_us, "lock_wait_us"));
  GF_TRY(settings.lock_timeout_us, time_or(read.lock_timeout_us, settings.lock_timeout_us, "lock_timeout_us"));
  GF_TRY(settings.statement_timeout_us, time_or(read.statement_timeout_us, 0, "statement_timeout_us"));
  if ((read.flags & GF_MIGRATOR_NO_LOCK_RETRIES) != 0) {
    settings.lock_retries = 0;
  } else if (read.lock_retries != 0) {
    // The waits double.
    if (read.lock_retries > 16) {
      return invalid(fmt::format("options->lock_retries is {}; it must be at most 16", read.lock_retries));
    }
    settings.lock_retries = read.lock_retries;
  }
  if (read.hook != nullptr) {
    const auto call = [hook = read.hook, user_data = read.hook_user_data](gf_migration_moment moment) {
      return [hook, user_data, moment](const std::string& label, const std::string& direction) -> Result<void> {
        const auto way = direction == "up" ? GF_MIGRATION_UP : GF_MIGRATION_DOWN;
        const auto answer = hook(user_data, label.c_str(), way, moment);
        if (answer == GF_OK) return success();
        return Error{static_cast<Status>(answer),
                     fmt::format("the hook {} {} {} answered {}", moment == GF_MIGRATION_BEFORE ? "before" : "after",
                                 label, direction, gf_status_name(answer)),
                     {}};
      };
    };
    settings.hooks.before = call(GF_MIGRATION_BEFORE);
    settings.hooks.after = call(GF_MIGRATION_AFTER);
  }
  return success();
}

Result<Goal> read_goal(const gf_migration_goal* given) {
  GF_TRY(const auto read, read_options(given, gf_migration_goal GF_MIGRATION_GOAL_INIT, first_goal_bytes, "goal"));
  if (read.kind > GF_MIGRATION_GOAL_REDO) return unknown_value("goal->kind", read.kind, 0, GF_MIGRATION_GOAL_REDO);
  Goal goal;
  goal.kind = static_cast<Goal::Kind>(read.kind);
  GF_TRY(goal.cascade, truth(read.cascade, "goal->cascade"));
  if (read.version < 0) return invalid(fmt::format("goal->version is {}; it must not be negative", read.version));
  goal.steps = read.steps;
  // 0 is a place to go to, the empty database, only for a rollback.
  if (read.version != 0 || goal.kind == Goal::Kind::rollback_to) goal.version = read.version;
  if (goal.kind == Goal::Kind::rollback && !goal.version) return invalid("goal->version is 0; a rollback names one");
  if (goal.kind == Goal::Kind::rollback_steps) {
    if (read.steps == 0) return invalid("goal->steps is 0; it must be at least 1");
    if (read.version != 0) return invalid(fmt::format("goal->version is {}, beside goal->steps", read.version));
  } else if (read.steps != 0) {
    return invalid(fmt::format("goal->steps is {}, which this kind of goal does not have", read.steps));
  }
  return goal;
}

Result<std::int64_t> positive_version(std::int64_t version) {
  if (version < 1) return invalid(fmt::format("version is {}; it must be at least 1", version));
  return version;
}

Result<void> check_timeout(std::int64_t timeout_us) {
  if (timeout_us < 0) return invalid(fmt::format("timeout_us is {}; it must not be negative", timeout_us));
  return success();
}

gf_status start(gf_migrator* migrator, Work work, const gf_migration_goal* goal = nullptr, std::uint32_t in_place = 0) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(migrators(), migrator, "migrator"));
    Request request;
    request.work = work;
    GF_TRY(request.goal, read_goal(goal));
    GF_TRY(request.in_place, truth(in_place, "in_place"));
    return found->start(std::move(request));
  });
}

gf_migrator_info public_info(const Outcome& outcome) {
  gf_migrator_info info = GF_MIGRATOR_INFO_INIT;
  info.work = static_cast<std::uint32_t>(outcome.work);
  info.running = outcome.running ? 1 : 0;
  info.status = static_cast<std::uint32_t>(outcome.error ? outcome.error->status : Status::ok);
  info.step_count = outcome.steps;
  info.done_count = outcome.done;
  info.drop_count = outcome.drops;
  info.warning_count = outcome.warnings;
  info.problem_count = outcome.problems;
  info.problem_status = static_cast<std::uint32_t>(outcome.problem);
  info.entry_count = static_cast<std::uint32_t>(outcome.entries.size());
  info.pending_count = outcome.pending;
  info.highest_applied = outcome.highest_applied;
  if (outcome.failure) {
    info.line = outcome.failure->line;
    info.column = outcome.failure->column;
    info.statement_number = outcome.failure->statement_number;
  }
  info.waited_us = outcome.waited_us;
  info.check_us = outcome.check_us;
  info.apply_us = outcome.apply_us;
  return info;
}

std::uint32_t public_type(const WorkEvent& event) {
  if (event.ended) return GF_MIGRATION_EVENT_ENDED;
  switch (event.event.type) {
    case EventType::waiting:
      return GF_MIGRATION_EVENT_WAITING;
    case EventType::retrying:
      return GF_MIGRATION_EVENT_RETRYING;
    case EventType::checking:
      return GF_MIGRATION_EVENT_CHECKING;
    case EventType::started:
      return GF_MIGRATION_EVENT_STARTED;
    case EventType::statement:
      return GF_MIGRATION_EVENT_STATEMENT;
    case EventType::finished:
      return GF_MIGRATION_EVENT_FINISHED;
    case EventType::failed:
      return GF_MIGRATION_EVENT_FAILED;
  }
  return 0;
}

gf_migration_event public_event(const WorkEvent& event) {
  gf_migration_event out = GF_MIGRATION_EVENT_INIT;
  out.type = public_type(event);
  if (!event.event.label.empty()) out.direction = event.event.direction == "up" ? GF_MIGRATION_UP : GF_MIGRATION_DOWN;
  out.status = static_cast<std::uint32_t>(event.status);
  out.version = event.event.version;
  out.statement = event.event.statement;
  out.statement_count = event.event.statements;
  out.elapsed_us = event.event.elapsed_us;
  return out;
}

std::string event_text(const migrate::Event& event) {
  if (event.label.empty()) return event.message;
  return event.message.empty() ? event.label : event.label + ": " + event.message;
}

std::uint32_t public_state(std::string_view state) {
  static constexpr std::array<std::string_view, 9> names = {"applied", "pending", "edited",     "changed", "missing",
                                                            "unknown", "late",    "unfinished", "outdated"};
  const auto* const found = std::find(names.begin(), names.end(), state);
  return found == names.end() ? 0 : static_cast<std::uint32_t>(found - names.begin()) + 1;
}

/// Looks at an entry of the status that was read last.
template <class Look>
Result<void> with_entry(gf_migrator* migrator, std::uint32_t index, Look&& look) {
  GF_TRY(const auto found, find(migrators(), migrator, "migrator"));
  return found->outcome([&](const Outcome& outcome) -> Result<void> {
    if (index >= outcome.entries.size()) {
      return Error{
          Status::not_found, fmt::format("index is {}; there are {} entries", index, outcome.entries.size()), {}};
    }
    return look(outcome.entries[index]);
  });
}

}  // namespace
}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_migrator_open(const gf_migrator_options* options, gf_migrator** out_migrator) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_migrator, "out_migrator"));
    Opening opening;
    GF_TRYV(read_migrator_options(options, opening));
    GF_TRY(auto worker, gf::migrate::Worker::open(std::move(opening.settings)));
    *out_migrator = migrators().insert(std::move(worker));
    return gf::success();
  });
}

gf_status gf_migrator_close(gf_migrator* migrator, int64_t timeout_us) {
  return firewall([&]() -> Result<void> {
    if (migrator == nullptr) return gf::success();
    GF_TRY(const auto found, find(migrators(), migrator, "migrator"));
    GF_TRYV(check_timeout(timeout_us));
    auto closed = found->close(timeout_us);
    if (!closed && closed.error().status == Status::wrong_state) return closed;
    if (!migrators().take(migrator)) return no_handle(migrator, "migrator");
    return closed;
  });
}

gf_status gf_migrator_plan(gf_migrator* migrator, const gf_migration_goal* goal) {
  return start(migrator, Work::plan, goal);
}

gf_status gf_migrator_apply(gf_migrator* migrator, const gf_migration_goal* goal) {
  return start(migrator, Work::apply, goal);
}

gf_status gf_migrator_prove(gf_migrator* migrator, const gf_migration_goal* goal, uint32_t in_place) {
  return start(migrator, Work::prove, goal, in_place);
}

gf_status gf_migrator_status(gf_migrator* migrator) { return start(migrator, Work::status); }

gf_status gf_migrator_validate(gf_migrator* migrator) { return start(migrator, Work::validate); }

gf_status gf_migrator_round_trip(gf_migrator* migrator) { return start(migrator, Work::round_trip); }

gf_status gf_migrator_baseline(gf_migrator* migrator, int64_t version) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(migrators(), migrator, "migrator"));
    Request request;
    request.work = Work::baseline;
    GF_TRY(request.version, positive_version(version));
    return found->start(std::move(request));
  });
}

gf_status gf_migrator_repair(gf_migrator* migrator, uint32_t repair, int64_t version, const char* reason) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(migrators(), migrator, "migrator"));
    Request request;
    request.work = Work::repair;
    switch (repair) {
      case GF_MIGRATION_ACCEPT_EDIT:
        request.repair = Repair::accept_edit;
        break;
      case GF_MIGRATION_MARK_APPLIED:
        request.repair = Repair::mark_applied;
        break;
      case GF_MIGRATION_MARK_UNAPPLIED:
        request.repair = Repair::mark_unapplied;
        break;
      default:
        return unknown_value("repair", repair, GF_MIGRATION_ACCEPT_EDIT, GF_MIGRATION_MARK_UNAPPLIED);
    }
    GF_TRY(request.version, positive_version(version));
    if (reason != nullptr) request.reason = reason;
    return found->start(std::move(request));
  });
}

gf_status gf_migrator_dump(gf_migrator* migrator) { return start(migrator, Work::dump); }

gf_status gf_migrator_diff(gf_migrator* migrator) { return start(migrator, Work::diff); }

gf_status gf_migrator_drift(gf_migrator* migrator) { return start(migrator, Work::drift); }

gf_status gf_migrator_cancel(gf_migrator* migrator) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(migrators(), migrator, "migrator"));
    found->cancel();
    return gf::success();
  });
}

gf_status gf_migrator_poll(gf_migrator* migrator, gf_migration_event* out_event, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(migrators(), migrator, "migrator"));
    GF_TRYV(check_out(out_event, first_event_bytes, "out_event"));
    GF_TRYV(check_size(size));
    Result<void> given = gf::success();
    const bool any = found->poll([&](const WorkEvent& event) {
      const auto text = event_text(event.event);
      write_out(out_event, public_event(event));
      given = give_text(text, buffer, size);
      return given.has_value() && buffer != nullptr;
    });
    if (!any) return Error{Status::would_block, "there is no event now", {}};
    return given;
  });
}

gf_status gf_migrator_wait(gf_migrator* migrator, int64_t timeout_us, gf_migrator_info* out_info) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(migrators(), migrator, "migrator"));
    GF_TRYV(check_timeout(timeout_us));
    if (out_info != nullptr) {
      GF_TRYV(check_out(out_info, first_info_bytes, "out_info"));
    }
    GF_TRY(const auto over, found->wait(timeout_us));
    if (out_info != nullptr) write_out(out_info, found->outcome(public_info));
    if (!over) return Error{Status::timed_out, fmt::format("the work still runs after {} us", timeout_us), {}};
    return gf::success();
  });
}

gf_status gf_migrator_report_json(gf_migrator* migrator, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(migrators(), migrator, "migrator"));
    return found->outcome([&](const Outcome& outcome) {
      return give_text(outcome.report.empty() ? std::string_view("{}") : std::string_view(outcome.report), buffer,
                       size);
    });
  });
}

gf_status gf_migrator_error_json(gf_migrator* migrator, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(migrators(), migrator, "migrator"));
    return found->outcome([&](const Outcome& outcome) {
      return give_text(outcome.error ? error_json(*outcome.error) : std::string("{}"), buffer, size);
    });
  });
}

gf_status gf_migrator_entry(gf_migrator* migrator, uint32_t index, gf_migration_entry* out_entry) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_out(out_entry, first_entry_bytes, "out_entry"));
    return with_entry(migrator, index, [&](const StatusEntry& entry) -> Result<void> {
      gf_migration_entry out = GF_MIGRATION_ENTRY_INIT;
      out.state = public_state(entry.state);
      out.version = entry.version;
      out.duration_us = entry.duration_us;
      write_out(out_entry, out);
      return gf::success();
    });
  });
}

gf_status gf_migrator_entry_text(gf_migrator* migrator, uint32_t index, uint32_t which, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    return with_entry(migrator, index, [&](const StatusEntry& entry) -> Result<void> {
      switch (which) {
        case GF_MIGRATION_TEXT_LABEL:
          return give_text(entry.label, buffer, size);
        case GF_MIGRATION_TEXT_APPLIED_AT:
          return give_text(entry.applied_at, buffer, size);
        case GF_MIGRATION_TEXT_APPLIED_BY:
          return give_text(entry.applied_by, buffer, size);
        case GF_MIGRATION_TEXT_ORIGIN:
          return give_text(entry.origin, buffer, size);
        case GF_MIGRATION_TEXT_DETAIL:
          return give_text(entry.detail, buffer, size);
        default:
          return unknown_value("which", which, GF_MIGRATION_TEXT_LABEL, GF_MIGRATION_TEXT_DETAIL);
      }
    });
  });
}

gf_status gf_migration_create(const char* folder, const char* name, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto where, needed_text(folder, "folder"));
    GF_TRY(const auto what, needed_text(name, "name"));
    const std::string in(where);
    GF_TRY(const auto next, gf::migrate::Migrator::next_path(in, what, gf::system_clock()));
    // The room is looked at first: a file whose name could not be told must not be made.
    if (buffer == nullptr || *size < next.size() + 1) return give_text(next, buffer, size);
    GF_TRY(const auto made, gf::migrate::Migrator::create(in, what, gf::system_clock()));
    return give_text(made, buffer, size);
  });
}

}  // extern "C"
