// What has to be done to get from the records to a goal, or why that is refused.
#pragma once

#include "migrate/migrate.hpp"

#include <optional>
#include <string>
#include <vector>

namespace gf::migrate {

/// One migration in one direction, ready to run.
struct Step {
  const Migration* migration = nullptr;       ///< Null when the file is gone and the record alone says how to undo it.
  std::shared_ptr<const Migration> recorded;  ///< Then this: made from the record, shared with copies of the step.
  std::optional<Record> record;               ///< Down: what is undone. Up: what is resumed.
  std::string direction;
  std::string reason;
  bool resume = false;
  Section section;
  Section verify;

  const Migration& text() const { return migration != nullptr ? *migration : *recorded; }
  std::string label() const { return record && direction == "down" ? record->label : text().label(); }
};

struct Plan {
  std::vector<Step> steps;
  std::vector<std::string> warnings;
};

/// What the planner looks at. All borrowed for the call.
struct PlanInput {
  const Settings& settings;
  const std::vector<Migration>& migrations;
  const std::vector<std::size_t>& order;
  const History& history;
  sql::Connection& connection;  ///< For the recorded text of what is undone.
};

/// Errors: checksum_mismatch (changed), not_found (missing file, unknown version), schema_too_new, wrong_state (late,
/// unfinished, irreversible, dependents), syntax_error.
Result<Plan> make_plan(const PlanInput& input, const Goal& goal);

/// One migration by itself, for scratch databases: `record` is what is undone, or null to go up.
Result<Step> single_step(const PlanInput& input, const Migration& migration, const Record* record);

/// The statuses of all migrations, the problems among them first found by make_plan too.
std::vector<StatusEntry> make_status(const PlanInput& input);

/// The sums of a section's statements, one line each: what a resumed run compares.
std::vector<std::string> statement_sums(const Section& section);

/// What undoes a migration, as a text that parse_files reads: kept with the record.
std::string down_text_for_record(const Migration& migration, const Section& down);

}  // namespace gf::migrate
