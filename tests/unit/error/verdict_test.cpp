#include "error/verdict.hpp"

#include <doctest/doctest.h>

using gf::Error;
using gf::Status;
using gf::error::Verdict;
using gf::error::verdict_of;

TEST_CASE("the caller's faults, cancellations and budgets are no evidence about a service") {
  for (const auto& row : gf::status_table) {
    CAPTURE(row.name);
    const auto group = static_cast<std::int32_t>(row.status) / 100;
    const auto verdict = verdict_of(row.status);
    if (row.status == Status::ok) {
      CHECK(verdict == Verdict::success);
    } else if (group == 1 || (group == 2 && row.status != Status::timed_out)) {
      CHECK(verdict == Verdict::not_counted);
    } else if (group == 5 || group == 9 || row.status == Status::timed_out) {
      CHECK(verdict == Verdict::failure);
    }
  }
  CHECK(verdict_of(Status::over_budget) == Verdict::not_counted);
}

TEST_CASE("a code wrapped up to three times gives the same verdict, unless a wrap says cancelled") {
  for (const auto& row : gf::status_table) {
    if (row.status == Status::ok) continue;
    CAPTURE(row.name);
    Error error{row.status, "inner", {}};
    const auto bare = verdict_of(error);
    CHECK(bare == verdict_of(row.status));
    for (const auto outer : {Status::internal, Status::invalid_argument, Status::network_error}) {
      error = gf::wrap(std::move(error), outer, "outer");
      CHECK(verdict_of(error) == bare);
    }
    CHECK(verdict_of(gf::wrap(std::move(error), Status::cancelled, "the job was cancelled")) == Verdict::not_counted);
  }
}

TEST_CASE("rules turn a verdict either way, and an unknown innermost code leaves it to the next") {
  gf::error::VerdictRules rules;
  rules.failures = {Status::corrupt_file, Status::locked};
  rules.not_counted = {Status::locked};
  CHECK(verdict_of(Status::corrupt_file, rules) == Verdict::failure);
  CHECK(verdict_of(Status::locked, rules) == Verdict::not_counted);
  const Error strange{Status::internal, "", {{Status::corrupt_file, ""}, {static_cast<Status>(777), ""}}};
  CHECK(verdict_of(strange) == Verdict::not_counted);
  CHECK(verdict_of(Error{Status::ok, "an error that says ok", {}}) == Verdict::failure);
}
