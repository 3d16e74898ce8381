// The order of migrations: by what they declare to depend on, and by version where that leaves a choice.
#pragma once

#include "migrate/file.hpp"

#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace gf::migrate {

/// Positions in `migrations` of the versioned ones, each after all that it depends on; the smallest version first
/// wherever several could come next (Kahn's algorithm with a heap), so that files without `depends` go by version.
/// Errors: not_found names a dependency that is not there; invalid_argument gives a cycle with its path.
Result<std::vector<std::size_t>> order_of(const std::vector<Migration>& migrations);

/// One applied migration as rollback sees it, in the order in which they were applied.
struct AppliedNode {
  std::int64_t version = 0;
  bool declares_depends = false;
  std::vector<std::int64_t> depends;
};

/// What must be undone before `version`: everything applied later, less what declares dependencies that do not lead to
/// it. In the order in which it was applied.
std::vector<std::int64_t> dependents_of(std::int64_t version, const std::vector<AppliedNode>& applied);

}  // namespace gf::migrate
