// What a call's end says about the service that was called.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <vector>

namespace gf::error {

/// `not_counted`: the call says nothing about the service (the caller was wrong, or gave up).
enum class Verdict : std::uint32_t { success = 0, failure = 1, not_counted = 2 };

/// The statuses that are judged otherwise than by their category.
struct VerdictRules {
  std::vector<Status> failures;     ///< Count although their category does not.
  std::vector<Status> not_counted;  ///< Win over `failures`.
};

/// The verdict of a status that stands alone: what the caller did wrong or took back, refused before it began, or what
/// lies in its own memory and files is no evidence about a service. timed_out is.
Verdict verdict_of(Status status, const VerdictRules& rules = {});

/// The verdict of a failure: by the innermost link of its chain whose status the table knows, so that wrapping changes
/// nothing; but a cancellation anywhere in the chain is nobody's fault. Threads: any.
Verdict verdict_of(const Error& error, const VerdictRules& rules = {});

}  // namespace gf::error
