// gameforge_migrate_host VERB URL FOLDER [ARGUMENT...]: one call of the room in a process of its own, for the tests
// that kill it, start twenty of it, or time it. Prints one JSON object.
#include "migrate/migrate.hpp"

#include "base/json.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using gf::migrate::Goal;

int finish(const gf::Result<void>& result, const gf::migrate::Report& report) {
  gf::Json out = gf::Json::parse(gf::migrate::to_json(report));
  if (!result)
    out["error"] = {{"status", static_cast<int>(result.error().status)}, {"message", result.error().message}};
  std::printf("%s\n", gf::to_text(out).c_str());
  return result ? 0 : static_cast<int>(result.error().status) / 100;
}

struct Arguments {
  std::vector<std::string> rest;
  const char* after(const char* name) const {
    for (std::size_t i = 0; i + 1 < rest.size(); ++i) {
      if (rest[i] == name) return rest[i + 1].c_str();
    }
    return nullptr;
  }
  bool has(const char* name) const {
    for (const auto& one : rest) {
      if (one == name) return true;
    }
    return false;
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 1;
  const std::string verb = argv[1];
  Arguments arguments;
  for (int i = 4; i < argc; ++i) arguments.rest.emplace_back(argv[i]);
  gf::migrate::Settings settings;
  settings.url = argv[2];
  settings.folder = argv[3];
  settings.tool_version = "test";
  settings.allow_out_of_order = arguments.has("--allow-out-of-order");
  settings.all_or_nothing = arguments.has("--all-or-nothing");
  settings.checks = !arguments.has("--no-checks");
  if (const char* wait = arguments.after("--lock-wait-us")) settings.lock_wait_us = std::atoll(wait);
  // Kills itself at the N-th event: at a statement's boundary, exactly.
  const char* kill_at = arguments.after("--kill-at");
  const long kill_after = kill_at != nullptr ? std::atol(kill_at) : -1;
  long events = 0;
  if (kill_after >= 0) {
    settings.hooks.progress = [&](const gf::migrate::Event&) {
      if (events++ == kill_after) std::raise(SIGKILL);
    };
  }
  auto migrator = gf::migrate::Migrator::open(settings);
  gf::migrate::Report report;
  if (!migrator) return finish(migrator.error(), report);
  Goal goal;
  if (const char* to = arguments.after("--to")) goal.version = std::atoll(to);
  if (verb == "run") return finish(migrator.value().apply(goal, report), report);
  if (verb == "rollback") {
    goal.kind = goal.version ? Goal::Kind::rollback_to : Goal::Kind::rollback;
    if (const char* version = arguments.after("--version")) goal.version = std::atoll(version);
    goal.cascade = arguments.has("--cascade");
    return finish(migrator.value().apply(goal, report), report);
  }
  if (verb == "prove") return finish(migrator.value().prove(goal, arguments.has("--in-place"), report), report);
  if (verb == "status") {
    const auto status = migrator.value().status();
    if (!status) return finish(status.error(), report);
    std::printf("%s\n", gf::migrate::to_json(status.value()).c_str());
    return 0;
  }
  if (verb == "round-trip") {
    const auto trip = migrator.value().round_trip();
    if (!trip) return finish(trip.error(), report);
    std::printf("%s\n", gf::migrate::to_json(trip.value()).c_str());
    return trip.value().errors.empty() ? 0 : 4;
  }
  if (verb == "dump") {
    const auto dump = migrator.value().dump();
    if (!dump) return finish(dump.error(), report);
    std::printf("%s", dump.value().c_str());
    return 0;
  }
  return 1;
}
