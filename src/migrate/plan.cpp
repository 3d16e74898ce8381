#include "migrate/plan.hpp"

#include "base/sha256.hpp"
#include "migrate/graph.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

namespace gf::migrate {
namespace {

Error refuse(Status status, std::string message) { return {status, std::move(message), {}}; }

/// Everything that is asked of the files and the records more than once.
struct View {
  const PlanInput& in;
  sql::Dialect dialect;
  std::unordered_map<std::int64_t, const Migration*> files;
  std::int64_t highest_file = 0;

  explicit View(const PlanInput& input) : in(input), dialect(input.connection.dialect()) {
    for (const auto& migration : in.migrations) {
      if (migration.repeatable) continue;
      files.emplace(migration.version, &migration);
      highest_file = std::max(highest_file, migration.version);
    }
  }

  const Migration* file(std::int64_t version) const {
    const auto found = files.find(version);
    return found == files.end() ? nullptr : found->second;
  }

  /// "applied", "edited", "changed", "missing" or "unknown".
  std::string judge(const Record& record) const {
    const Migration* migration = file(record.version);
    if (migration == nullptr) return record.version > highest_file ? "unknown" : "missing";
    if (record.origin == "baseline" && record.checksum.empty()) return "applied";
    if (migration->name != record.name) return "changed";
    if (migration->checksum == record.checksum) return "applied";
    const auto recorded =
        record.token_sum.empty() ? recorded_token_sum(in.connection, record.id) : Result<std::string>(record.token_sum);
    return recorded && migration->token_sum(dialect) == recorded.value() ? "edited" : "changed";
  }

