#include "error/verdict.hpp"

#include <algorithm>

namespace gf::error {
namespace {

bool contains(const std::vector<Status>& statuses, Status status) {
  return std::find(statuses.begin(), statuses.end(), status) != statuses.end();
}

}  // namespace

Verdict verdict_of(Status status, const VerdictRules& rules) {
  if (status == Status::ok) return Verdict::success;
  if (contains(rules.not_counted, status)) return Verdict::not_counted;
  if (contains(rules.failures, status) || status == Status::timed_out) return Verdict::failure;
  switch (category_of(status)) {
    case Category::none:
    case Category::caller:
    case Category::flow:
    case Category::memory:
    case Category::data:
    case Category::schema:
      return Verdict::not_counted;
    case Category::device:
    case Category::setup:
    case Category::storage:
    case Category::network:
    case Category::redis:
    case Category::database:
    case Category::internal:
      return Verdict::failure;
  }
  return Verdict::failure;
}

Verdict verdict_of(const Error& error, const VerdictRules& rules) {
  const auto is_cancelled = [](const ErrorCause& link) { return link.status == Status::cancelled; };
  if (error.status == Status::cancelled || std::any_of(error.causes.begin(), error.causes.end(), is_cancelled)) {
    return Verdict::not_counted;
  }
  for (auto link = error.causes.rbegin(); link != error.causes.rend(); ++link) {
    if (link->status != Status::ok && find_status(static_cast<std::int32_t>(link->status)) != nullptr) {
      return verdict_of(link->status, rules);
    }
  }
  // An error that says ok is our bug, and no success.
  return error.status == Status::ok ? Verdict::failure : verdict_of(error.status, rules);
}

}  // namespace gf::error
