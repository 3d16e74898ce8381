// Reports as JSON.
#include "migrate/migrate.hpp"

namespace gf::migrate {
namespace {

Json remark(const Remark& one) {
  return {{"file", one.file},
          {"line", one.place.line},
          {"column", one.place.column},
          {"rule", one.rule},
          {"message", one.message}};
}

Json remarks(const std::vector<Remark>& list) {
  Json out = Json::array();
  for (const auto& one : list) out.push_back(remark(one));
  return out;
}

}  // namespace

Json to_json(const std::vector<SchemaDifference>& differences) {
  Json out = Json::array();
  for (const auto& one : differences) {
    out.push_back({{"kind", one.kind}, {"name", one.name}, {"expected", one.expected}, {"found", one.found}});
  }
  return out;
}

Json to_json(const Report& report) {
  Json steps = Json::array();
  for (const auto& step : report.steps) {
    steps.push_back({{"migration", step.label},
                     {"version", step.version},
                     {"direction", step.direction},
                     {"file", step.file},
                     {"reason", step.reason},
                     {"transaction", step.transaction},
                     {"statements", step.statements},
                     {"drops", step.drops},
                     {"warnings", remarks(step.warnings)},
                     {"done", step.done},
                     {"duration_us", step.duration_us},
                     {"locks", step.locks},
                     {"changes", to_json(step.changes)}});
  }
  Json out = {{"steps", steps},
              {"warnings", report.warnings},
              {"waited_us", report.waited_us},
              {"check_us", report.check_us},
              {"apply_us", report.apply_us},
              {"unchanged", report.unchanged},
              {"changes", to_json(report.changes)}};
  if (report.failure) {
    const auto& failure = *report.failure;
    out["failure"] = {{"migration", failure.label},
                      {"file", failure.file},
                      {"line", failure.line},
                      {"column", failure.column},
                      {"statement_number", failure.statement_number},
                      {"statement", failure.statement},
                      {"code", failure.code},
                      {"message", failure.message},
                      {"detail", failure.detail},
                      {"hint", failure.hint},
                      {"advice", failure.advice}};
  }
  return out;
}

Json to_json(const StatusReport& report) {
  Json entries = Json::array();
  for (const auto& entry : report.entries) {
    entries.push_back({{"migration", entry.label},
                       {"version", entry.version},
                       {"state", entry.state},
                       {"applied_at", entry.applied_at},
                       {"applied_by", entry.applied_by},
                       {"origin", entry.origin},
                       {"duration_us", entry.duration_us},
                       {"detail", entry.detail}});
  }
  return {{"database", report.url},
          {"highest_applied", report.highest_applied},
          {"pending", report.pending},
          {"problems", report.problems},
          {"migrations", entries}};
}

Json to_json(const ValidateReport& report) {
  Json errors = Json::array();
  for (const auto& error : report.errors) {
    const auto* entry = find_status(static_cast<std::int32_t>(error.status));
    errors.push_back({{"status", static_cast<std::int32_t>(error.status)},
                      {"name", entry != nullptr ? entry->name : "unknown"},
                      {"message", error.message}});
  }
  return {{"checked", report.checked},
          {"errors", errors},
          {"warnings", remarks(report.warnings)},
          {"drift", to_json(report.drift)}};
}

}  // namespace gf::migrate