  std::vector<const Migration*> late() const {
    std::vector<const Migration*> out;
    std::vector<const Migration*> pending;
    for (const auto index : in.order) {
      const auto& migration = in.migrations[index];
      if (in.history.find(migration.version) != nullptr) {
        out.insert(out.end(), pending.begin(), pending.end());
        pending.clear();
      } else {
        pending.push_back(&migration);
      }
    }
    return out;
  }
};

Result<void> check_history(const View& view, std::vector<std::string>& warnings) {
  std::vector<std::string> unknown;
  bool compatible = true;
  for (const auto index : view.in.history.applied) {
    const auto& record = view.in.history.rows[index];
    const auto state = view.judge(record);
    if (state == "unknown") {
      unknown.push_back(record.label);
      compatible = compatible && record.compatible_back_to && *record.compatible_back_to <= view.highest_file;
    } else if (state == "missing") {
      return refuse(
          Status::not_found,
          fmt::format("{} was applied at {}, and its file is gone; put it back, or say `repair --mark-unapplied {}`",
                      record.label, record.applied_at, record.version));
    } else if (state == "changed") {
      const Migration& migration = *view.file(record.version);
      if (migration.name != record.name) {
        return refuse(
            Status::checksum_mismatch,
            fmt::format("{}:1:1: version {} was applied as {}; rename the file, or say `repair --accept-edit {}`",
                        migration.file, migration.version_text, record.label, record.version));
      }
      return refuse(
          Status::checksum_mismatch,
          fmt::format(
              "{}:1:1: it was changed after it had been applied at {} (recorded {}, now {}); put the change into a new "
              "migration, or say `repair --accept-edit {}`",
              migration.file, record.applied_at, record.checksum, migration.checksum, record.version));
    } else if (state == "edited") {
      warnings.push_back(fmt::format("{}: comments or blanks were changed after it had been applied", record.label));
    }
  }
  if (unknown.empty()) return success();
  if (!compatible) {
    return refuse(
        Status::schema_too_new,
        fmt::format("the database has {}, which this program does not know (its newest is {}); use the program that "
                    "made it, or a newer one",
                    fmt::join(unknown, ", "), view.highest_file));
  }
  warnings.push_back(fmt::format("the database is newer ({}) and says that it is compatible with this program",
                                 fmt::join(unknown, ", ")));
  return success();
}

Result<Step> up_step(const View& view, const Migration& migration, std::string reason) {
  Step step;
  step.migration = &migration;
  step.direction = "up";
  step.reason = std::move(reason);
  GF_TRY(step.section, migration.up(view.dialect, view.in.settings.variables));
  GF_TRY(step.verify, migration.verify(view.dialect, view.in.settings.variables));
  return step;
}

Result<Step> down_step(const View& view, const Record& record, std::string reason) {
  Step step;
  step.record = record;
  step.direction = "down";
  step.reason = std::move(reason);
  if (record.irreversible) {
    return refuse(Status::wrong_state, fmt::format("{} is irreversible, as its file says", record.label));
  }
  step.migration = view.file(record.version);
  GF_TRY(const auto kept, recorded_down(view.in.connection, record.id));
  // The text that was recorded belongs to what was applied; a file that was edited since may not.
  const bool same = step.migration != nullptr && (step.migration->checksum == record.checksum || kept.empty());
  if (!same) {
    if (kept.empty()) {
      return refuse(Status::not_found,
                    fmt::format("{} has no file any more, and no down section was recorded", record.label));
    }
    GF_TRY(auto parsed, parse_files({{record.label + ".sql", kept}}));
    step.migration = nullptr;
    step.recorded = std::make_shared<const Migration>(std::move(parsed.at(0)));
  }
  GF_TRY(step.section, step.text().down(view.dialect, view.in.settings.variables));
  if (!step.section.present) {
    return refuse(Status::wrong_state,
                  fmt::format("{} has no down section; nothing says how to undo it", step.text().file));
  }
  return step;
}

Result<Plan> plan_up(const View& view, const Goal& goal, Plan plan) {
  const auto& history = view.in.history;
  GF_TRYV(check_history(view, plan.warnings));
  if (goal.version && *goal.version != 0 && view.file(*goal.version) == nullptr &&
      history.find(*goal.version) == nullptr) {
    return refuse(Status::not_found, fmt::format("there is no migration {} to go to", *goal.version));
  }
  if (const auto late = view.late(); !late.empty() && !view.in.settings.allow_out_of_order) {
    std::vector<std::string> names;
    for (const auto* migration : late) {
      // What the one unfinished migration left open is no late arrival.
      if (history.unfinished && history.rows[*history.unfinished].label == migration->label()) continue;
      names.push_back(migration->label());
    }
    if (!names.empty()) {
      return refuse(Status::wrong_state,
                    fmt::format("{} came late: what should follow is applied already; give it a higher version, or say "
                                "--allow-out-of-order",
                                fmt::join(names, ", ")));
    }
  }
  // With a target: that version and below, and whatever those depend on.
  std::set<std::int64_t> wanted;
  if (goal.version) {
    for (const auto& migration : view.in.migrations) {
      if (!migration.repeatable && migration.version <= *goal.version) wanted.insert(migration.version);
    }
    for (bool grown = true; grown;) {
      grown = false;
      for (const auto version : std::vector<std::int64_t>(wanted.begin(), wanted.end())) {
        for (const auto needed : view.file(version)->header.depends) grown = wanted.insert(needed).second || grown;
      }
    }
  }
  for (const auto index : view.in.order) {
    const auto& migration = view.in.migrations[index];
    if (history.find(migration.version) != nullptr) continue;
    if (goal.version && !wanted.contains(migration.version)) continue;
    GF_TRY(auto step, up_step(view, migration, "pending"));
    plan.steps.push_back(std::move(step));
  }
  if (goal.version) return plan;
  for (const auto& migration : view.in.migrations) {
    if (!migration.repeatable) continue;
    const auto last = history.repeatable.find(migration.name);
    if (last != history.repeatable.end() && history.rows[last->second].checksum == migration.checksum) continue;
    GF_TRY(auto step, up_step(view, migration, last == history.repeatable.end() ? "pending" : "changed"));
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

Result<Plan> plan_down(const View& view, const Goal& goal, Plan plan) {
  const auto& history = view.in.history;
  std::vector<AppliedNode> nodes;
  for (const auto index : history.applied) {
    const auto& record = history.rows[index];
    nodes.push_back({record.version, record.declares_depends, record.depends});
  }
  const auto need_applied = [&](std::int64_t version) -> Result<void> {
    if (history.find(version) != nullptr) return success();
    return refuse(Status::not_found, fmt::format("migration {} is not applied", version));
  };
  std::vector<std::pair<std::int64_t, std::string>> undo;  // In the order in which they were applied.
  switch (goal.kind) {
    case Goal::Kind::rollback:
    case Goal::Kind::redo: {
      std::int64_t version = 0;
      if (goal.version) {
        version = *goal.version;
      } else if (!nodes.empty() && goal.kind == Goal::Kind::redo) {
        version = nodes.back().version;
      } else {
        return refuse(Status::invalid_argument, "which migration? say its version, --to V or --steps N");
      }
      GF_TRYV(need_applied(version));
      const auto dependents = dependents_of(version, nodes);
      if (!dependents.empty() && !goal.cascade) {
        std::vector<std::string> names;
        names.reserve(dependents.size());
        for (const auto dependent : dependents) names.push_back(history.find(dependent)->label);
        return refuse(Status::wrong_state,
                      fmt::format("{} cannot be undone before what depends on it: {}; --cascade undoes them first",
                                  history.find(version)->label, fmt::join(names, ", ")));
      }
      undo.emplace_back(version, goal.kind == Goal::Kind::redo ? "redo" : "rollback");
      for (const auto dependent : dependents) {
        undo.emplace_back(dependent, fmt::format("depends on {}", history.find(version)->label));
      }
      break;
    }
    case Goal::Kind::rollback_to: {
      if (!goal.version) return refuse(Status::invalid_argument, "to which version? --to names the one that stays");
      bool after = *goal.version == 0;
      if (!after) {
        GF_TRYV(need_applied(*goal.version));
      }
      for (const auto& node : nodes) {
        if (after) undo.emplace_back(node.version, "rollback");
        if (node.version == *goal.version) after = true;
      }
      break;
    }
    case Goal::Kind::rollback_steps: {
      if (goal.steps == 0) return refuse(Status::invalid_argument, "steps is 0; it is how many migrations are undone");
      const auto count = std::min<std::uint64_t>(goal.steps, nodes.size());
      for (std::size_t i = nodes.size() - count; i < nodes.size(); ++i) undo.emplace_back(nodes[i].version, "rollback");
      break;
    }
    case Goal::Kind::up:
      break;
  }
  for (auto it = undo.rbegin(); it != undo.rend(); ++it) {
    GF_TRY(auto step, down_step(view, *history.find(it->first), it->second));
    plan.steps.push_back(std::move(step));
  }
  if (goal.kind != Goal::Kind::redo) return plan;
  for (const auto& [version, reason] : undo) {
    const Migration* migration = view.file(version);
    if (migration == nullptr) {
      return refuse(Status::not_found,
                    fmt::format("{} has no file any more, so it cannot be done again", history.find(version)->label));
    }
    GF_TRY(auto step, up_step(view, *migration, "redo"));
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

/// A migration outside a transaction that stopped in the middle comes before all else.
Result<std::optional<Step>> unfinished_step(const View& view, const Goal& goal) {
  const auto& history = view.in.history;
  if (!history.unfinished) return std::optional<Step>();
  const auto& record = history.rows[*history.unfinished];
  const bool going_up = goal.kind == Goal::Kind::up;
  const auto ways =
      fmt::format("`repair --mark-applied {0}` or `--mark-unapplied {0}` settle it by hand", record.version);
  if (record.direction == "up" && going_up) {
    const Migration* migration = nullptr;
    for (const auto& candidate : view.in.migrations) {
      if (candidate.label() == record.label) migration = &candidate;
    }
    if (migration == nullptr) {
      return refuse(Status::not_found,
                    fmt::format("{} stopped in the middle, and its file is gone; {}", record.label, ways));
    }
    GF_TRY(auto step, up_step(view, *migration, "resume"));
    step.record = record;
    step.resume = true;
    return std::optional<Step>(std::move(step));
  }
  if (record.direction == "down" && !going_up && history.find(record.version) != nullptr) {
    GF_TRY(auto step, down_step(view, *history.find(record.version), "resume"));
    step.record = record;
    step.resume = true;
    return std::optional<Step>(std::move(step));
  }
  if (record.direction == "up" && goal.kind == Goal::Kind::rollback && goal.version == record.version) {
    // Undo what is half done: the down section runs against it.
    GF_TRY(auto step, down_step(view, record, "rollback"));
    return std::optional<Step>(std::move(step));
  }
  return refuse(
      Status::wrong_state,
      fmt::format("{} stopped in the middle of its {} part ({} statements done){}; {} it first: {}", record.label,
                  record.direction, record.statements_done, record.note.empty() ? "" : ": " + record.note,
                  record.direction == "up" ? "run" : "roll back", ways));
}

}  // namespace

std::vector<std::string> statement_sums(const Section& section) {
  std::vector<std::string> sums;
  for (const auto& statement : section.statements) sums.push_back(sha256_hex(statement.text).substr(0, 32));
  return sums;
}

std::string down_text_for_record(const Migration& migration, const Section& down) {
  if (!down.present) return "";
  std::string text;
  if (!migration.header.transaction) text += "-- gameforge: transaction: off\n";
  if (!migration.header.foreign_keys) text += "-- gameforge: foreign-keys: off\n";
  text += "-- gameforge: down\n";
  for (const auto& statement : down.statements) text += statement.text + "\n;\n";
  return text;
}

Result<Plan> make_plan(const PlanInput& input, const Goal& goal) {
  const View view(input);
  Plan plan;
  GF_TRY(auto unfinished, unfinished_step(view, goal));
  if (unfinished) {
    const bool undoes = unfinished->direction == "down" && !unfinished->resume;
    plan.steps.push_back(std::move(*unfinished));
    if (undoes) return plan;
    // What follows is planned against the records as they will be.
    History after = input.history;
    const auto& record = after.rows[*after.unfinished];
    if (record.direction == "up") {
      // The file may have changed behind what is done; whether it may is judged when it is resumed.
      auto& resumed = after.rows[*after.unfinished];
      resumed.checksum = plan.steps.front().text().checksum;
      resumed.name = plan.steps.front().text().name;
    }
    if (record.direction == "up" && record.version != 0) {
      after.by_version[record.version] = *after.unfinished;
      after.applied.push_back(*after.unfinished);
    }
    if (record.direction == "down") {
      const auto gone = after.by_version.find(record.version);
      std::erase(after.applied, gone->second);
      after.by_version.erase(gone);
      // The rollback that was asked for was this one's, or reaches further by the same rule.
      if (goal.version == record.version && goal.kind == Goal::Kind::rollback) return plan;
    }
    after.unfinished.reset();
    const PlanInput next{input.settings, input.migrations, input.order, after, input.connection};
    GF_TRY(auto rest, make_plan(next, goal));
    for (auto& step : rest.steps) {
      if (step.label() == plan.steps.front().label() && step.direction == plan.steps.front().direction) continue;
      plan.steps.push_back(std::move(step));
    }
    plan.warnings = std::move(rest.warnings);
    return plan;
  }
  return goal.kind == Goal::Kind::up ? plan_up(view, goal, std::move(plan)) : plan_down(view, goal, std::move(plan));
}

Result<Step> single_step(const PlanInput& input, const Migration& migration, const Record* record) {
  const View view(input);
  return record == nullptr ? up_step(view, migration, "scratch") : down_step(view, *record, "scratch");
}

std::vector<StatusEntry> make_status(const PlanInput& input) {
  const View view(input);
  const auto& history = input.history;
  std::vector<StatusEntry> entries;
  const auto from_record = [](const Record& record, std::string state) {
    return StatusEntry{record.label,      record.version, std::move(state),   record.applied_at,
                       record.applied_by, record.origin,  record.duration_us, ""};
  };
  for (const auto index : history.applied) {
    const auto& record = history.rows[index];
    auto entry = from_record(record, view.judge(record));
    if (entry.state == "changed" || entry.state == "edited") {
      entry.detail = fmt::format("recorded {}, now {}", record.checksum, view.file(record.version)->checksum);
    }
    entries.push_back(std::move(entry));
  }
  const auto late = view.late();
  for (const auto index : input.order) {
    const auto& migration = input.migrations[index];
    if (history.find(migration.version) != nullptr) continue;
    StatusEntry entry;
    entry.label = migration.label();
    entry.version = migration.version;
    entry.state = std::find(late.begin(), late.end(), &migration) != late.end() ? "late" : "pending";
    entries.push_back(std::move(entry));
  }
  for (const auto& migration : input.migrations) {
    if (!migration.repeatable) continue;
    const auto last = history.repeatable.find(migration.name);
    if (last == history.repeatable.end()) {
      StatusEntry entry;
      entry.label = migration.label();
      entry.state = "pending";
      entries.push_back(std::move(entry));
    } else {
      const auto& record = history.rows[last->second];
      entries.push_back(from_record(record, record.checksum == migration.checksum ? "applied" : "outdated"));
    }
  }
  if (history.unfinished) {
    const auto& record = history.rows[*history.unfinished];
    auto found =
        std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.label == record.label; });
    if (found == entries.end()) found = entries.insert(entries.end(), from_record(record, ""));
    found->state = "unfinished";
    found->detail = fmt::format("{}: {} statements done{}", record.direction, record.statements_done,
                                record.note.empty() ? "" : "; " + record.note);
  }
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    if ((a.version == 0) != (b.version == 0)) return b.version == 0;
    return a.version < b.version;
  });
  return entries;
}

}  // namespace gf::migrate
