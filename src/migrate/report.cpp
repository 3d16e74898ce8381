// Reports as JSON.
#include "base/error_json.hpp"
#include "base/json_text.hpp"
#include "migrate/migrate.hpp"

#include <utility>

namespace gf::migrate {
namespace {

void write(JsonText& out, const std::vector<Remark>& list) {
  out.begin_array();
  for (const auto& one : list) {
    out.begin_object().member("file", one.file).member("line", one.place.line).member("column", one.place.column);
    out.member("rule", one.rule).member("message", one.message).end_object();
  }
  out.end_array();
}

void write(JsonText& out, const std::vector<SchemaDifference>& list) {
  out.begin_array();
  for (const auto& one : list) {
    out.begin_object().member("kind", one.kind).member("name", one.name);
    out.member("expected", one.expected).member("found", one.found).end_object();
  }
  out.end_array();
}

void write(JsonText& out, const StepReport& step) {
  out.begin_object().member("migration", step.label).member("version", step.version);
  out.member("direction", step.direction).member("file", step.file).member("reason", step.reason);
  out.member("transaction", step.transaction);
  out.member("statements", step.statements).member("drops", step.drops);
  write(out.key("warnings"), step.warnings);
  out.member("done", step.done).member("duration_us", step.duration_us);
  out.member("locks", step.locks);
  write(out.key("changes"), step.changes);
  out.end_object();
}

void write(JsonText& out, const FailureReport& failure) {
  out.begin_object().member("migration", failure.label).member("file", failure.file);
  out.member("line", failure.line).member("column", failure.column);
  out.member("statement_number", failure.statement_number).member("statement", failure.statement);
  out.member("code", failure.code).member("message", failure.message).member("detail", failure.detail);
  out.member("hint", failure.hint).member("advice", failure.advice).end_object();
}

}  // namespace

std::string to_json(const std::vector<SchemaDifference>& differences) {
  JsonText out;
  write(out.begin_object().key("differences"), differences);
  return std::move(out.end_object()).str();
}

std::string to_json(const Report& report) {
  JsonText out;
  out.begin_object().key("steps").begin_array();
  for (const auto& step : report.steps) write(out, step);
  out.end_array();
  out.member("warnings", report.warnings);
  out.member("waited_us", report.waited_us).member("check_us", report.check_us).member("apply_us", report.apply_us);
  out.member("unchanged", report.unchanged);
  write(out.key("changes"), report.changes);
  if (report.failure) write(out.key("failure"), *report.failure);
  return std::move(out.end_object()).str();
}

std::string to_json(const StatusReport& report) {
  JsonText out;
  out.begin_object().member("database", report.url).member("highest_applied", report.highest_applied);
  out.member("pending", report.pending).member("problems", report.problems);
  out.key("migrations").begin_array();
  for (const auto& entry : report.entries) {
    out.begin_object().member("migration", entry.label).member("version", entry.version);
    out.member("state", entry.state).member("applied_at", entry.applied_at).member("applied_by", entry.applied_by);
    out.member("origin", entry.origin).member("duration_us", entry.duration_us).member("detail", entry.detail);
    out.end_object();
  }
  return std::move(out.end_array().end_object()).str();
}

std::string to_json(const ValidateReport& report) {
  JsonText out;
  out.begin_object().member("checked", report.checked).key("errors").begin_array();
  for (const auto& error : report.errors) write_cause(out, error.status, error.message);
  out.end_array();
  write(out.key("warnings"), report.warnings);
  write(out.key("drift"), report.drift);
  return std::move(out.end_object()).str();
}

}  // namespace gf::migrate
