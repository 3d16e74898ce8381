// What a runner tells and records: events, errors with their places, rows.
#include "migrate/runner.hpp"

#include <fmt/format.h>

namespace gf::migrate {
std::string_view name_of(EventType type) {
  switch (type) {
    case EventType::waiting:
      return "waiting";
    case EventType::retrying:
      return "retrying";
    case EventType::checking:
      return "checking";
    case EventType::started:
      return "started";
    case EventType::statement:
      return "statement";
    case EventType::finished:
      return "finished";
    case EventType::failed:
      return "failed";
  }
  return "unknown";
}

void Runner::tell(EventType type, const Step* step, std::uint64_t statement, std::int64_t elapsed_us,
                  std::string message) const {
  if (!settings_.hooks.progress) return;
  Event event;
  event.type = type;
  if (step != nullptr) {
    event.label = step->label();
    event.version = step->record && step->direction == "down" ? step->record->version : step->text().version;
    event.direction = step->direction;
    event.statements = step->section.statements.size();
  }
  event.statement = statement;
  event.elapsed_us = elapsed_us;
  event.message = std::move(message);
  settings_.hooks.progress(event);
}

Record Runner::record_of(const Step& step, std::string state) const {
  Record record;
  const auto& text = step.text();
  if (step.direction == "down") {
    record = *step.record;
    record.objects.clear();
    record.statement_sums.clear();
    record.in_flight.clear();
    record.note.clear();
    record.statements_done = 0;
  } else {
    record.version = text.version;
    record.name = text.name;
    record.label = text.label();
    record.checksum = text.checksum;
    record.token_sum = text.token_sum(connection_.dialect());
    record.declares_depends = text.header.declares_depends;
    record.depends = text.header.depends;
    record.compatible_back_to = text.header.compatible_back_to;
    record.irreversible = text.header.irreversible;
  }
  record.direction = step.direction;
  record.state = std::move(state);
  record.origin = "run";
  record.applied_at = utc_text(settings_.clock->unix_us());
  record.applied_by = by_;
  record.tool_version = settings_.tool_version;
  return record;
}

StepReport& Runner::report_of(const Step& step, Report& report) const {
  const auto label = step.label();
  // Steps come in the report's order, so it is mostly the one behind the last.
  const auto is_it = [&](const StepReport& one) { return one.direction == step.direction && one.label == label; };
  for (std::size_t i = report_hint_; i < report.steps.size() && i < report_hint_ + 2; ++i) {
    if (!is_it(report.steps[i])) continue;
    report_hint_ = i;
    return report.steps[i];
  }
  for (std::size_t i = 0; i < report.steps.size(); ++i) {
    if (!is_it(report.steps[i])) continue;
    report_hint_ = i;
    return report.steps[i];
  }
  auto& added = report.steps.emplace_back();
  added.label = label;
  added.direction = step.direction;
  added.file = step.section.file;
  return added;
}

Error Runner::failed(const Step& step, Error error, Report& report, const std::string& advice) const {
  if (!report.failure) {
    report.failure.emplace();
    report.failure->message = error.message;
  }
  report.failure->label = step.label();
  if (report.failure->file.empty()) report.failure->file = step.section.file;
  report.failure->advice = advice;
  if (!advice.empty()) error.message += "; " + advice;
  tell(EventType::failed, &step, report.failure->statement_number, 0, error.message);
  return error;
}

// What the database said of a statement, with its place in the file.
Error Runner::statement_error(const Step&, const Section& section, std::size_t index, Report& report) const {
  const auto& failure = connection_.failure();
  const auto& statement = section.statements[index];
  const auto place = section.place_in(statement, failure.offset.value_or(0));
  std::string words = fmt::format("{} {}{}", section.prefix(place), describe(index, statement.text), failure.message);
  if (!failure.code.empty()) words += fmt::format(" [{}]", failure.code);
  if (!failure.detail.empty()) words += "; " + failure.detail;
  if (!failure.hint.empty()) words += "; hint: " + failure.hint;
  report.failure = FailureReport{"",           section.file,    place.line,     place.column, index + 1, statement.text,
                                 failure.code, failure.message, failure.detail, failure.hint, ""};
  return Error{failure.status, words, {}};
}

void describe_plan(const Plan& plan, sql::Dialect dialect, Report& report) {
  report.steps.clear();
  std::set<std::string> made;
  for (const auto& step : plan.steps) {
    auto& told = report.steps.emplace_back();
    told.label = step.label();
    told.version = step.direction == "down" && step.record ? step.record->version : step.text().version;
    told.direction = step.direction;
    told.file = step.section.file;
    told.reason = step.reason;
    told.transaction = step.text().header.transaction;
    for (const auto& statement : step.section.statements) {
      told.statements.push_back(statement.text);
      if (auto drops = traits_of(statement.text, dialect).drops; !drops.empty()) told.drops.push_back(std::move(drops));
    }
    if (step.direction == "up") told.warnings = lint(step.section, told.transaction, dialect, made);
  }
  report.warnings.insert(report.warnings.end(), plan.warnings.begin(), plan.warnings.end());
}

}  // namespace gf::migrate
