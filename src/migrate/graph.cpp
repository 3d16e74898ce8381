#include "migrate/graph.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <queue>
#include <unordered_map>

namespace gf::migrate {

Result<std::vector<std::size_t>> order_of(const std::vector<Migration>& migrations) {
  std::unordered_map<std::int64_t, std::size_t> by_version;
  for (std::size_t i = 0; i < migrations.size(); ++i) {
    if (!migrations[i].repeatable) by_version.emplace(migrations[i].version, i);
  }
  std::vector<std::size_t> waiting(migrations.size(), 0);
  std::vector<std::vector<std::size_t>> followers(migrations.size());
  for (const auto& [version, index] : by_version) {
    for (const auto wanted : migrations[index].header.depends) {
      const auto found = by_version.find(wanted);
      if (found == by_version.end()) {
        return Error{Status::not_found,
                     fmt::format("{}:1:1: it depends on {}, which is not there", migrations[index].file, wanted),
                     {}};
      }
      followers[found->second].push_back(index);
      ++waiting[index];
    }
  }
  const auto later = [&](std::size_t a, std::size_t b) { return migrations[a].version > migrations[b].version; };
  std::priority_queue<std::size_t, std::vector<std::size_t>, decltype(later)> ready(later);
  for (const auto& [version, index] : by_version) {
    if (waiting[index] == 0) ready.push(index);
  }
  std::vector<std::size_t> order;
  order.reserve(by_version.size());
  while (!ready.empty()) {
    const auto index = ready.top();
    ready.pop();
    order.push_back(index);
    for (const auto next : followers[index]) {
      if (--waiting[next] == 0) ready.push(next);
    }
  }
  if (order.size() == by_version.size()) return order;

  // What is left waits for a cycle: from the smallest such version, follow dependencies that wait too until one
  // repeats.
  std::size_t at = migrations.size();
  for (const auto& [version, index] : by_version) {
    if (waiting[index] > 0 && (at == migrations.size() || migrations[index].version < migrations[at].version))
      at = index;
  }
  std::vector<std::size_t> path;
  while (std::find(path.begin(), path.end(), at) == path.end()) {
    path.push_back(at);
    for (const auto wanted : migrations[at].header.depends) {
      const auto index = by_version.at(wanted);
      if (waiting[index] > 0) {
        at = index;
        break;
      }
    }
  }
  path.erase(path.begin(), std::find(path.begin(), path.end(), at));
  path.push_back(at);
  std::vector<std::string> names;
  names.reserve(path.size());
  for (const auto index : path) names.push_back(migrations[index].version_text);
  return Error{Status::invalid_argument,
               fmt::format("{}:1:1: the migrations depend on each other in a circle: {}", migrations[path.front()].file,
                           fmt::join(names, " -> ")),
               {}};
}

std::vector<std::int64_t> dependents_of(std::int64_t version, const std::vector<AppliedNode>& applied) {
  std::set<std::int64_t> reached = {version};
  std::vector<std::int64_t> dependents;
  bool after = false;
  for (const auto& node : applied) {
    if (node.version == version) {
      after = true;
      continue;
    }
    if (!after) continue;
    const bool depends = !node.declares_depends || std::any_of(node.depends.begin(), node.depends.end(),
                                                               [&](auto wanted) { return reached.contains(wanted); });
    if (!depends) continue;
    reached.insert(node.version);
    dependents.push_back(node.version);
  }
  return dependents;
}

}  // namespace gf::migrate
